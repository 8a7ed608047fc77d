import { setImmediate as nextRound } from "node:timers/promises";
import type { IoRing } from "../../src/blockdev/io-ring.ts";

/** Turns a ring of either kind from a test, whose own event loop must go on turning: peers live in it. */
export class RingDriver {
  readonly ring: IoRing;
  readonly #results = new Map<number, number>();
  #nextTag = 0xffff_0000;

  constructor(ring: IoRing) {
    this.ring = ring;
    ring.onReady?.set(() => this.#turn(-1));
  }

  /** A tag of its own, in the upper half of what fits. */
  tag(): number {
    return this.#nextTag++;
  }

  /** Starts an operation and waits for its result. */
  async run(start: (tag: number) => void): Promise<number> {
    const tag = this.tag();
    start(tag);
    return this.result(tag);
  }

  /** Of an operation that was started; each tag once. */
  async result(tag: number): Promise<number> {
    for (const deadline = Date.now() + 10_000; ; ) {
      const result = this.#results.get(tag);
      if (result !== undefined) {
        this.#results.delete(tag);
        return result;
      }
      if (Date.now() > deadline) throw new Error(`operation ${tag} does not complete`);
      if (this.ring.onReady === null) this.#turn(1);
      await nextRound();
    }
  }

  /** Completions that nobody has asked for. */
  get unclaimed(): number {
    return this.#results.size;
  }

  #turn(waitMs: number): void {
    const count = this.ring.submitAndReap(waitMs);
    for (let i = 0; i < count; i++) {
      const tag = this.ring.completedTag[i] ?? 0;
      if (this.#results.has(tag)) throw new Error(`operation ${tag} completed twice`);
      this.#results.set(tag, this.ring.completedResult[i] ?? 0);
    }
  }
}
