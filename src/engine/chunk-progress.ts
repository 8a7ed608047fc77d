import type { ChunkCounters } from "../bitmap/counters.ts";

/**
 * Which chunks a running resync has begun and finished. Copies come in ranges that may end inside a chunk: a chunk is in
 * sync once all of it was copied, in one pass or in ranges that join.
 */
export class ChunkProgress {
  readonly #counters: ChunkCounters;
  readonly #chunkSectors: number;
  readonly #size: number;
  /** Chunks below it are begun, from the range's first on. */
  #begun = 0;
  /** Chunks below it are ended. */
  #ended = 0;
  /** A chunk that is copied up to a place within it, -1 for none. */
  #partial = -1;
  #partialTo = 0;

  constructor(counters: ChunkCounters, chunkSectors: number, size: number) {
    this.#counters = counters;
    this.#chunkSectors = chunkSectors;
    this.#size = size;
  }

  /** A copy begins at `lo`, and none is at work. */
  start(lo: number): void {
    const first = Math.floor(lo / this.#chunkSectors);
    const joins = this.#partial === first && this.#partialTo === lo;
    if (this.#partial !== -1 && !joins) this.#counters.endSync(this.#partial, true);
    this.#partial = -1;
    const whole = lo === first * this.#chunkSectors;
    this.#begun = whole ? first : first + 1;
    this.#ended = whole || joins ? first : first + 1;
  }

  /** May a copy from `lo` on begin while one that ends at `hi` is at work? A chunk is left or begun in its middle by none. */
  joins(hi: number, lo: number): boolean {
    return lo === hi || (hi < lo && this.#isBetweenChunks(hi) && this.#isBetweenChunks(lo));
  }

  /** The first sector from `at` on, below `hi`, that is to be copied: begins its chunk. `hi` for none. */
  next(at: number, hi: number): number {
    const chunk = Math.floor(at / this.#chunkSectors);
    const found = this.#counters.needsSync(chunk) ? chunk : this.#counters.nextNeeded(chunk + 1);
    if (found === -1) return hi;
    const next = Math.max(at, found * this.#chunkSectors);
    if (next >= hi) return hi;
    if (found >= this.#begun) {
      this.#counters.startSync(found);
      this.#begun = found + 1;
    }
    return next;
  }

  /** Where the chunks side by side that are to be copied end, of which `next` gave the first, no further than `most`: begins them. */
  endOfNeed(at: number, most: number): number {
    let end = this.#endOfChunk(at);
    while (end < most && this.next(end, most) === end) end = this.#endOfChunk(end);
    return Math.min(end, most);
  }

  /** [lo, hi) could not be copied. */
  fail(lo: number, hi: number): void {
    const last = Math.floor((hi - 1) / this.#chunkSectors);
    for (let chunk = Math.floor(lo / this.#chunkSectors); chunk <= last; chunk++) this.#counters.endSync(chunk, true);
  }

  /** Everything below `at` is copied, or has failed. */
  reached(at: number): void {
    for (; this.#ended < this.#begun && this.#endOfChunk(this.#ended * this.#chunkSectors) <= at; this.#ended++) {
      this.#counters.endSync(this.#ended, false);
    }
  }

  /** The last copy at work ends at `hi`; or, aborted, somewhere before it. */
  stop(hi: number, aborted: boolean): void {
    const last = Math.floor((hi - 1) / this.#chunkSectors);
    if (!aborted && this.#begun > last && this.#ended <= last && this.#counters.isSyncing(last)) {
      this.#partial = last;
      this.#partialTo = hi;
      return;
    }
    for (; this.#ended < this.#begun; this.#ended++) this.#counters.endSync(this.#ended, true);
  }

  /** May a pass go on at `at`, though the chunk began before? */
  continuesAt(at: number): boolean {
    return this.#partial === Math.floor(at / this.#chunkSectors) && this.#partialTo === at;
  }

  #endOfChunk(at: number): number {
    return Math.min((Math.floor(at / this.#chunkSectors) + 1) * this.#chunkSectors, this.#size);
  }

  #isBetweenChunks(at: number): boolean {
    return at % this.#chunkSectors === 0 || at === this.#size;
  }
}
