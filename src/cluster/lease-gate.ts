import type { LeaseSink } from "../dlm/lockspace.ts";
import type { SharedBlock } from "../engine/shared-block.ts";
import type { Clock } from "../env/clock.ts";

/**
 * The way of the lease's ends to the data plane. A lease that comes back after it was over is held up until the members
 * were asked whether our slot was taken over meanwhile. The lock server refuses who was declared dead, but one that has
 * lost its state, and with it everybody who knew, cannot (docs/decisions/0010): then only the takeover record tells, and
 * what this node believes of members and chunks is old.
 */
export class LeaseGate {
  readonly #shared: SharedBlock;
  readonly #clock: Clock;
  #ask: (() => Promise<boolean>) | null = null;
  /** What is to count once the members were asked. */
  #pending: Parameters<LeaseSink> | null = null;
  /** Answers to any question but the last one are old: the lease has ended once more since. */
  #question = 0;

  constructor(shared: SharedBlock, clock: Clock) {
    this.#shared = shared;
    this.#clock = clock;
  }

  /** From now on `ask` is asked first: may we go on? It does not reject. Before, this node knew nothing that could be old. */
  askFirst(ask: () => Promise<boolean>): void {
    this.#ask = ask;
  }

  set(...ends: Parameters<LeaseSink>): void {
    const now = this.#clock.now();
    const [writeUntil] = ends;
    const comesBack = writeUntil > now && !this.#shared.leaseHolds(now);
    if (this.#ask === null || !comesBack) {
      this.#pending = null;
      this.#question++;
      this.#shared.setLease(...ends);
      return;
    }
    const isAsking = this.#pending !== null;
    this.#pending = ends;
    if (!isAsking) void this.#askBefore(this.#ask);
  }

  async #askBefore(ask: () => Promise<boolean>): Promise<void> {
    this.#question++;
    const question = this.#question;
    const goesOn = await ask();
    if (question !== this.#question || this.#pending === null) return;
    const ends = this.#pending;
    this.#pending = null;
    if (goesOn) this.#shared.setLease(...ends);
  }
}
