import type { SectorRange } from "../base/units.ts";
import type { MemberBadBlocks } from "./engine-protocol.ts";

/**
 * What one member cannot be trusted with, in sectors from the start of its data: ascending, apart, of whole units of its
 * log. Looked up for each request, changed rarely.
 */
export class BadRanges {
  /** Its first write error has come: what is recorded is not written to where another copy takes the write (md's WriteErrorSeen). */
  writeErrorSeen = false;
  /** The version in which something was recorded last. */
  recordedIn = 0;
  /** False: a write error takes the member out (failfast). */
  readonly takesWriteErrors: boolean;
  /** Sectors. */
  readonly unit: number;
  readonly #dataOffset: number;
  readonly #room: number;
  readonly #longest: number;
  readonly #lo: number[] = [];
  readonly #hi: number[] = [];
  #entries = 0;

  constructor({ ranges, unit, room, longest, takesWriteErrors }: MemberBadBlocks, dataOffset: number) {
    this.unit = unit;
    this.takesWriteErrors = takesWriteErrors;
    this.#dataOffset = dataOffset;
    this.#room = room;
    this.#longest = longest;
    for (const { lo, hi } of ranges) this.#insert(lo, hi);
    this.#count();
  }

  get isEmpty(): boolean {
    return this.#lo.length === 0;
  }

  overlaps(lo: number, hi: number): boolean {
    const i = this.#firstEndingAfter(lo);
    return i < this.#lo.length && (this.#lo[i] ?? 0) < hi;
  }

  /** Up to `hi`: as far as sectors are recorded or not as the one at `lo` is. */
  sameUntil(lo: number, hi: number): number {
    const i = this.#firstEndingAfter(lo);
    if (i >= this.#lo.length) return hi;
    const from = this.#lo[i] ?? 0;
    return Math.min(hi, from > lo ? from : (this.#hi[i] ?? hi));
  }

  /** Sectors from `at` to the end of its unit, of `unit` sectors or the log's, whichever is larger. */
  toEndOfUnit(at: number, unit: number): number {
    const block = Math.max(unit, this.unit);
    return block - ((at + this.#dataOffset) % block);
  }

  /** The units that [lo, hi) touches are recorded. False: there is no room, and nothing has changed. */
  add(lo: number, hi: number): boolean {
    const from = lo - ((lo + this.#dataOffset) % this.unit);
    const rest = (hi + this.#dataOffset) % this.unit;
    const to = rest === 0 ? hi : hi + this.unit - rest;
    const before = [this.#lo.slice(), this.#hi.slice()] as const;
    this.#insert(from, to);
    this.#count();
    if (this.#entries <= this.#room) return true;
    this.#restore(...before);
    return false;
  }

  /** The whole units in [lo, hi) are good again. True: some were recorded. */
  remove(lo: number, hi: number): boolean {
    const rest = (lo + this.#dataOffset) % this.unit;
    const from = rest === 0 ? lo : lo + this.unit - rest;
    const to = hi - ((hi + this.#dataOffset) % this.unit);
    if (from >= to || !this.overlaps(from, to)) return false;
    const before = [this.#lo.slice(), this.#hi.slice()] as const;
    const ranges = this.ranges();
    this.#lo.length = 0;
    this.#hi.length = 0;
    for (const range of ranges) {
      if (range.lo < Math.min(range.hi, from)) this.#insert(range.lo, Math.min(range.hi, from));
      if (Math.max(range.lo, to) < range.hi) this.#insert(Math.max(range.lo, to), range.hi);
    }
    this.#count();
    if (this.#entries <= this.#room) return true;
    // One entry would become two, for which there is no room: it goes on saying more than is bad.
    this.#restore(...before);
    return false;
  }

  ranges(): SectorRange[] {
    return this.#lo.map((lo, i) => ({ lo, hi: this.#hi[i] ?? lo }) as SectorRange);
  }

  /** Index of the first range that ends after `at`. */
  #firstEndingAfter(at: number): number {
    let low = 0;
    let high = this.#hi.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#hi[middle] ?? 0) > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #insert(lo: number, hi: number): void {
    // Ranges that touch become one.
    const first = this.#firstEndingAfter(lo - 1);
    let after = first;
    let from = lo;
    let to = hi;
    for (; after < this.#lo.length && (this.#lo[after] ?? 0) <= hi; after++) {
      from = Math.min(from, this.#lo[after] ?? from);
      to = Math.max(to, this.#hi[after] ?? to);
    }
    this.#lo.splice(first, after - first, from);
    this.#hi.splice(first, after - first, to);
  }

  #restore(lo: readonly number[], hi: readonly number[]): void {
    this.#lo.splice(0, this.#lo.length, ...lo);
    this.#hi.splice(0, this.#hi.length, ...hi);
    this.#count();
  }

  #count(): void {
    this.#entries = 0;
    for (let i = 0; i < this.#lo.length; i++) {
      this.#entries += Math.ceil(((this.#hi[i] ?? 0) - (this.#lo[i] ?? 0)) / this.#longest);
    }
  }
}
