import { assert, unreachable } from "../base/assert.ts";
import { sleep } from "../env/clock.ts";
import type { Env } from "../env/env.ts";
import type { EventInbox } from "./event-inbox.ts";
import { distrustAfter, type LeaseTimes, reportEvery, reportPatience } from "./lease.ts";
import type { BatchStep, HeldLock, LockEvent, LockReply, RecoverCall } from "./lock-call.ts";
import type { LockHandle } from "./lock-handle.ts";
import { lockStatus } from "./lock-status.ts";
import type { BareCall, MemberSession } from "./member-session.ts";
import { type RemasterEffect, type RemasterEvent, type RemasterState, stepRemaster } from "./remaster.ts";
import { type Heard, type Settled, settleUnanswered } from "./unanswered.ts";

/** What a report says beside the locks. */
export type ReportHead = Omit<RecoverCall, "op" | "epoch" | "seen" | "server" | "lastRid" | "locks">;

export interface RemasteringOptions {
  readonly session: MemberSession;
  readonly inbox: EventInbox;
  readonly locks: ReadonlyMap<number, LockHandle>;
  readonly lease: LeaseTimes;
  readonly env: Env;
  /** `Clock.now` when the last renewal that counts was sent. */
  readonly renewedAt: () => number;
  /** As it is when the report is made. */
  readonly head: () => ReportHead;
  /** A new epoch: what was seen of the others before proves nothing any more. */
  readonly onEntered: () => void;
  /** `state` has changed in a way that people should see. */
  readonly onChange: () => void;
  readonly onEnd: (reason: string) => void;
}

interface Report {
  /** Made in this epoch, and good for all after it until calls are executed again. */
  readonly call: Omit<RecoverCall, "op" | "server">;
  readonly unanswered: BareCall | null;
  readonly heard: Heard;
  readonly settled: Settled;
}

/** Carries out what `remaster.ts` decides: the shell around it. */
export class Remastering {
  readonly #options: RemasteringOptions;
  #state: RemasterState;
  #report: Report | null = null;
  #reporting = false;
  /** Which life of the lock server has no lockspace, and since when we know. */
  #absent: { readonly server: string | undefined; readonly since: number } | null = null;
  /** Ends the pause before the next report. */
  #hurry = new AbortController();

  constructor(options: RemasteringOptions) {
    this.#options = options;
    this.#state = { phase: "running", epoch: options.session.epoch };
  }

  get state(): RemasterState {
    return this.#state;
  }

  /** An answer to a call of the present epoch. False: nothing of it may be used. */
  answered(reply: LockReply): boolean {
    this.#dispatch({ type: "answered", to: "call", reply, now: this.#options.env.clock.now() });
    return this.#state.phase === "running" || this.#state.phase === "checked_in";
  }

  notified(): void {
    this.#dispatch({ type: "notified" });
  }

  /** The lock server can be reached again: reports at once, if there is something to report. */
  hurry(): void {
    this.#hurry.abort();
  }

  /** Nothing is sent any more. */
  stop(): void {
    this.#state = { phase: "ended" };
    this.#hurry.abort();
  }

  #dispatch(event: RemasterEvent): void {
    const [state, effects] = stepRemaster(this.#state, event);
    this.#state = state;
    for (const effect of effects) this.#perform(effect, event);
  }

