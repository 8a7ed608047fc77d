import type { Clock } from "../env/clock.ts";
import type { SpeedLimit } from "./speed-limit.ts";

/** What a pass copies, beside what it may copy. */
export class Pace {
  readonly #limit: SpeedLimit;
  readonly #clock: Clock;
  #since: number;
  #sectors = 0;

  constructor(limit: SpeedLimit, clock: Clock) {
    this.#limit = limit;
    this.#clock = clock;
    this.#since = clock.now();
  }

  /** `sectors` were copied just now, in `ms` milliseconds. What was too slow before is not made up for. */
  copied(sectors: number, ms: number): void {
    if (this.earlyMs(0) <= 0) {
      this.#since = this.#clock.now() - ms;
      this.#sectors = 0;
    }
    this.#sectors += sectors;
  }

  /** Milliseconds that it would be too quick by with `more` sectors; 0 or less: it would not. */
  earlyMs(more: number): number {
    return this.#limit.earlyMs(this.#sectors + more, this.#clock.now() - this.#since);
  }

  /** Until it is within the limit. */
  async rest(...signals: readonly AbortSignal[]): Promise<void> {
    await this.#limit.wait(this.#sectors, this.#since, ...signals);
  }
}
