import type { Clock, Timer } from "../env/clock.ts";
import type { SimThread } from "./sim-thread.ts";
import type { World } from "./world.ts";

export interface ClockFaults {
  /** Seconds of this clock in one true second. */
  readonly rate?: number;
  /** Milliseconds that the monotonic clock is ahead: hosts boot at different times. */
  readonly offset?: number;
}

/** A host's clocks. The monotonic one may run fast or slow; the wall clock may jump as well, and nothing may hang on it. */
export class SimClock implements Clock {
  readonly #world: World;
  readonly #thread: SimThread;
  #rate: number;
  #offset: number;
  #wallJump = 0;

  constructor(world: World, thread: SimThread, { rate = 1, offset = 0 }: ClockFaults = {}) {
    this.#world = world;
    this.#thread = thread;
    this.#rate = rate;
    this.#offset = offset;
  }

  now(): number {
    return this.#offset + this.#world.now * this.#rate;
  }

  /** Simulated hosts are never suspended. */
  sinceBoot(): number {
    return this.now();
  }

  /** The true time at which this clock shows `own`. */
  trueTime(own: number): number {
    return (own - this.#offset) / this.#rate;
  }

  wall(): number {
    return 1_700_000_000_000 + this.#wallJump + this.#world.now * this.#rate;
  }

  jumpWall(ms: number): void {
    this.#wallJump += ms;
  }

  /** It runs so fast from now on; what it shows does not jump. Timers that run keep their time. */
  skew(rate: number): void {
    const turn = this.#world.now * (this.#rate - rate);
    this.#offset += turn;
    this.#wallJump += turn;
    this.#rate = rate;
  }

  after(ms: number, action: () => void): Timer {
    return this.#world.schedule(Math.max(0, ms) / this.#rate, this.#thread, action);
  }
}
