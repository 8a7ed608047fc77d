import { assert } from "../base/assert.ts";
import { type SectorRange, type SlotNumber, sectorRange } from "../base/units.ts";

/** Bitmap slots of an array, at most (the recovery map of md-cluster has 64 bits). */
const MAX_SLOTS = 64;

/**
 * The ranges in which other nodes resync, one a slot: our writes wait there and our reads are not balanced. Keyed by
 * slot, because the end of one node's resync says nothing about another's (the kernel keeps a single range, which a
 * second node's recovery erases). Asked once per request, so it allocates nothing.
 */
export class SuspendList {
  readonly #lo = new Float64Array(MAX_SLOTS);
  /** 0: the slot suspends nothing. */
  readonly #hi = new Float64Array(MAX_SLOTS);
  #count = 0;

  /** Replaces what the slot suspended before. */
  suspend(slot: SlotNumber, range: SectorRange): void {
    assert(slot >= 0 && slot < MAX_SLOTS, `slot ${slot} is not 0..${MAX_SLOTS - 1}`);
    assert(range.lo >= 0 && range.lo < range.hi, `[${range.lo}, ${range.hi}) cannot be suspended`);
    if (this.#hi[slot] === 0) this.#count++;
    this.#lo[slot] = range.lo;
    this.#hi[slot] = range.hi;
  }

  /** Of a slot that suspends nothing: no effect. */
  resume(slot: SlotNumber): void {
    if (this.rangeOf(slot) === null) return;
    this.#hi[slot] = 0;
    this.#count--;
  }

  /** Does any part of [lo, hi) lie in somebody's range? */
  blocks(lo: number, hi: number): boolean {
    if (this.#count === 0) return false;
    for (let slot = 0; slot < MAX_SLOTS; slot++) {
      if (lo < (this.#hi[slot] ?? 0) && (this.#lo[slot] ?? 0) < hi) return true;
    }
    return false;
  }

  rangeOf(slot: SlotNumber): SectorRange | null {
    const hi = this.#hi[slot] ?? 0;
    return hi === 0 ? null : sectorRange(this.#lo[slot] ?? 0, hi);
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }
}
