import { MdError } from "../base/md-error.ts";
import type { LockCall, LockEvent, LockReply, LockspaceId } from "../dlm/lock-call.ts";
import type { LockMaster, Subscription, WatchedMember } from "../dlm/lock-master.ts";
import { type Direction, fastLink, happens, type LinkTiming } from "./lock-link.ts";
import type { SimLockServer } from "./sim-lock-server.ts";
import type { SimThread } from "./sim-thread.ts";
import type { World } from "./world.ts";

/**
 * One life's way to the lock server: a link that delays, loses, repeats and holds back. Calls of one connection arrive
 * in order, but for those that are late; a call under way when the connection breaks may be executed all the same, even
 * later than one sent after it.
 */
export class SimLockMaster implements LockMaster {
  readonly about = "simulated";
  readonly #world: World;
  readonly #server: SimLockServer;
  readonly #life: string;
  readonly #thread: SimThread;
  readonly #usual: LinkTiming;
  #timing: LinkTiming;
  readonly #listeners = new Set<(reachable: boolean) => void>();
  #carriesRequests = true;
  #carriesReplies = true;
  #connection = 0;
  #lastArrival = 0;
  #lastReply = 0;

  constructor(world: World, server: SimLockServer, life: string, thread: SimThread, timing: LinkTiming = fastLink) {
    this.#world = world;
    this.#server = server;
    this.#life = life;
    this.#thread = thread;
    this.#usual = timing;
    this.#timing = timing;
  }

  call(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    this.#world.tell({ type: "lock_call", life: this.#life, call });
    return new Promise((resolve, reject) => {
      const connection = this.#connection;
      const { restarts } = this.#server;
      let answered = false;
      const giveUp = this.#world.schedule(this.#timing.patience, this.#thread, () => {
        if (answered) return;
        answered = true;
        reject(new MdError("E_LOCK_SERVICE_LOST", "no answer from the simulated lock server"));
      });
      const answer = (reply: LockReply): void => {
        if (answered) return;
        answered = true;
        giveUp.cancel();
        this.#world.tell({ type: "lock_answer", life: this.#life, call, reply });
        resolve(reply);
      };
      const { lostRequests, doubledCalls, lateCalls, lateBy } = this.#timing;
      if (!this.#carriesRequests || happens(this.#world, lostRequests)) return;
      const late = (): number => this.#world.random.between(0, lateBy);
      if (happens(this.#world, lateCalls)) {
        this.#world.schedule(late(), this.#server.thread, () => void this.#execute(lockspace, call, null));
        return;
      }
      this.#lastArrival = this.#inOrder(this.#lastArrival);
      const delay = this.#lastArrival - this.#world.now;
      if (happens(this.#world, doubledCalls)) {
        this.#world.schedule(delay + late(), this.#server.thread, () => void this.#execute(lockspace, call, null));
      }
      this.#world.schedule(delay, this.#server.thread, () => {
        // A broken connection: what it carried is lost, or is late.
        if (this.#server.restarts !== restarts) return;
        if (connection !== this.#connection && this.#world.random.chance(0.5)) return;
        void this.#execute(lockspace, call, { connection, answer });
      });
    });
  }

  /** `back`: where the answer goes; null: nobody waits for it any more. */
  async #execute(
    lockspace: LockspaceId,
    call: LockCall,
    back: { readonly connection: number; readonly answer: (reply: LockReply) => void } | null,
  ): Promise<void> {
    const reply = await this.#server.execute(this.#life, lockspace, call);
    if (back === null || reply === null || happens(this.#world, this.#timing.lostReplies)) return;
    this.#lastReply = this.#inOrder(this.#lastReply);
    this.#world.schedule(this.#lastReply - this.#world.now, this.#thread, () => {
      if (back.connection === this.#connection && this.#carriesReplies) back.answer(reply);
    });
  }

  watch(lockspace: LockspaceId, member: WatchedMember, deliver: (events: readonly LockEvent[]) => void): Subscription {
    let stopped = false;
    const pass = (events: readonly LockEvent[]): void => {
      const { random } = this.#world;
      if (!this.#carriesReplies || random.chance(this.#timing.lostWakes)) return;
      for (let copy = random.chance(this.#timing.doubleWakes) ? 2 : 1; copy > 0; copy--) {
        // A wake-up may carry the events or only say that there are some.
        const carried = random.chance(0.3) ? [] : events;
        const { delay, lateWakes, lateBy } = this.#timing;
        const late = happens(this.#world, lateWakes) ? random.between(0, lateBy) : 0;
        this.#world.schedule(random.between(...delay) + late, this.#thread, () => {
          if (stopped || !this.#carriesReplies) return;
          this.#world.tell({ type: "lock_events", life: this.#life, epoch: member.epoch, events: carried });
          deliver(carried);
        });
      }
    };
    const subscription = this.#server.watch(this.#life, lockspace, member, pass);
    return {
      stop: () => {
        stopped = true;
        subscription.stop();
      },
    };
  }

  onReachable(listener: (reachable: boolean) => void): Subscription {
    this.#listeners.add(listener);
    return { stop: () => this.#listeners.delete(listener) };
  }

  close(): Promise<void> {
    this.#listeners.clear();
    return Promise.resolve();
  }

  get up(): boolean {
    return this.#carriesRequests && this.#carriesReplies;
  }

  /** A bad spell begins, or is over (null). */
  trouble(timing: Partial<LinkTiming> | null): void {
    this.#timing = { ...this.#usual, ...timing };
  }

  /** The link breaks: nothing arrives any more, in one direction or both. */
  cut(direction: Direction = "both"): void {
    this.#change(direction === "replies" && this.#carriesRequests, direction === "requests" && this.#carriesReplies);
  }

  heal(): void {
    this.#change(true, true);
  }

  #change(requests: boolean, replies: boolean): void {
    if (requests === this.#carriesRequests && replies === this.#carriesReplies) return;
    this.#carriesRequests = requests;
    this.#carriesReplies = replies;
    // Half a partition breaks no connection: it is the silence that people find hard.
    if (requests !== replies) return;
    this.#connection++;
    this.#world.schedule(this.#world.random.between(0, 20), this.#thread, () => {
      for (const listener of [...this.#listeners]) listener(this.up);
    });
  }

  /** Arrival time of what is sent now, not before what was sent earlier. */
  #inOrder(last: number): number {
    return Math.max(last, this.#world.now + this.#world.random.between(...this.#timing.delay));
  }
}
