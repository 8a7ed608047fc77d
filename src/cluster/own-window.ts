import type { SectorRange } from "../base/units.ts";
import type { SlotLocks } from "./slot-locks.ts";

/** What the value block of our own `bitmapNNNN` says, kept current: later joiners learn from it where we copy. */
export class OwnWindow {
  readonly #locks: SlotLocks;
  #range: SectorRange | null = null;
  #needsResync = true;
  /** What the others read for sure; null: perhaps something else. */
  #told: string | null = null;
  #publications = 0;

  constructor(locks: SlotLocks) {
    this.#locks = locks;
  }

  get range(): SectorRange | null {
    return this.#range;
  }

  get needsResync(): boolean {
    return this.#needsResync;
  }

  /** Resolves when it can be read by the others. */
  async show(range: SectorRange | null): Promise<void> {
    this.#range = range;
    await this.#publish();
  }

  async needs(needsResync: boolean): Promise<void> {
    this.#needsResync = needsResync;
    await this.#publish();
  }

  async #publish(): Promise<void> {
    const window = { range: this.#range, needsResync: this.#needsResync };
    const text = JSON.stringify(window);
    if (text === this.#told) return;
    this.#told = null;
    const publication = ++this.#publications;
    await this.#locks.publish(window);
    // A later one that is on its way says something else.
    if (publication === this.#publications) this.#told = text;
  }
}
