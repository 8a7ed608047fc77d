import { MdError } from "../base/md-error.ts";
import type { LockCall, LockEvent, LockReply, LockspaceId } from "../dlm/lock-call.ts";
import type { LockMaster, Subscription, WatchedMember } from "../dlm/lock-master.ts";
import type { SimLockServer } from "./sim-lock-server.ts";
import type { SimThread } from "./sim-thread.ts";
import type { World } from "./world.ts";

export interface LinkTiming {
  /** Milliseconds one way, lowest and highest. */
  readonly delay: readonly [number, number];
  /** Milliseconds after which a caller without an answer gives up. */
  readonly patience: number;
  /** How often a wake-up is lost, and how often it comes twice. */
  readonly lostWakes: number;
  readonly doubleWakes: number;
}

export const fastLink: LinkTiming = { delay: [0.05, 0.5], patience: 150, lostWakes: 0.05, doubleWakes: 0.05 };

/**
 * One life's way to the lock server: a link that delays, loses and repeats. Calls of one connection arrive in order; a
 * call under way when the connection breaks may be executed all the same, even later than one sent after it.
 */
export class SimLockMaster implements LockMaster {
  readonly about = "simulated";
  readonly #world: World;
  readonly #server: SimLockServer;
  readonly #life: string;
  readonly #thread: SimThread;
  readonly #timing: LinkTiming;
  readonly #listeners = new Set<(reachable: boolean) => void>();
  #up = true;
  #connection = 0;
  #lastArrival = 0;
  #lastReply = 0;

  constructor(world: World, server: SimLockServer, life: string, thread: SimThread, timing: LinkTiming = fastLink) {
    this.#world = world;
    this.#server = server;
    this.#life = life;
    this.#thread = thread;
    this.#timing = timing;
  }

  call(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    return new Promise((resolve, reject) => {
      const connection = this.#connection;
      const { restarts } = this.#server;
      let answered = false;
      const giveUp = this.#world.schedule(this.#timing.patience, this.#thread, () => {
        if (answered) return;
        answered = true;
        reject(new MdError("E_LOCK_SERVICE_LOST", "no answer from the simulated lock server"));
      });
      if (!this.#up) return;
      this.#lastArrival = this.#inOrder(this.#lastArrival);
      this.#world.schedule(this.#lastArrival - this.#world.now, this.#server.thread, () => {
        // A broken connection: what it carried is lost, or is late.
        if (this.#server.restarts !== restarts) return;
        if (connection !== this.#connection && this.#world.random.chance(0.5)) return;
        void this.#execute(lockspace, call, connection, (reply) => {
          if (answered) return;
          answered = true;
          giveUp.cancel();
          resolve(reply);
        });
      });
    });
  }

  async #execute(
    lockspace: LockspaceId,
    call: LockCall,
    connection: number,
    answer: (reply: LockReply) => void,
  ): Promise<void> {
    const reply = await this.#server.execute(this.#life, lockspace, call);
    this.#lastReply = this.#inOrder(this.#lastReply);
    this.#world.schedule(this.#lastReply - this.#world.now, this.#thread, () => {
      if (connection === this.#connection && this.#up) answer(reply);
    });
  }

  watch(lockspace: LockspaceId, member: WatchedMember, deliver: (events: readonly LockEvent[]) => void): Subscription {
    let stopped = false;
    const pass = (events: readonly LockEvent[]): void => {
      const { random } = this.#world;
      if (!this.#up || random.chance(this.#timing.lostWakes)) return;
      for (let copy = random.chance(this.#timing.doubleWakes) ? 2 : 1; copy > 0; copy--) {
        // A wake-up may carry the events or only say that there are some.
        const carried = random.chance(0.3) ? [] : events;
        this.#world.schedule(random.between(...this.#timing.delay), this.#thread, () => {
          if (!stopped && this.#up) deliver(carried);
        });
      }
    };
    const subscription = this.#server.watch(lockspace, member, pass);
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
    return this.#up;
  }

  /** The link breaks: nothing arrives any more, in either direction. */
  cut(): void {
    this.#setUp(false);
  }

  heal(): void {
    this.#setUp(true);
  }

  #setUp(up: boolean): void {
    if (up === this.#up) return;
    this.#up = up;
    this.#connection++;
    this.#world.schedule(this.#world.random.between(0, 20), this.#thread, () => {
      for (const listener of [...this.#listeners]) listener(this.#up);
    });
  }

  /** Arrival time of what is sent now, not before what was sent earlier. */
  #inOrder(last: number): number {
    return Math.max(last, this.#world.now + this.#world.random.between(...this.#timing.delay));
  }
}
