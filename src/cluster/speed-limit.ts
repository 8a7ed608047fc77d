import { type Clock, sleep } from "../env/clock.ts";

/**
 * How fast this node may copy in one array (sync_speed_max): a resync and a recovery alike. It may change while something
 * waits for it.
 */
export class SpeedLimit {
  readonly #clock: Clock;
  /** KiB per second (sync_speed_min): the data plane keeps it. */
  least: number;
  #kib: number;
  #changed = new AbortController();

  constructor(clock: Clock, kib: number, least = 0) {
    this.#clock = clock;
    this.least = least;
    this.#kib = kib;
  }

  /** KiB per second; 0: no limit. */
  get kib(): number {
    return this.#kib;
  }

  change(kib: number): void {
    this.#kib = kib;
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** Milliseconds that copying `sectors` in `tookMs` was too quick by; 0 or less: it was not. */
  earlyMs(sectors: number, tookMs: number): number {
    return this.#kib === 0 ? 0 : (sectors / 2 / this.#kib) * 1000 - tookMs;
  }

  /** Waits until what was copied since `beganAt` is within the limit, as it is now and as it becomes. */
  async wait(sectors: number, beganAt: number, ...signals: readonly AbortSignal[]): Promise<void> {
    for (;;) {
      const early = this.earlyMs(sectors, this.#clock.now() - beganAt);
      if (early <= 0 || signals.some((signal) => signal.aborted)) return;
      await sleep(this.#clock, early, ...signals, this.#changed.signal);
    }
  }
}
