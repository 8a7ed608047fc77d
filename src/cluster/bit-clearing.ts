import type { GuardedEngine } from "./guarded-engine.ts";

/** The bits behind a resync: cleared while it goes on, which waits only if too many are left. Amounts are sectors. */
export class BitClearing {
  readonly #engine: GuardedEngine;
  readonly #grain: number;
  readonly #most: number;
  /** What may be copied, what was, and of how much of that the bits are cleared. */
  #begun = 0;
  #copied = 0;
  #cleared = 0;
  #isClearing = false;
  #wake: () => void = () => {};
  #last: Promise<void> = Promise.resolve();

  /** After each `grain` bits are cleared; no more than `most` has been begun and has its bits. */
  constructor(engine: GuardedEngine, grain: number, most: number) {
    this.#engine = engine;
    this.#grain = grain;
    this.#most = most;
  }

  /** With nothing at work: what had room and was not copied gives it back. May so much be copied at once? */
  hasRoom(sectors: number): boolean {
    this.#begun = this.#copied;
    return this.#fits(sectors);
  }

  /** Resolves when so much more may be copied, in the order asked for. */
  room(sectors: number): Promise<void> {
    this.#last = this.#last.then(() => this.#wait(sectors));
    return this.#last;
  }

  /** So much of what had room was looked at, and copied where that was needed. */
  copied(sectors: number): void {
    this.#copied += sectors;
    if (this.#copied - this.#cleared >= this.#grain) this.clear();
    this.#wake();
  }

  /** Of all that was copied, beside the copying. */
  clear(): void {
    if (this.#isClearing) return;
    this.#isClearing = true;
    const upTo = this.#copied;
    const done = (): void => {
      this.#isClearing = false;
      this.#cleared = upTo;
      if (this.#copied - upTo >= this.#grain) this.clear();
      this.#wake();
    };
    // A data plane that has ended clears nothing, and whoever copies notices.
    this.#engine.send({ type: "flushBitmap" }).then(done, done);
  }

  async #wait(sectors: number): Promise<void> {
    while (!this.#fits(sectors)) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      if (this.#begun === this.#copied) this.clear();
      await woken;
    }
    this.#begun += sectors;
  }

  #fits(sectors: number): boolean {
    return this.#begun <= this.#cleared || this.#begun + sectors - this.#cleared <= this.#most;
  }
}
