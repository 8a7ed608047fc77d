import { deferred } from "../base/deferred.ts";
import { MdError } from "../base/md-error.ts";
import { type Clock, sleep } from "../env/clock.ts";
import type { Env } from "../env/env.ts";
import type { EventInbox } from "./event-inbox.ts";
import { type LeaseTimes, repeatAfter } from "./lease.ts";
import type { CallHeader, HelloCall, LockEvent, LockReply, LockspaceId, MemberCall, RecoverCall } from "./lock-call.ts";
import type { LockMaster, Subscription } from "./lock-master.ts";
import { lockStatus } from "./lock-status.ts";
import type { SeqTimes } from "./seq-times.ts";
import { withTimeout } from "./with-timeout.ts";

type Without<T> = T extends MemberCall ? Omit<T, keyof CallHeader> : never;
/** A call without its header. */
export type BareCall = Without<MemberCall>;

export interface SessionOptions {
  readonly master: LockMaster;
  readonly lockspace: LockspaceId;
  readonly slot: number;
  readonly incarnation: string;
  readonly epoch: number;
  readonly seen: number;
  readonly lease: LeaseTimes;
  readonly env: Env;
  readonly inbox: EventInbox;
  /** Is told which `seq` was seen when. */
  readonly seqTimes: SeqTimes;
  /** Told of each ordered call before it is sent. */
  readonly onRequest: (call: BareCall) => void;
  /** An answer to a call of the present epoch. False: it says that the state is lost or the membership is over. */
  readonly onAnswer: (reply: LockReply) => boolean;
  /** Notifications of the present epoch have come. */
  readonly onNotified: () => void;
  /** The server cannot be used any more, and why. Called once, before anything that waits is rejected. */
  readonly onLost: (reason: string) => void;
}

interface Waiting {
  call: BareCall;
  /** 0 until it was sent for the first time. */
  rid: number;
  onReply: (reply: LockReply) => void;
  readonly resolve: (reply: LockReply) => void;
  readonly reject: (error: unknown) => void;
}

interface Wait {
  readonly resolve: (answer: null) => void;
  expired: boolean;
}

/** The calls of one epoch: what is under way when it is over is not waited for, nor listened to. */
interface Era {
  readonly epoch: number;
  /** Who waits for an answer: there is none when it is over. */
  readonly waits: Wait[];
  readonly stopped: AbortController;
}

/**
 * The calls of one incarnation of a member: in order, each executed exactly once however often the connection breaks
 * (they are repeated with the same rid until they are answered), and the events that come back. When the lock server has
 * lost its state, somebody parks the calls, reports, enters the new epoch, and resumes.
 */
