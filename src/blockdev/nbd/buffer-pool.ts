import { assert } from "../../base/assert.ts";

const PAGE = 4096;
/** A buffer of so many pages is small however small the pool is. */
const SMALL_PAGES = 16;

/**
 * Transfer buffers out of one region of the arena, in whole pages, with the page before the data for a reply's header:
 * header and data go out in one piece. Small buffers are taken from the bottom and large ones from the top, so that
 * small ones do not break up what large ones need. Runs of pages carry their length at both ends (negative: free), so
 * neighbours join when they are freed, and nothing is allocated.
 */
export class BufferPool {
  readonly pages: number;
  readonly #at: number;
  /** At the first and last page of a run: its length, negative when it is free. */
  readonly #run: Int32Array;
  #freePages: number;
  /** No free run begins below. */
  #lowestFree = 0;

  /** `at`: byte offset of the region in the arena, on a page. */
  constructor(at: number, bytes: number) {
    assert(at % PAGE === 0, "the pool begins on a page");
    this.pages = Math.floor(bytes / PAGE);
    assert(this.pages > 0, "the pool has pages");
    this.#at = at;
    this.#run = new Int32Array(this.pages);
    this.#freePages = this.pages;
    this.#mark(0, this.pages, -1);
  }

  get freePages(): number {
    return this.#freePages;
  }

  /** Pages that a buffer for `bytes` of data takes, its header included. */
  static pagesFor(bytes: number): number {
    return 1 + Math.ceil(bytes / PAGE);
  }

  /** The arena offset of the data (a page boundary, with a page of headroom before it); -1 when there is no room. */
  take(bytes: number): number {
    const pages = BufferPool.pagesFor(bytes);
    if (pages > this.#freePages) return -1;
    return pages > Math.max(SMALL_PAGES, this.pages / 64) ? this.#takeHigh(pages) : this.#takeLow(pages);
  }

  /** `offset` as `take` gave it. */
  release(offset: number): void {
    let start = (offset - this.#at) / PAGE - 1;
    let pages = this.#run[start] ?? 0;
    assert(pages > 0, "a buffer is released that is not taken");
    this.#freePages += pages;
    // Within a free run no mark may remain that looks like a buffer's.
    this.#run[start] = 0;
    this.#run[start + pages - 1] = 0;
    const after = this.#run[start + pages] ?? 0;
    if (after < 0) pages -= after;
    const before = start > 0 ? (this.#run[start - 1] ?? 0) : 0;
    if (before < 0) {
      start += before;
      pages -= before;
    }
    this.#mark(start, pages, -1);
    if (start < this.#lowestFree) this.#lowestFree = start;
  }

  #takeLow(pages: number): number {
    const run = this.#run;
    let lowest = -1;
    for (let start = this.#lowestFree; start < this.pages; start += Math.abs(run[start] ?? 0)) {
      const free = -(run[start] ?? 0);
      if (free <= 0) continue;
      if (lowest < 0) {
        lowest = start;
        this.#lowestFree = start;
      }
      if (free < pages) continue;
      if (free > pages) this.#mark(start + pages, free - pages, -1);
      if (start === lowest) this.#lowestFree = start + pages;
      return this.#taken(start, pages);
    }
    return -1;
  }

  #takeHigh(pages: number): number {
    const run = this.#run;
    for (let end = this.pages; end > 0; end -= Math.abs(run[end - 1] ?? 0)) {
      const free = -(run[end - 1] ?? 0);
      if (free < pages) continue;
      if (free > pages) this.#mark(end - free, free - pages, -1);
      return this.#taken(end - pages, pages);
    }
    return -1;
  }

  #taken(start: number, pages: number): number {
    this.#mark(start, pages, 1);
    this.#freePages -= pages;
    return this.#at + (start + 1) * PAGE;
  }

  #mark(start: number, pages: number, sign: 1 | -1): void {
    this.#run[start] = sign * pages;
    this.#run[start + pages - 1] = sign * pages;
  }
}
