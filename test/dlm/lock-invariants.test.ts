import { describe, expect, it } from "vitest";
import type { LockCall, LockEvent, LockReply } from "../../src/dlm/lock-call.ts";
import { lockFlag } from "../../src/dlm/lock-flags.ts";
import { lockModes, modesCompatible } from "../../src/dlm/lock-mode.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { LockTable } from "../../src/dlm/lock-table.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const SEEDS = 30;
const STEPS = 200;
const { NOQUEUE, NOQUEUEBAST, CANCEL, FORCEUNLOCK, QUECVT, HEADQUE, NOORDER, CONVDEADLK } = lockFlag;

interface Held {
  readonly lkid: number;
  readonly name: string;
  readonly slot: number;
  /** Requests of this lock that were accepted and are not completed. */
  pending: number;
  /** Warned since it was granted last. */
  warned: boolean;
  granted: boolean;
  gone: boolean;
}

interface Member {
  readonly slot: number;
  readonly incarnation: string;
  readonly epoch: number;
  rid: number;
  /** Number of its last event. */
  last: number;
}

const blocks = (held: number, wanted: number): boolean => {
  const [one, other] = [lockModes[held], lockModes[wanted]];
  return one !== undefined && other !== undefined && !modesCompatible(one, other);
};

/** Members that make sensible calls, and what they are promised for each. */
class Promises {
  readonly #random: SeededRandom;
  readonly #table = new LockTable();
  readonly #members: Member[] = [];
  readonly #locks = new Map<number, Held>();
  readonly #lastGrant = new Map<string, number>();
  #seq = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#table.apply({ op: "format", lsid: "x", epoch: 0 });
    for (const node of ["a", "b", "c"]) {
      const settings = { slots: 4, leaseMs: 1000, lvbSize: 64, fencing: "lease only" };
      const { value, epoch } = this.#table.apply({ op: "join", node, incarnation: node, ...settings, gone: [] });
      this.#members.push({ slot: value, incarnation: node, rid: 0, last: 0, epoch });
    }
  }

  step(): void {
    const member = this.#pick(this.#members);
    const own = [...this.#locks.values()].filter(({ slot, gone }) => slot === member.slot && !gone);
    const lock = own.length === 0 ? undefined : this.#pick(own);
    const mode = this.#random.below(6);
    // Not NOORDER on a new request, nor NODLCKWT: who passes a waiter thus is not warned, as in Linux.
    const flags = this.#pick([0, 0, NOQUEUE, NOQUEUE | NOQUEUEBAST, HEADQUE]);
    const roll = this.#random.next();
    if (lock === undefined || (roll < 0.25 && own.length < 4)) {
      const name = this.#pick(["r", "s"]);
      const { rc, value } = this.#call(member, { op: "lock", name, mode, flags, bast: true }, ({ value: lkid }) => {
        const { slot } = member;
        this.#locks.set(lkid, { lkid, name, slot, pending: 1, warned: false, granted: false, gone: false });
      });
      expect([rc, value > 0]).toEqual([lockStatus.OK, true]);
    } else if (roll < 0.75) {
      const more = this.#pick([0, 0, QUECVT, NOORDER, flags & NOQUEUE ? 0 : CONVDEADLK]);
      const { lkid, name } = lock;
      this.#call(member, { op: "convert", name, lkid, mode, flags: flags | more }, ({ rc }) => {
        if (rc === lockStatus.OK) lock.pending += 1;
      });
    } else {
      const how = this.#pick([0, CANCEL, FORCEUNLOCK]);
      const { lkid, name } = lock;
      // Taking it off a queue completes what was asked for before: one completion for both.
      const queued = lock.pending > 0;
      this.#call(member, { op: "unlock", name, lkid, flags: how }, ({ rc }) => {
        if (rc === lockStatus.OK && how !== CANCEL && !queued) lock.pending += 1;
      });
    }
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#random.below(items.length)] as T;
  }

  #call(member: Member, bare: object, accepted: (reply: LockReply) => void): LockReply {
    member.rid += 1;
    const { slot, incarnation, epoch, rid, last } = member;
    const call = { slot, incarnation, epoch, rid, ack: last, seen: 0, ...bare } as LockCall;
    const reply = this.#table.apply(call);
    accepted(reply);
    const fresh: { member: Member; event: LockEvent }[] = [];
    for (const each of this.#members) {
      for (const event of this.#table.mailbox(each.slot, each.incarnation) ?? []) {
        if (event.n <= each.last) continue;
        if (event.n !== each.last + 1) throw new Error(`event ${event.n} after ${each.last}`);
        each.last = event.n;
        fresh.push({ member: each, event });
      }
      // Acknowledged.
      const { slot: at, incarnation: who, epoch: now, last: ack } = each;
      this.#table.apply({ op: "poll", slot: at, incarnation: who, epoch: now, rid: 0, ack, seen: 0 });
    }
    for (const { event } of fresh.sort((a, b) => a.event.seq - b.event.seq)) this.#take(event);
    return reply;
  }

  #take(event: LockEvent): void {
    if (event.seq <= this.#seq) throw new Error(`seq ${event.seq} after ${this.#seq}`);
    this.#seq = event.seq;
    if (event.type === "bast") {
      const lock = this.#locks.get(event.lkid);
      expect(lock, "warned before it was granted, or after it was gone").toMatchObject({ granted: true, gone: false });
      if (lock !== undefined) lock.warned = true;
    }
    if (event.type !== "cast") return;
    const lock = this.#locks.get(event.lkid);
    if (lock === undefined) throw new Error(`a completion for lock ${event.lkid}, which nobody has`);
    lock.pending -= 1;
    expect(lock.pending, `completed more often than asked for: lock ${event.lkid}`).toBeGreaterThanOrEqual(0);
    if (event.status === lockStatus.OK) {
      expect(event.seq).toBeGreaterThan(this.#lastGrant.get(lock.name) ?? 0);
      this.#lastGrant.set(lock.name, event.seq);
      lock.granted = true;
      lock.warned = false;
    }
    lock.gone = event.mode === -1;
  }

  /** Who is not completed is queued; who holds up a queued one was warned. */
  check(): void {
    const { resources = [] } = this.#table.apply({ op: "dump" });
    const queued = new Set<number>();
    for (const { locks } of resources) {
      const waiting = locks.filter(({ queue }) => queue !== "g");
      for (const { lkid } of waiting) queued.add(lkid);
      for (const { lkid, gr } of locks.filter(({ queue }) => queue === "g")) {
        const isBlocking = waiting.some(({ rq }) => blocks(gr, rq));
        if (isBlocking)
          expect(
            this.#locks.get(lkid)?.warned,
            `lock ${lkid} blocks and was not warned: ${JSON.stringify(locks)}`,
          ).toBe(true);
      }
    }
    for (const { lkid, pending } of this.#locks.values())
      expect(pending, `lock ${lkid}`).toBe(queued.has(lkid) ? 1 : 0);
  }
}

describe("what a lock server promises its members", () => {
  it(`holds in ${SEEDS} runs of ${STEPS} calls: one completion a request, a warning to whoever blocks`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const promises = new Promises(seed);
      for (let step = 0; step < STEPS; step++) {
        promises.step();
        try {
          promises.check();
        } catch (error) {
          throw new Error(`seed ${seed} step ${step}`, { cause: error });
        }
      }
    }
  });
});
