import type { LockCall, LockEvent, LockReply } from "../../dlm/lock-call.ts";
import { lockFlag } from "../../dlm/lock-flags.ts";
import { lockStatus } from "../../dlm/lock-status.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/** What one life was told, counted as its client must count it: once an event, in the order of their numbers. */
interface Account {
  epoch: number;
  /** Of the last event taken. */
  last: number;
  /** Request ids that have been counted. */
  readonly counted: Set<number>;
  /** By lock: completions that may still come. */
  readonly left: Map<number, number>;
}

/**
 * No operation is completed twice, whatever is lost, doubled or late on the way, and whoever rebuilds the lock table in
 * between: there are not more completions of a lock than operations on it, and one for its creation. (That each is
 * completed at all shows in that it ends: the simulation waits for that.)
 */
export class LockCastChecker implements Checker {
  readonly name = "one completion an operation";
  readonly #report: Report;
  readonly #accounts = new Map<string, Account>();

  constructor(report: Report) {
    this.#report = report;
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "lock_call":
        this.#count(this.#of(event.life), event.call);
        break;
      case "lock_answer": {
        const account = this.#of(event.life);
        this.#enter(account, event.reply);
        this.#take(event.life, account, event.reply.epoch, event.reply.events);
        break;
      }
      case "lock_events":
        this.#take(event.life, this.#of(event.life), event.epoch, event.events);
        break;
      case "life_ended":
        this.#accounts.delete(event.life);
        break;
      default:
    }
  }

  #of(life: string): Account {
    const account = this.#accounts.get(life) ?? { epoch: 0, last: 0, counted: new Set(), left: new Map() };
    this.#accounts.set(life, account);
    return account;
  }

  /** Events of a new epoch are numbered anew. */
  #enter(account: Account, { rc, epoch }: LockReply): void {
    if (rc !== lockStatus.OK || epoch <= account.epoch) return;
    account.epoch = epoch;
    account.last = 0;
  }

  #count(account: Account, call: LockCall): void {
    if (!("rid" in call) || call.rid === 0 || account.counted.has(call.rid)) return;
    account.counted.add(call.rid);
    for (const lkid of completedBy(call)) account.left.set(lkid, (account.left.get(lkid) ?? 1) + 1);
  }

  #take(life: string, account: Account, epoch: number, events: readonly LockEvent[]): void {
    if (epoch !== account.epoch) return;
    for (const event of events) {
      if (event.n !== account.last + 1) continue;
      account.last = event.n;
      if (event.type !== "cast") continue;
      const left = (account.left.get(event.lkid) ?? 1) - 1;
      account.left.set(event.lkid, left);
      if (left < 0) this.#report(`${life}: lock ${event.lkid} gets more completions than it has operations`);
    }
  }
}

/** Locks that get a completion each. A cancelled operation is completed itself, by the cancel or before it. */
function completedBy(call: LockCall): readonly number[] {
  switch (call.op) {
    case "convert":
      return [call.lkid];
    case "batch":
      return call.steps.map(({ lkid }) => lkid);
    case "unlock":
      return (call.flags & lockFlag.CANCEL) === 0 ? [call.lkid] : [];
    default:
      return [];
  }
}