  #perform(effect: RemasterEffect, event: RemasterEvent): void {
    const { session, onChange, onEnd } = this.#options;
    switch (effect.type) {
      case "park":
        session.park();
        break;
      case "collect":
        void this.#collect();
        break;
      case "report":
        this.hurry();
        void this.#keepReporting();
        break;
      case "enter":
        this.#enter(effect.epoch);
        break;
      case "resume":
        if (event.type === "answered" && event.to === "report") session.takeEvents(event.reply);
        session.resume();
        break;
      case "tell":
        onChange();
        break;
      case "end":
        onEnd(effect.reason);
        break;
      default:
        unreachable(effect);
    }
  }

  /** What was heard before the loss is handled first: it may have given us a lock, or taken a member away. */
  async #collect(): Promise<void> {
    const { session, inbox, locks, head } = this.#options;
    await inbox.drained();
    const held: HeldLock[] = [...locks.values()].map((lock) => lock.held());
    const { unanswered, epoch, seen, answeredRid } = session;
    const heard = heardOf(unanswered, locks);
    const settled = unanswered === null ? nothingDone(held) : settleUnanswered(held, unanswered, heard);
    const lastRid = answeredRid + Number(settled.complete);
    this.#report = { call: { ...head(), epoch, seen, lastRid, locks: settled.locks }, unanswered, heard, settled };
    this.#dispatch({ type: "collected" });
  }

  /** Until the lockspace runs again: who has reported asks on, to hear of conflicts and of the end. */
  async #keepReporting(): Promise<void> {
    if (this.#reporting) return;
    this.#reporting = true;
    const { env, lease } = this.#options;
    for (;;) {
      const { phase } = this.#state;
      if (phase === "running" || phase === "ended") break;
      const report = this.#report;
      if ((this.#state.phase === "reporting" || this.#state.phase === "checked_in") && report !== null) {
        const reply = await this.#send(report, this.#state.server);
        // One that was made anew meanwhile says more.
        if (reply !== null && report === this.#report) {
          this.#dispatch({ type: "answered", to: "report", reply, now: env.clock.now() });
        }
      }
      this.#hurry = new AbortController();
      await sleep(env.clock, reportEvery(lease), this.#hurry.signal);
    }
    this.#reporting = false;
  }

  /**
   * A copy that arrives late must do no harm: another life of the lock server refuses it by `server`, the same life by
   * the renewal counter, which has moved on since. Whose fencing has begun since the report was made is told with it.
   */
  async #send({ call }: Report, known: string | undefined): Promise<LockReply | null> {
    const { session, lease, head } = this.#options;
    const patience = reportPatience(lease);
    let server = known;
    if (server === undefined || this.#mayBeSucceeded) {
      const hello = await session.ask({ op: "hello" }, patience);
      if (hello === null || (this.#mayBeSucceeded && !this.#isOurTurn(hello))) return null;
      server = hello.server;
    }
    if (server === undefined) return null;
    const { counter, generation, members } = head();
    return session.ask({ op: "recover", ...call, counter, generation, members, server }, patience);
  }

  /** Others may have waited for the end of our lease, and begun the lockspace anew. */
  get #mayBeSucceeded(): boolean {
    const { env, lease, renewedAt } = this.#options;
    return this.#state.phase === "reporting" && env.clock.now() - renewedAt() >= distrustAfter(lease);
  }

  /**
   * Where the lockspace is, its state decides. Where it is not, members of a newer one may have a lease that lasts: who
   * has none waits as long as a newcomer does, so that they come first.
   */
  #isOurTurn({ rc, server }: LockReply): boolean {
    const { env, lease } = this.#options;
    if (rc === lockStatus.OK) return true;
    const now = env.clock.now();
    if (this.#absent === null || this.#absent.server !== server) this.#absent = { server, since: now };
    return now - this.#absent.since >= lease.leaseMs;
  }

  /** The report counts from now on, and so does what it took for done. */
  #enter(epoch: number): void {
    const { session, inbox, locks, onEntered } = this.#options;
    const report = this.#report;
    assert(report !== null, "an epoch is entered with a report");
    const { unanswered, heard, settled } = report;
    for (const lock of settled.locks) locks.get(lock.lkid)?.adopt(lock);
    const completions = unanswered === null ? [] : completionsOf(unanswered, report, session.seen);
    const done = heard.steps + settled.done;
    if (settled.complete) {
      const value = unanswered?.op === "batch" ? done : 0;
      session.settle({ rc: lockStatus.OK, value, seq: session.seen, epoch, generation: 0, events: [] });
    } else {
      session.shorten(done);
    }
    // Entered once more without a new report, there is nothing left to settle.
    this.#report = { ...report, unanswered: null, heard: nothingHeard, settled: nothingDone(settled.locks) };
    inbox.restart(completions);
    session.enter(epoch);
    onEntered();
  }
}

const nothingDone = (locks: readonly HeldLock[]): Settled => ({ locks, done: 0, complete: false });

const nothingHeard: Heard = { steps: 0, refused: false };

/** Completions that came with other answers than the call's own. */
function heardOf(call: BareCall | null, locks: ReadonlyMap<number, LockHandle>): Heard {
  if (call?.op === "unlock") return { steps: Number(!locks.has(call.lkid)), refused: false };
  const steps = call?.op === "batch" ? call.steps : call?.op === "convert" ? [call] : [];
  const isCompleted = (step: BatchStep): boolean => locks.get(step.lkid)?.awaits(step) === false;
  const open = steps.findIndex((step) => !isCompleted(step));
  const count = open === -1 ? steps.length : open;
  const last = steps[count - 1];
  return { steps: count, refused: last !== undefined && locks.get(last.lkid)?.wasRefused === true };
}

/** The completions that the lock server can no longer send. */
function completionsOf(call: BareCall, { heard, settled }: Report, seq: number): readonly LockEvent[] {
  const { locks, done } = settled;
  const about = { n: 0, seq, type: "cast", flags: 0 } as const;
  if (call.op === "unlock") {
    return done > 0 ? [{ ...about, lkid: call.lkid, status: lockStatus.EUNLOCK, mode: -1, lvbSeq: 0 }] : [];
  }
  const steps = call.op === "batch" ? call.steps : call.op === "convert" ? [call] : [];
  return steps.slice(heard.steps, heard.steps + done).map(({ lkid, mode }) => {
    const lvbSeq = locks.find((lock) => lock.lkid === lkid)?.lvbSeq ?? 0;
    return { ...about, lkid, status: lockStatus.OK, mode, lvbSeq };
  });
}
