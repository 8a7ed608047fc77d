import type { Mismatch } from "./engine-protocol.ts";

/** Ranges that one comparison tells of: more are counted, not listed. */
const MOST_RANGES = 256;

/** What one comparison has found so far. Units end in any order: `ranges` sorts and joins. */
export class MismatchList {
  /** As md counts: the whole of a request (64 KiB at most) for each copy that differs in it. */
  counted = 0;
  /** Chunks were left out that need a resync: there copies may differ. */
  unsettled = false;
  /** There were more than are listed. */
  isCut = false;
  readonly #ranges: Mismatch[] = [];

  add(found: Mismatch): void {
    const last = this.#ranges.at(-1);
    if (last !== undefined && joins(last, found)) {
      this.#ranges[this.#ranges.length - 1] = { ...last, hi: found.hi };
    } else if (this.#ranges.length < MOST_RANGES) {
      this.#ranges.push(found);
    } else {
      this.isCut = true;
    }
  }

  ranges(): readonly Mismatch[] {
    const joined: Mismatch[] = [];
    for (const range of this.#ranges.sort((a, b) => a.lo - b.lo)) {
      const last = joined.at(-1);
      if (last !== undefined && joins(last, range)) joined[joined.length - 1] = { ...last, hi: range.hi };
      else joined.push(range);
    }
    return joined;
  }
}

const joins = (one: Mismatch, next: Mismatch): boolean =>
  one.hi === next.lo && one.kind === next.kind && one.places.join() === next.places.join();
