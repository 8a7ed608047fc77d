import { setTimeout as pause } from "node:timers/promises";
import type { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";

const BLOCK_BYTES = 4096;
const DEPTH = 4;
/** Between two writes of one request in flight: pauses are looked for, not throughput. */
const PACE_MS = 2;

/** Writes all over a region, a few requests at a time, and remembers when each was acknowledged. */
export class SurvivorLoad {
  readonly #client: NbdClient;
  readonly #region: { readonly from: number; readonly to: number };
  /** Milliseconds of `performance.now`, ascending. */
  readonly #acknowledged: number[] = [];
  readonly #running: Promise<unknown>;
  #stopped = false;
  #waiting: { readonly count: number; readonly reached: () => void } | null = null;

  /** Bytes [from, to) of the array. */
  constructor(client: NbdClient, region: { readonly from: number; readonly to: number }) {
    this.#client = client;
    this.#region = region;
    this.#running = Promise.all(Array.from({ length: DEPTH }, () => this.#write()));
  }

  /** Resolves when so many writes are acknowledged; rejects if one fails. */
  async reaches(count: number): Promise<void> {
    const reached = new Promise<void>((resolve) => {
      this.#waiting = { count, reached: resolve };
    });
    await Promise.race([reached, this.#running]);
  }

  /** Milliseconds of the longest time without an acknowledgement that began or ended in [from, to]. */
  longestPause(from: number, to: number): number {
    let [longest, before] = [0, Number.POSITIVE_INFINITY];
    for (const at of this.#acknowledged) {
      if (at >= from && before <= to) longest = Math.max(longest, at - before);
      before = at;
    }
    return longest;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #write(): Promise<void> {
    const { from, to } = this.#region;
    const block = Buffer.alloc(BLOCK_BYTES, 0x5b);
    while (!this.#stopped) {
      const at = from + Math.floor((Math.random() * (to - from)) / BLOCK_BYTES) * BLOCK_BYTES;
      await pause(PACE_MS);
      await this.#client.write(at, block);
      this.#acknowledged.push(performance.now());
      if (this.#waiting !== null && this.#acknowledged.length >= this.#waiting.count) this.#waiting.reached();
    }
  }
}
