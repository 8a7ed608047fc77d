import { assert } from "../base/assert.ts";

/** The chunk needs a resync, and none has begun. */
export const NEEDED = 0x8000;
/** A resync of the chunk has begun. */
export const RESYNC = 0x4000;
/** Two for a set bit, and one for each write in flight. */
const COUNT = 0x3fff;

const REGION_SHIFT = 12;
const REGION = 1 << REGION_SHIFT;

/**
 * One 16-bit counter a chunk (on-disk format, section 10): 0 clean; 1 idle for a period, to be cleared in the next;
 * 2 bit set and idle; n + 2 with n writes in flight. NEEDED and RESYNC on top. Whoever raises a counter from 0 sets the
 * bit on disk, and it is cleared when the counter falls from 1 to 0; neither is done here.
 *
 * Chunks are grouped in regions, so that looking for work does not read all counters.
 */
export class ChunkCounters {
  readonly chunks: number;
  readonly #values: Uint16Array;
  /** By region: chunks that may have to age. */
  readonly #pending: Uint8Array;
  /** By region: chunks that need a resync. */
  readonly #neededIn: Uint32Array;
  #dirty = 0;
  #needed = 0;

  constructor(chunks: number) {
    this.chunks = chunks;
    this.#values = new Uint16Array(chunks);
    const regions = Math.ceil(chunks / REGION);
    this.#pending = new Uint8Array(regions);
    this.#neededIn = new Uint32Array(regions);
  }

  /** Chunks with a bit. */
  get dirty(): number {
    return this.#dirty;
  }

  /** Chunks that need a resync or are being resynced. */
  get needed(): number {
    return this.#needed;
  }

  value(chunk: number): number {
    return this.#values[chunk] ?? 0;
  }

  needsSync(chunk: number): boolean {
    return (this.value(chunk) & (NEEDED | RESYNC)) !== 0;
  }

  /** A copy of it has begun and not ended. */
  isSyncing(chunk: number): boolean {
    return (this.value(chunk) & RESYNC) !== 0;
  }

  /** A write begins. True: the bit was not set. */
  raise(chunk: number): boolean {
    const value = this.value(chunk);
    const count = value & COUNT;
    assert(count < COUNT, `chunk ${chunk} has too many writes`);
    if (count === 0) this.#dirty++;
    this.#values[chunk] = count < 2 ? (value & ~COUNT) | 3 : value + 1;
    return count === 0;
  }

  /** A write has ended. */
  lower(chunk: number): void {
    const value = this.value(chunk);
    assert((value & COUNT) > 2, `chunk ${chunk} has no write in flight`);
    this.#values[chunk] = value - 1;
    if (value - 1 <= 2) this.#pending[chunk >> REGION_SHIFT] = 1;
  }

  /** The mirrors may differ here. True: the bit was not set. */
  need(chunk: number): boolean {
    const value = this.value(chunk);
    const fresh = (value & COUNT) === 0;
    if (fresh) this.#dirty++;
    this.#set(chunk, (value & COUNT) < 2 ? (value & ~COUNT) | 2 | NEEDED : value | NEEDED);
    return fresh;
  }

  /** The bit was found set, and the copies agree: it is cleared in time, as after a write. True: the bit was not set. */
  mark(chunk: number): boolean {
    const value = this.value(chunk);
    if ((value & COUNT) !== 0) return false;
    this.#dirty++;
    this.#values[chunk] = value | 2;
    this.#pending[chunk >> REGION_SHIFT] = 1;
    return true;
  }

  /** True: the chunk is to be copied. What is called NEEDED again from here on stays so after `endSync`. */
  startSync(chunk: number): boolean {
    const value = this.value(chunk);
    if ((value & NEEDED) !== 0) this.#set(chunk, (value & ~NEEDED) | RESYNC);
    return (value & (NEEDED | RESYNC)) !== 0;
  }

  endSync(chunk: number, aborted: boolean): void {
    const value = this.value(chunk);
    if ((value & RESYNC) === 0) return;
    const rest = (value & ~RESYNC) | (aborted ? NEEDED : 0);
    this.#set(chunk, rest);
    if (rest <= 2) this.#pending[chunk >> REGION_SHIFT] = 1;
  }

  /** The first chunk from `from` on that needs a resync, -1 for none. */
  nextNeeded(from: number): number {
    for (let chunk = from; chunk < this.chunks; ) {
      if ((this.#neededIn[chunk >> REGION_SHIFT] ?? 0) === 0) chunk = (chunk | (REGION - 1)) + 1;
      else if (this.needsSync(chunk)) return chunk;
      else chunk++;
    }
    return -1;
  }

  /** May any counter age? */
  get hasIdle(): boolean {
    return this.#pending.includes(1);
  }

  /**
   * One period has passed: 2 becomes 1; where `mayClear`, 1 becomes 0 and `onClear` is told to clear the bit. The caller
   * has made durable on all members what was written before a counter became 1.
   */
  age(mayClear: boolean, onClear: (chunk: number) => void): void {
    for (let region = 0; region < this.#pending.length; region++) {
      if (this.#pending[region] === 0) continue;
      let left = 0;
      const end = Math.min((region + 1) * REGION, this.chunks);
      for (let chunk = region * REGION; chunk < end; chunk++) {
        const value = this.#values[chunk];
        if (value === 2) {
          this.#values[chunk] = 1;
          left = 1;
        } else if (value === 1 && mayClear) {
          this.#values[chunk] = 0;
          this.#dirty--;
          onClear(chunk);
        } else if (value === 1) {
          left = 1;
        }
      }
      this.#pending[region] = left;
    }
  }

  #set(chunk: number, value: number): void {
    const before = this.needsSync(chunk) ? 1 : 0;
    this.#values[chunk] = value;
    const change = (this.needsSync(chunk) ? 1 : 0) - before;
    this.#needed += change;
    const region = chunk >> REGION_SHIFT;
    this.#neededIn[region] = (this.#neededIn[region] ?? 0) + change;
  }
}