export class MemberSession {
  readonly #options: SessionOptions;
  readonly #waiting: Waiting[] = [];
  #subscription: Subscription;
  #era: Era;
  /** Which calls go out: all; renewals and the like, without rid; none. */
  #open: "all" | "unordered" | "none" = "all";
  /** Resolves when `#open` becomes "all" again, or at the end. */
  #resumed = deferred<void>();
  #rid = 0;
  #seen: number;
  #pumping = false;
  #polling: "no" | "once" | "again" = "no";
  #end: MdError | null = null;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#seen = options.seen;
    this.#era = newEra(options.epoch);
    this.#subscription = this.#subscribe(this.#era);
  }

  get epoch(): number {
    return this.#era.epoch;
  }

  /** The highest `seq` of any answer or event. */
  get seen(): number {
    return this.#seen;
  }

  /** The ordered call that was sent and not answered. */
  get unanswered(): BareCall | null {
    const [first] = this.#waiting;
    return first === undefined || first.rid === 0 ? null : first.call;
  }

  /** Of the last ordered call that was answered. */
  get answeredRid(): number {
    return this.unanswered === null ? this.#rid : this.#rid - 1;
  }

  /**
   * Executed after all calls before it. `onReply` runs before the events that came with the reply are handled.
   * Rejects only when the membership ends.
   */
  request(call: BareCall, onReply: (reply: LockReply) => void = () => {}): Promise<LockReply> {
    if (this.#end !== null) return Promise.reject(this.#end);
    this.#options.onRequest(call);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ call, rid: 0, onReply, resolve, reject });
      void this.#pump();
    });
  }

  /** One attempt, outside the order, of a call that is idempotent. Null: no answer, calls are parked, or the membership is over. */
  async once(call: BareCall, late: (reply: LockReply) => void = () => {}): Promise<LockReply | null> {
    if (this.#open === "none" || this.#end !== null) return null;
    const era = this.#era;
    return this.#attempt(call, 0, (reply) => {
      if (this.#accept(reply, era)) late(reply);
    });
  }

  /** No more calls but reports. What is under way may be executed or not: nobody will know. */
  park(): void {
    if (this.#open === "all") this.#resumed = deferred<void>();
    this.#open = "none";
    this.#subscription.stop();
    endEra(this.#era);
    this.#era = newEra(this.#era.epoch);
  }

  /** One attempt to call without being a member of this epoch. Null: no answer in time. */
  async ask(call: HelloCall | RecoverCall, patienceMs: number): Promise<LockReply | null> {
    const { master, lockspace, env } = this.#options;
    try {
      const reply = await withTimeout(env.clock, patienceMs, master.call(lockspace, call));
      return this.#end === null ? reply : null;
    } catch (error) {
      this.#judge(error);
      return null;
    }
  }

  /** The report was taken: from now on calls carry this epoch. Ordered ones wait until `resume`. */
  enter(epoch: number): void {
    if (this.#end !== null) return;
    this.#subscription.stop();
    endEra(this.#era);
    this.#era = newEra(epoch);
    this.#subscription = this.#subscribe(this.#era);
    if (this.#open === "none") this.#open = "unordered";
  }

  /** What the answer to a report carried. */
  takeEvents(reply: LockReply): void {
    this.#seen = Math.max(this.#seen, reply.seq);
    this.#deliverReply(reply);
  }

  /** The unanswered call counts as executed. */
  settle(reply: LockReply): void {
    const item = this.#waiting.shift();
    item?.onReply(reply);
    item?.resolve(reply);
  }

  /** The first `done` steps of the unanswered batch count as executed, the rest is repeated. */
  shorten(done: number): void {
    const [item] = this.#waiting;
    if (item?.call.op !== "batch" || done === 0) return;
    item.call = { ...item.call, steps: item.call.steps.slice(done) };
    const { onReply } = item;
    item.onReply = (reply) => onReply({ ...reply, value: reply.value + done });
  }

  resume(): void {
    if (this.#open === "none") this.#subscription = this.#subscribe(this.#era);
    this.#open = "all";
    this.#resumed.resolve();
    void this.#pump();
  }

  /** No more calls; what waits is rejected with `error`. */
  end(error: MdError): void {
    if (this.#end !== null) return;
    this.#end = error;
    this.#subscription.stop();
    endEra(this.#era);
    this.#resumed.resolve();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    for (let item = this.#waiting[0]; item !== undefined; item = this.#waiting[0]) {
      if (this.#open !== "all") {
        await this.#resumed.promise;
        continue;
      }
      if (item.rid === 0) item.rid = ++this.#rid;
      const reply = await this.#untilAnswered(item);
      if (reply === null) continue; // parked, or ended
      this.#waiting.shift();
      item.onReply(reply);
      item.resolve(reply);
      this.#deliverReply(reply);
    }
    this.#pumping = false;
  }

  async #untilAnswered({ call, rid }: Waiting): Promise<LockReply | null> {
    const { env, lease } = this.#options;
    const era = this.#era;
    while (this.#end === null && era === this.#era) {
      const reply = await this.#attempt(call, rid);
      if (this.#end !== null || era !== this.#era) return null;
      if (reply !== null && reply.rc !== lockStatus.ERECOVER) return reply;
      await sleep(env.clock, lease.leaseMs / 20, era.stopped.signal);
    }
    return null;
  }

  /** Null: no answer, or the last one there will be. Ordered calls deliver their events themselves. */
  async #attempt(call: BareCall, rid: number, late?: (reply: LockReply) => void): Promise<LockReply | null> {
    const { master, lockspace, slot, incarnation, inbox, env, lease } = this.#options;
    const era = this.#era;
    const whole = { slot, incarnation, epoch: era.epoch, rid, ack: inbox.last, seen: this.#seen, ...call };
    try {
      const answer = master.call(lockspace, whole as MemberCall);
      const reply = await answerIn(era, env.clock, { answer, patienceMs: repeatAfter(lease), late });
      if (reply === null || !this.#accept(reply, era)) return null;
      if (rid === 0) this.#deliverReply(reply);
      return reply;
    } catch (error) {
      this.#judge(error);
      return null;
    }
  }

  /** No answer is nothing special; everything else that a lock master rejects with is final. */
  #judge(error: unknown): void {
    if (!(error instanceof MdError)) throw error;
    if (error.code !== "E_LOCK_SERVICE_LOST") this.#lose(error.message);
  }

  #accept(reply: LockReply, era: Era): boolean {
    if (this.#end !== null || era !== this.#era) return false;
    if (!this.#options.onAnswer(reply)) return false;
    this.#seen = Math.max(this.#seen, reply.seq);
    this.#options.seqTimes.note(reply.seq, this.#options.env.clock.now());
    return true;
  }

  /** A reply holds everything after what we had acknowledged: a gap cannot be filled. */
  #deliverReply(reply: LockReply): void {
    if (this.#end === null && !this.#take(reply.events)) this.#lose("the lock server has dropped events");
  }

  #subscribe(era: Era): Subscription {
    const { master, lockspace, slot, incarnation } = this.#options;
    return master.watch(lockspace, { slot, incarnation, epoch: era.epoch }, (events) => this.#deliver(events, era));
  }

  #deliver(events: readonly LockEvent[], era: Era): void {
    if (this.#end !== null || era !== this.#era) return;
    const complete = events.length > 0 && this.#take(events);
    if (!complete) void this.#poll();
  }

  /** Numbers that were seen in events count as well: a server that stands below them has gone back. */
  #take(events: readonly LockEvent[]): boolean {
    const complete = this.#options.inbox.take(events);
    for (const { seq } of events) this.#seen = Math.max(this.#seen, seq);
    if (events.length > 0) this.#options.onNotified();
    return complete;
  }

  async #poll(): Promise<void> {
    if (this.#polling !== "no") {
      this.#polling = "again";
      return;
    }
    do {
      this.#polling = "once";
      await this.once({ op: "poll" });
    } while ((this.#polling as string) === "again");
    this.#polling = "no";
  }

  #lose(reason: string): void {
    if (this.#end !== null) return;
    const { lockspace, onLost } = this.#options;
    onLost(reason);
    const message = `the membership in lockspace ${lockspace.name} has ended: ${reason}`;
    this.end(new MdError("E_LOCK_SERVICE_LOST", message));
  }
}

const newEra = (epoch: number): Era => ({ epoch, waits: [], stopped: new AbortController() });

function endEra({ waits, stopped }: Era): void {
  for (const wait of waits) wait.resolve(null);
  stopped.abort();
}

function forget(waits: Wait[], wait: Wait): void {
  const at = waits.indexOf(wait);
  if (at >= 0) waits.splice(at, 1);
}

interface Asked<T> {
  readonly answer: Promise<T>;
  readonly patienceMs: number;
  /** Gets what comes when nobody waits for it any more. */
  readonly late: ((value: T) => void) | undefined;
}

/** The answer; null when it takes too long, or when the era is over before. */
function answerIn<T>({ waits }: Era, clock: Clock, { answer, patienceMs, late }: Asked<T>): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const wait: Wait = { resolve, expired: false };
    waits.push(wait);
    const timer = clock.after(patienceMs, () => {
      wait.expired = true;
      forget(waits, wait);
      resolve(null);
    });
    answer.then(
      (value) => {
        timer.cancel();
        forget(waits, wait);
        if (wait.expired) late?.(value);
        else resolve(value);
      },
      (error: unknown) => {
        timer.cancel();
        forget(waits, wait);
        reject(error);
      },
    );
  });
}
