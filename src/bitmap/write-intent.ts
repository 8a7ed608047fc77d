import { assert } from "../base/assert.ts";
import { BITMAP_PAGE_BYTES, BITMAP_SUPER_BYTES, byteOfBit, maskOfBit, pageOfBit } from "./bitmap-layout.ts";
import { ChunkCounters } from "./counters.ts";

/** Offsets in the bitmap superblock (on-disk format, section 7). */
const EVENTS_AT = 24;
const EVENTS_CLEARED_AT = 32;

/**
 * What became of a page write. durable: on every member that counts. partial: on all but a member whose failure is not
 * yet settled. stale: a member that counts was not written (it came meanwhile). failed: on no member.
 */
export type PageOutcome = "durable" | "partial" | "stale" | "failed";

/** Of what a page had to say at some moment: still to come, on every member, on all but a blocked one, or on none. */
export type PageStanding = "pending" | "durable" | "partial" | "failed";

export interface WriteIntentOptions {
  readonly chunks: number;
  /** 256 bytes, as on disk. */
  readonly superblock: Uint8Array;
  /** Bits found on disk: each chunk needs a resync. */
  readonly bits: Uint8Array;
  /** Bits of chunks that need no resync: they are cleared in time. */
  readonly idle?: Uint8Array;
  /** Of the array. */
  readonly events: number;
  /** Whole pages: what is being written, one image a page. The caller writes from here and leaves it alone. */
  readonly staging: Uint8Array;
}

/**
 * The write-intent bitmap of one slot: which chunks may differ between the mirrors, what is known of that on disk, and
 * which pages have to be written. It does no IO.
 *
 * There are three images of each page: memory, `staging` (being written), durable (last known on all members). A bit
 * counts as durable only if the durable image has it and no write that would clear it is on its way: a write that was
 * issued before the bit was set proves nothing. A page has one write in flight at a time.
 *
 * Unlike md, a write that ends while the array is degraded does not make its chunk NEEDED: the members that are in sync
 * agree there, and the bit, which stays as long as the array is degraded, is the record for the one that is missing.
 */
export class WriteIntent {
  readonly counters: ChunkCounters;
  readonly pages: number;
  readonly staging: Uint8Array;
  readonly #memory: Uint8Array;
  readonly #durable: Uint8Array;
  readonly #superblock: DataView;
  /** Pages that are to be written. */
  readonly #asked: Uint8Array;
  readonly #writing: Uint8Array;
  /** Pages whose last write missed a member that is blocked. */
  readonly #deferred: Uint8Array;
  readonly #issued: Float64Array;
  readonly #ended: Float64Array;
  readonly #durableWrite: Float64Array;
  #events: number;
  #eventsCleared: number;
  /** events_cleared has moved and is not in the page yet. */
  #superblockAhead = false;
  #toWrite = 0;

  constructor({ chunks, superblock, bits, idle, events, staging }: WriteIntentOptions) {
    assert(superblock.length === BITMAP_SUPER_BYTES, "a bitmap superblock has 256 bytes");
    assert(bits.length === Math.ceil(chunks / 8), `${chunks} chunks take ${Math.ceil(chunks / 8)} bytes of bits`);
    this.pages = WriteIntent.pagesOf(chunks);
    assert(staging.length === this.pages * BITMAP_PAGE_BYTES, "staging holds every page");
    this.counters = new ChunkCounters(chunks);
    this.staging = staging;
    this.#memory = new Uint8Array(staging.length);
    this.#durable = new Uint8Array(staging.length);
    this.#asked = new Uint8Array(this.pages);
    this.#writing = new Uint8Array(this.pages);
    this.#deferred = new Uint8Array(this.pages);
    this.#issued = new Float64Array(this.pages);
    this.#ended = new Float64Array(this.pages);
    this.#durableWrite = new Float64Array(this.pages);
    this.#memory.set(superblock);
    this.#superblock = new DataView(this.#memory.buffer, 0, BITMAP_SUPER_BYTES);
    this.#events = events;
    this.#eventsCleared = Number(this.#superblock.getBigUint64(EVENTS_CLEARED_AT, true));
    this.#superblock.setBigUint64(EVENTS_AT, BigInt(events), true);
    for (let chunk = 0; chunk < chunks; chunk++) {
      if (((bits[chunk >> 3] ?? 0) & (1 << (chunk & 7))) !== 0) this.need(chunk);
      else if (idle !== undefined && ((idle[chunk >> 3] ?? 0) & (1 << (chunk & 7))) !== 0) {
        if (this.counters.mark(chunk)) this.#setBit(chunk);
      }
    }
  }

