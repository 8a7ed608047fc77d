import { assert } from "../base/assert.ts";

/** Sectors a bucket (64 KiB), and buckets. A range that covers more buckets than `WIDE` is not counted in them. */
const BUCKET_SHIFT = 7;
const BUCKETS = 4096;
const WIDE = 32;

/**
 * Writes and resync copies exclude each other by range, and overlapping writes are carried out one after the other, in
 * the order they came (mirrors that took two writes in different orders differ for ever). A range waits for all earlier
 * ones that overlap it, granted or waiting, so nobody starves.
 *
 * Holders are numbers below `capacity`. Counts by region of the address space tell without looking at any other range
 * that nothing is near, which is what mostly happens.
 */
export class RangeLock {
  readonly #onGranted: (holder: number) => void;
  readonly #lo: Float64Array;
  readonly #hi: Float64Array;
  /** When it came. 0: holds and wants nothing. */
  readonly #order: Float64Array;
  /** Earlier ranges that it waits for. */
  readonly #blockers: Int32Array;
  /** Holders of anything, densely; `#placeOf` is where. */
  readonly #active: Int32Array;
  readonly #placeOf: Int32Array;
  readonly #buckets = new Int32Array(BUCKETS);
  #count = 0;
  #wide = 0;
  #waiting = 0;
  #lastOrder = 0;

  /** `onGranted` is told of ranges that had to wait; it must not lock or unlock. */
  constructor(capacity: number, onGranted: (holder: number) => void) {
    this.#onGranted = onGranted;
    this.#lo = new Float64Array(capacity);
    this.#hi = new Float64Array(capacity);
    this.#order = new Float64Array(capacity);
    this.#blockers = new Int32Array(capacity);
    this.#active = new Int32Array(capacity);
    this.#placeOf = new Int32Array(capacity);
  }

  /** True: it holds [lo, hi) from now on. False: `onGranted` will say so. */
  lock(holder: number, lo: number, hi: number): boolean {
    assert(this.#order[holder] === 0, "a holder has one range");
    const blockers = this.#mayOverlap(lo, hi) ? this.#countOverlaps(lo, hi) : 0;
    this.#lo[holder] = lo;
    this.#hi[holder] = hi;
    this.#order[holder] = ++this.#lastOrder;
    this.#blockers[holder] = blockers;
    this.#placeOf[holder] = this.#count;
    this.#active[this.#count++] = holder;
    this.#addToBuckets(lo, hi, 1);
    if (blockers > 0) this.#waiting++;
    return blockers === 0;
  }

  /** Gives up the range, granted or not. Ranges that waited for nothing else are granted before it returns. */
  unlock(holder: number): void {
    const order = this.#order[holder] ?? 0;
    assert(order !== 0, "a range is unlocked twice");
    const lo = this.#lo[holder] ?? 0;
    const hi = this.#hi[holder] ?? 0;
    this.#order[holder] = 0;
    if ((this.#blockers[holder] ?? 0) > 0) this.#waiting--;
    const last = this.#active[--this.#count] ?? 0;
    const place = this.#placeOf[holder] ?? 0;
    this.#active[place] = last;
    this.#placeOf[last] = place;
    this.#addToBuckets(lo, hi, -1);
    if (this.#waiting > 0) this.#grantAfter(order, lo, hi);
  }

  #grantAfter(order: number, lo: number, hi: number): void {
    for (let i = 0; i < this.#count; i++) {
      const other = this.#active[i] ?? 0;
      if ((this.#order[other] ?? 0) < order) continue;
      if ((this.#lo[other] ?? 0) >= hi || (this.#hi[other] ?? 0) <= lo) continue;
      const left = (this.#blockers[other] ?? 0) - 1;
      this.#blockers[other] = left;
      if (left > 0) continue;
      this.#waiting--;
      this.#onGranted(other);
    }
  }

  #mayOverlap(lo: number, hi: number): boolean {
    if (this.#count === 0) return false;
    if (this.#wide > 0) return true;
    const first = Math.floor(lo / 2 ** BUCKET_SHIFT);
    const last = Math.floor((hi - 1) / 2 ** BUCKET_SHIFT);
    if (last - first >= WIDE) return true;
    for (let bucket = first; bucket <= last; bucket++) {
      if (this.#buckets[bucket % BUCKETS] !== 0) return true;
    }
    return false;
  }

  #countOverlaps(lo: number, hi: number): number {
    let overlaps = 0;
    for (let i = 0; i < this.#count; i++) {
      const other = this.#active[i] ?? 0;
      if ((this.#lo[other] ?? 0) < hi && lo < (this.#hi[other] ?? 0)) overlaps++;
    }
    return overlaps;
  }

  #addToBuckets(lo: number, hi: number, amount: number): void {
    const first = Math.floor(lo / 2 ** BUCKET_SHIFT);
    const last = Math.floor((hi - 1) / 2 ** BUCKET_SHIFT);
    if (last - first >= WIDE) {
      this.#wide += amount;
      return;
    }
    for (let bucket = first; bucket <= last; bucket++) {
      this.#buckets[bucket % BUCKETS] = (this.#buckets[bucket % BUCKETS] ?? 0) + amount;
    }
  }
}
