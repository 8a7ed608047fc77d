import { MdError } from "../base/md-error.ts";
import { sleep } from "../env/clock.ts";
import type { Env } from "../env/env.ts";
import type { EventInbox } from "./event-inbox.ts";
import { type LeaseTimes, repeatAfter } from "./lease.ts";
import type { CallHeader, LockEvent, LockReply, LockspaceId, MemberCall } from "./lock-call.ts";
import type { LockMaster, Subscription } from "./lock-master.ts";
import { lockStatus, lockStatusName } from "./lock-status.ts";
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
  /** The membership is gone for good. Called once, before anything that waits is rejected. */
  readonly onLost: (reason: string) => void;
}

interface Waiting {
  readonly call: BareCall;
  readonly onReply: (reply: LockReply) => void;
  readonly resolve: (reply: LockReply) => void;
  readonly reject: (error: unknown) => void;
}

/** Answers after which this incarnation can do nothing any more, and why. */
const final = new Map<number, string>([
  [lockStatus.EFENCED, "it was declared dead by another member"],
  [lockStatus.ENOLS, "the lock server has lost the lockspace"],
  [lockStatus.EIDENT, "the lock server was restarted or replaced"],
  [lockStatus.EEPOCH, "the lockspace was created anew"],
  [lockStatus.ELOST, "the lock server went back to an older state"],
  [lockStatus.EGAP, "the lock server misses calls that it had answered"],
  [lockStatus.ESTALE, "the lock server does not know a call any more that is still unanswered"],
]);

/**
 * The calls of one incarnation of a member: in order, each executed exactly once however often the connection breaks
 * (they are repeated with the same rid until they are answered), and the events that come back.
 */
export class MemberSession {
  readonly #options: SessionOptions;
  readonly #waiting: Waiting[] = [];
  readonly #stopped = new AbortController();
  readonly #subscription: Subscription;
  #rid = 0;
  #seen: number;
  #pumping = false;
  #polling: "no" | "once" | "again" = "no";
  #end: MdError | null = null;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#seen = options.seen;
    const { master, lockspace, slot, incarnation, epoch } = options;
    this.#subscription = master.watch(lockspace, { slot, incarnation, epoch }, (events) => this.#deliver(events));
  }

  /**
   * Executed after all calls before it. `onReply` runs before the events that came with the reply are handled.
   * Rejects only when the membership ends.
   */
  request(call: BareCall, onReply: (reply: LockReply) => void = () => {}): Promise<LockReply> {
    if (this.#end !== null) return Promise.reject(this.#end);
    this.#options.onRequest(call);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ call, onReply, resolve, reject });
      void this.#pump();
    });
  }

  /** One attempt, outside the order, of a call that is idempotent. Null: no answer. */
  async once(call: BareCall, late: (reply: LockReply) => void = () => {}): Promise<LockReply | null> {
    return this.#attempt(call, 0, (reply) => {
      if (this.#accept(reply)) late(reply);
    });
  }

  /** No more calls; what waits is rejected with `error`. */
  end(error: MdError): void {
    if (this.#end !== null) return;
    this.#end = error;
    this.#subscription.stop();
    this.#stopped.abort();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    for (let item = this.#waiting[0]; item !== undefined; item = this.#waiting[0]) {
      this.#rid += 1;
      const reply = await this.#untilAnswered(item.call, this.#rid);
      if (reply === null) break; // ended
      this.#waiting.shift();
      item.onReply(reply);
      item.resolve(reply);
      this.#deliverReply(reply);
    }
    this.#pumping = false;
  }

  async #untilAnswered(call: BareCall, rid: number): Promise<LockReply | null> {
    const { env, lease } = this.#options;
    while (this.#end === null) {
      const reply = await this.#attempt(call, rid);
      if (this.#end !== null) return null;
      if (reply !== null) return reply;
      await sleep(env.clock, lease.leaseMs / 20, this.#stopped.signal);
    }
    return null;
  }

  /** Null: no answer, or the last one there will be. Ordered calls deliver their events themselves. */
  async #attempt(call: BareCall, rid: number, late?: (reply: LockReply) => void): Promise<LockReply | null> {
    const { master, lockspace, slot, incarnation, epoch, inbox, env, lease } = this.#options;
    const header = { slot, incarnation, epoch, rid, ack: inbox.last, seen: this.#seen };
    try {
      const asked = master.call(lockspace, { ...header, ...call } as MemberCall);
      const reply = await withTimeout(env.clock, repeatAfter(lease), asked, late);
      if (reply === null || !this.#accept(reply)) return null;
      if (rid === 0) this.#deliverReply(reply);
      return reply;
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      if (error.code !== "E_LOCK_SERVICE_LOST") this.#lose(error.message);
      return null;
    }
  }

  #accept(reply: LockReply): boolean {
    if (this.#end !== null) return false;
    this.#seen = Math.max(this.#seen, reply.seq);
    this.#options.seqTimes.note(reply.seq, this.#options.env.clock.now());
    const why = final.get(reply.rc);
    if (why !== undefined) this.#lose(`${why} (${lockStatusName(reply.rc)})`);
    return why === undefined;
  }

  /** A reply holds everything after what we had acknowledged: a gap cannot be filled. */
  #deliverReply(reply: LockReply): void {
    if (this.#end === null && !this.#options.inbox.take(reply.events)) this.#lose("the lock server has dropped events");
  }

  #deliver(events: readonly LockEvent[]): void {
    if (this.#end !== null) return;
    const complete = events.length > 0 && this.#options.inbox.take(events);
    if (!complete) void this.#poll();
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