  /** Pages of 4 KiB that the bitmap of one slot takes. */
  static pagesOf(chunks: number): number {
    return Math.ceil((BITMAP_SUPER_BYTES + Math.ceil(chunks / 8)) / BITMAP_PAGE_BYTES);
  }

  /** A write to the chunk begins. It may go once `isDurable`. */
  startWrite(chunk: number): void {
    if (this.counters.raise(chunk)) this.#setBit(chunk);
    this.require(chunk);
  }

  /**
   * The write has ended. `everywhere`: every raid_disk has an in-sync member, and the write is on each of them: only
   * then may the stamp move that tells a member that comes back how much the bitmap remembers.
   */
  endWrite(chunk: number, everywhere: boolean): void {
    if (everywhere) this.#advanceStamp();
    this.counters.lower(chunk);
  }

  /** The mirrors may differ: resync the chunk. */
  need(chunk: number): void {
    if (this.counters.need(chunk)) this.#setBit(chunk);
    this.require(chunk);
  }

  isDurable(chunk: number): boolean {
    const at = byteOfBit(chunk);
    const mask = maskOfBit(chunk);
    if (((this.#durable[at] ?? 0) & mask) === 0) return false;
    return this.#writing[pageOfBit(chunk)] === 0 || ((this.staging[at] ?? 0) & mask) !== 0;
  }

  /** Sees to it that the bit is going to be durable: asks for its page unless it is on its way. */
  require(chunk: number): void {
    if (this.isDurable(chunk)) return;
    const page = pageOfBit(chunk);
    // On its way already, or written and waiting for a failure to be settled.
    const staged = ((this.staging[byteOfBit(chunk)] ?? 0) & maskOfBit(chunk)) !== 0;
    if (staged && (this.#writing[page] === 1 || this.#deferred[page] === 1)) return;
    this.#ask(page);
  }

  /** The bit is not durable, and nothing on its way would make it so: its page could not be written. */
  isLost(chunk: number): boolean {
    const page = pageOfBit(chunk);
    const onItsWay = this.#asked[page] === 1 || this.#writing[page] === 1 || this.#deferred[page] === 1;
    return !onItsWay && !this.isDurable(chunk);
  }

  /** The bitmap describes itself otherwise from now on; its events stay. */
  describe(superblock: Uint8Array): void {
    assert(superblock.length === BITMAP_SUPER_BYTES, "a bitmap superblock has 256 bytes");
    const stamp = this.#superblock.getBigUint64(EVENTS_CLEARED_AT, true);
    this.#memory.set(superblock);
    this.#superblock.setBigUint64(EVENTS_AT, BigInt(this.#events), true);
    this.#superblock.setBigUint64(EVENTS_CLEARED_AT, stamp, true);
    this.#ask(0);
  }

  /** Every page is to be written: a member came, or is not known to have them. */
  requireAll(): void {
    for (let page = 0; page < this.pages; page++) this.#ask(page);
  }

  get events(): number {
    return this.#events;
  }

  setEvents(events: number): void {
    this.#events = events;
    this.#superblock.setBigUint64(EVENTS_AT, BigInt(events), true);
    if (events < this.#eventsCleared) {
      // A step back from active to clean, between two states that no member has missed. Source: md_bitmap_update_sb.
      this.#eventsCleared = events;
      this.#superblock.setBigUint64(EVENTS_CLEARED_AT, BigInt(events), true);
      this.#superblockAhead = false;
    }
    this.#ask(0);
  }

  /** The next page from `from` on whose write may be issued, -1 for none. */
  nextPage(from: number): number {
    if (this.#toWrite === 0) return -1;
    for (let page = from; page < this.pages; page++) {
      if (this.#asked[page] !== 0 && this.#writing[page] === 0) return page;
    }
    return -1;
  }

  /** Takes the page's image into `staging`. */
  beginPage(page: number): void {
    assert(this.#writing[page] === 0, "a page has one write in flight");
    if (this.#asked[page] !== 0) this.#toWrite--;
    this.#asked[page] = 0;
    this.#writing[page] = 1;
    const at = page * BITMAP_PAGE_BYTES;
    this.staging.set(this.#memory.subarray(at, at + BITMAP_PAGE_BYTES), at);
    this.#issued[page] = (this.#issued[page] ?? 0) + 1;
  }

  endPage(page: number, outcome: PageOutcome): void {
    assert(this.#writing[page] === 1, "no write of the page is in flight");
    this.#writing[page] = 0;
    this.#ended[page] = this.#issued[page] ?? 0;
    if (outcome === "durable") {
      this.#adopt(page);
      return;
    }
    // Some member may have the new image and some the old one: only what both say is sure.
    for (let at = page * BITMAP_PAGE_BYTES; at < (page + 1) * BITMAP_PAGE_BYTES; at++) {
      this.#durable[at] = (this.#durable[at] ?? 0) & (this.staging[at] ?? 0);
    }
    this.#deferred[page] = outcome === "partial" ? 1 : 0;
    if (outcome === "stale") this.#ask(page);
  }

  /**
   * The failure of a member is settled. `faulty`: the pages that missed it need not be on it any more; else it is the
   * last copy, and they are to be written again.
   */
  settle(faulty: boolean): void {
    for (let page = 0; page < this.pages; page++) {
      if (this.#deferred[page] === 0) continue;
      this.#deferred[page] = 0;
      if (!faulty) this.#ask(page);
      // A newer write that is in flight decides for itself.
      else if (this.#writing[page] === 0) this.#adopt(page);
    }
  }

  /** The number of the write that will contain all that memory has of the page now. */
  coveringWrite(page: number): number {
    return (this.#issued[page] ?? 0) + (this.#asked[page] ?? 0);
  }

  /** How it stands with that write of the page. */
  standing(page: number, write: number): PageStanding {
    if ((this.#durableWrite[page] ?? 0) >= write) return "durable";
    if (this.#writing[page] === 1 || this.#asked[page] === 1 || (this.#ended[page] ?? 0) < write) return "pending";
    return this.#deferred[page] === 1 ? "partial" : "failed";
  }

  /** Is there anything that a period could do? */
  get hasLazyWork(): boolean {
    return this.#superblockAhead || this.counters.hasIdle;
  }

  /** Does any page wait to be written, or is it being written? */
  get isWriting(): boolean {
    return this.#toWrite > 0 || this.isAtWork;
  }

  /** Is any page being written? */
  get isAtWork(): boolean {
    return this.#writing.includes(1);
  }

  /**
   * A period has passed, no raid_disk lacks an in-sync member, and what was written before the last period's end is
   * durable on all. The stamp comes first: no bit is cleared before events_cleared, which vouches for it, is durable.
   */
  age(): void {
    // Nor before the stamp is this late: who was no member at this moment may have missed what is cleared now.
    if (this.counters.hasIdle) this.#advanceStamp();
    if (this.#superblockAhead) {
      this.#superblock.setBigUint64(EVENTS_CLEARED_AT, BigInt(this.#eventsCleared), true);
      this.#superblockAhead = false;
    }
    const stamped = this.#stampIsDurable();
    if (!stamped) this.#ask(0);
    this.counters.age(stamped, (chunk) => {
      const at = byteOfBit(chunk);
      this.#memory[at] = (this.#memory[at] ?? 0) & ~maskOfBit(chunk);
      this.#ask(pageOfBit(chunk));
    });
  }

  /** Bits in memory, LSB first: a copy. */
  bits(): Uint8Array {
    return this.#memory.slice(BITMAP_SUPER_BYTES, BITMAP_SUPER_BYTES + Math.ceil(this.counters.chunks / 8));
  }

  /** Bits of the chunks that need a resync, LSB first. */
  neededBits(): Uint8Array {
    const bits = new Uint8Array(Math.ceil(this.counters.chunks / 8));
    for (let chunk = this.counters.nextNeeded(0); chunk !== -1; chunk = this.counters.nextNeeded(chunk + 1)) {
      bits[chunk >> 3] = (bits[chunk >> 3] ?? 0) | (1 << (chunk & 7));
    }
    return bits;
  }

  /** The 256 bytes before the bits, as memory has them: a copy. */
  superblock(): Uint8Array {
    return this.#memory.slice(0, BITMAP_SUPER_BYTES);
  }

  #advanceStamp(): void {
    if (this.#eventsCleared >= this.#events) return;
    this.#eventsCleared = this.#events;
    this.#superblockAhead = true;
  }

  #stampIsDurable(): boolean {
    for (let at = EVENTS_CLEARED_AT; at < EVENTS_CLEARED_AT + 8; at++) {
      if (this.#durable[at] !== this.#memory[at]) return false;
    }
    return true;
  }

  #adopt(page: number): void {
    const at = page * BITMAP_PAGE_BYTES;
    this.#durable.set(this.staging.subarray(at, at + BITMAP_PAGE_BYTES), at);
    this.#durableWrite[page] = this.#ended[page] ?? 0;
    this.#deferred[page] = 0;
  }

  #setBit(chunk: number): void {
    const at = byteOfBit(chunk);
    this.#memory[at] = (this.#memory[at] ?? 0) | maskOfBit(chunk);
  }

  #ask(page: number): void {
    if (this.#asked[page] === 0) this.#toWrite++;
    this.#asked[page] = 1;
  }
}
