import { SECTOR_SIZE, type Sector } from "../base/units.ts";
import { BITMAP_PAGE_BYTES } from "../bitmap/bitmap-layout.ts";
import { mergeBits } from "../bitmap/bitmap-merge.ts";
import { reshapeBitmapSuper } from "../bitmap/bitmap-super.ts";
import { convertBits } from "../bitmap/resize-bits.ts";
import { type PageOutcome, WriteIntent } from "../bitmap/write-intent.ts";
import { WRITE_DURABLE } from "../blockdev/io-ring.ts";
import { counterIndex } from "./counter-index.ts";
import type { EngineCore } from "./engine-core.ts";
import type { FailurePath } from "./failure-path.ts";
import { MemberState } from "./member-table.ts";
import type { PillWatch } from "./pill-watch.ts";
import { LegState } from "./request-table.ts";
import { TagKind, tagOf } from "./tag.ts";
import { errnoOf, MAX_ATTEMPTS, mayRetry } from "./transfer.ts";

const PAGE_SECTORS = BITMAP_PAGE_BYTES / SECTOR_SIZE;
/** Rounds in which every bit that may be cleared is: one to age, one for the stamp, one to clear. */
const ROUNDS_TO_CLEAR = 3;

/**
 * Brings the write-intent bitmap to the members: one durable write for each dirty page and turn, whoever dirtied it;
 * and once a period, after all members were flushed, the clearing of what has been idle.
 */
export class BitmapPath {
  intent: WriteIntent;
  /** Sectors per bit. */
  chunkSectors: number;
  /** False: pages are kept in memory alone, and count as written at once. */
  stored: boolean;
  readonly #core: EngineCore;
  readonly #failures: FailurePath;
  readonly #pill: PillWatch;
  readonly #stagingAt: number;
  #syncSize: Sector;
  readonly #legState: Uint8Array;
  readonly #legErrno: Int32Array;
  readonly #attempts: Uint16Array;
  readonly #legsPending: Int32Array;
  /** Legs that are to be issued again. */
  #again = 0;
  #nextRound = Number.POSITIVE_INFINITY;
  #forcedRounds = 0;
  #flushesPending = 0;
  readonly #flushAttempts: Uint16Array;
  #flushFailed = false;
  #flushGeneration = -1;
  /** The flushes that are in flight are those of a round. */
  #ageAfterFlush = false;
  /** A page write has ended, or a failure was settled: whoever waits for bits should look. */
  changed = false;

  /** `stagingAt`: arena offset of as many bytes as `stagingBytes` says. */
  constructor(core: EngineCore, failures: FailurePath, pill: PillWatch, stagingAt: number) {
    const { bitmap, readOnly } = core.config;
    const { width } = core.members;
    this.#core = core;
    this.#failures = failures;
    this.#pill = pill;
    this.#stagingAt = stagingAt;
    this.chunkSectors = bitmap.chunkSectors;
    this.stored = bitmap.stored;
    this.#syncSize = core.personality.size;
    this.intent = new WriteIntent({
      ...bitmap,
      staging: core.ring.arena.subarray(stagingAt, stagingAt + BitmapPath.stagingBytes(bitmap.chunks)),
    });
    const legs = this.intent.pages * width;
    this.#legState = new Uint8Array(legs);
    this.#legErrno = new Int32Array(legs);
    this.#attempts = new Uint16Array(legs);
    this.#flushAttempts = new Uint16Array(width);
    this.#legsPending = new Int32Array(this.intent.pages);
    // What one member has on disk need not be on the others.
    if (!readOnly) this.intent.requireAll();
  }

  static stagingBytes(chunks: number): number {
    return WriteIntent.pagesOf(chunks) * BITMAP_PAGE_BYTES;
  }

  /** A write to [lo, hi) begins. True: its bits are durable. */
  startWrite(lo: number, hi: number): boolean {
    const last = this.#lastChunk(hi);
    for (let chunk = this.#chunkOf(lo); chunk <= last; chunk++) this.intent.startWrite(chunk);
    return this.isDurable(lo, hi);
  }

  endWrite(lo: number, hi: number, everywhere: boolean): void {
    const last = this.#lastChunk(hi);
    for (let chunk = this.#chunkOf(lo); chunk <= last; chunk++) this.intent.endWrite(chunk, everywhere);
  }

  /** Some copies may have what was written to [lo, hi) and others not, and no one will write it again. */
  differs(lo: number, hi: number): void {
    const last = this.#lastChunk(hi);
    for (let chunk = this.#chunkOf(lo); chunk <= last; chunk++) this.intent.need(chunk);
    if (this.#core.members.inSync > 1) this.#core.notify({ type: "resyncNeeded" });
  }

  isDurable(lo: number, hi: number): boolean {
    const last = this.#lastChunk(hi);
    for (let chunk = this.#chunkOf(lo); chunk <= last; chunk++) {
      if (!this.intent.isDurable(chunk)) return false;
    }
    return true;
  }

  /** A page that [lo, hi) waits for could not be written. */
  isLost(lo: number, hi: number): boolean {
    const last = this.#lastChunk(hi);
    for (let chunk = this.#chunkOf(lo); chunk <= last; chunk++) {
      if (this.intent.isLost(chunk)) return true;
    }
    return false;
  }

  needsSync(lo: number, hi: number): boolean {
    if (this.intent.counters.needed === 0) return false;
    const last = this.#lastChunk(hi);
    for (let chunk = this.#chunkOf(lo); chunk <= last; chunk++) {
      if (this.intent.counters.needsSync(chunk)) return true;
    }
    return false;
  }

  /**
   * The end of the turn: every page that has something new, unless a write of it is in flight, as soon as the members
   * have been asked whether the slot is still ours. The lease holds.
   */
  issue(now: number): void {
    if (!this.#hasPages || !this.#pill.mayWrite(now)) return;
    this.#pill.used();
    if (this.#again > 0) this.#issueAgain();
    const { intent } = this;
    for (let page = intent.nextPage(0); page !== -1; page = intent.nextPage(page + 1)) this.#issuePage(page);
  }

  /** Is there anything for `issue` to do? */
  get wantsToWrite(): boolean {
    return this.#hasPages && !this.#pill.isAsking;
  }

  get #hasPages(): boolean {
    return this.#again > 0 || this.intent.nextPage(0) !== -1;
  }

  pageCompletion(index: number, result: number): void {
    const { members } = this.#core;
    members.ended(index % members.width);
    if (result === BITMAP_PAGE_BYTES) {
      this.#legEnded(index, LegState.ok);
      return;
    }
    const attempts = (this.#attempts[index] ?? 0) + 1;
    this.#attempts[index] = attempts;
    if (result > 0 ? attempts < MAX_ATTEMPTS : mayRetry(result, attempts)) {
      this.#legState[index] = LegState.again;
      this.#again++;
    } else {
      this.#legErrno[index] = errnoOf(result);
      this.#legEnded(index, LegState.failed);
    }
  }

  /** A failure of a member is settled: whether the page writes that missed it count. */
  settled(outcome: "faulty" | "last_copy"): void {
    if (outcome === "faulty" && this.#core.members.blocked > 0) return;
    this.intent.settle(outcome === "faulty");
    this.changed = true;
  }

  /** Milliseconds until a period is over; Infinity while there is nothing to clear, or it may not be. */
  untilRound(now: number): number {
    // Completions will bring the next turn.
    if (this.#flushesPending > 0 || this.intent.isWriting) return Number.POSITIVE_INFINITY;
    if (this.#forcedRounds > 0) return 0;
    if (this.#nextRound === Number.POSITIVE_INFINITY || !this.#mayClear) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#nextRound - now);
  }

  /** Begins a round if one is due. The lease holds. */
  tick(now: number): void {
    if (this.#forcedRounds > 0 && (!this.#mayClear || !this.intent.hasLazyWork)) this.#forcedRounds = 0;
    if (this.#forcedRounds === 0) {
      if (!this.intent.hasLazyWork) this.#nextRound = Number.POSITIVE_INFINITY;
      else if (this.#nextRound === Number.POSITIVE_INFINITY) this.#nextRound = now + this.#core.config.bitmap.flushMs;
      if (now < this.#nextRound) return;
    }
    if (!this.#mayClear || this.#flushesPending > 0 || this.intent.isWriting) return;
    if (this.#forcedRounds > 0) this.#forcedRounds--;
    this.#nextRound = now + this.#core.config.bitmap.flushMs;
    this.#ageAfterFlush = true;
    this.#flushMembers();
  }

  /** Clears at once what may be cleared. */
  forceRounds(): void {
    this.#forcedRounds = ROUNDS_TO_CLEAR;
  }

  /** Nothing forced is left to do, and no page is being written. */
  get isSettled(): boolean {
    return this.#forcedRounds === 0 && this.#flushesPending === 0 && !this.intent.isWriting && this.#again === 0;
  }

  /** Before the members are closed; `isSettled` says when it is over. */
  flushForGood(): void {
    this.#forcedRounds = 0;
    this.#ageAfterFlush = false;
    this.#flushMembers();
  }

  flushCompletion(disk: number, result: number): void {
    const { members } = this.#core;
    members.ended(disk);
    const attempts = (this.#flushAttempts[disk] ?? 0) + 1;
    this.#flushAttempts[disk] = attempts;
    if (mayRetry(result, attempts) && members.takesWrites(disk)) {
      members.flush(disk, tagOf(TagKind.memberFlush, disk));
      return;
    }
    if (result < 0) {
      this.#flushFailed = true;
      this.#failures.fail(disk, "flush", errnoOf(result), 0);
    }
    if (--this.#flushesPending > 0) return;
    // Everything idle since before these flushes is on all members now, if they are still the same ones.
    if (this.#ageAfterFlush && !this.#flushFailed && this.#mayClear && members.generation === this.#flushGeneration)
      this.intent.age();
  }

  /** No page is being written, nor to be written again: the bitmap may take another form. */
  get isStill(): boolean {
    return this.#again === 0 && this.#flushesPending === 0 && !this.intent.isAtWork;
  }

  /**
   * Bits for `syncSize` sectors, `chunkSectors` each; no write holds a chunk. Chunks keep their bits, those of `need`
   * (LSB first) need a resync besides. Every page is to be written then.
   */
  reshape(syncSize: Sector, chunkSectors: number, need: Uint8Array): void {
    const { intent } = this;
    const from = { syncSize: this.#syncSize, chunkSectors: this.chunkSectors, chunks: intent.counters.chunks };
    const to = { syncSize, chunkSectors, chunks: Math.ceil(syncSize / chunkSectors) };
    const bits = convertBits(intent.neededBits(), from, to);
    mergeBits(bits, need);
    const superblock = intent.superblock();
    reshapeBitmapSuper(superblock, { syncSize, chunkBytes: chunkSectors * SECTOR_SIZE });
    this.intent = new WriteIntent({
      chunks: to.chunks,
      superblock,
      bits,
      idle: convertBits(intent.bits(), from, to),
      events: intent.events,
      staging: intent.staging,
    });
    this.#syncSize = syncSize;
    this.chunkSectors = chunkSectors;
    this.changed = true;
  }

  /** While a member is missing or failing its chunks are remembered; also while only memory knows what one has not taken. */
  get #mayClear(): boolean {
    const { members, config } = this.#core;
    if (members.badBlocks.isPending) return false;
    return !config.readOnly && !members.isDegraded && members.blocked === 0;
  }

  #flushMembers(): void {
    const { members } = this.#core;
    this.#flushFailed = false;
    this.#flushGeneration = members.generation;
    for (let disk = 0; disk < members.places; disk++) {
      if (!members.takesWrites(disk)) continue;
      this.#flushesPending++;
      this.#flushAttempts[disk] = 0;
      members.flush(disk, tagOf(TagKind.memberFlush, disk));
    }
  }

  #issuePage(page: number): void {
    const { members, shared } = this.#core;
    this.intent.beginPage(page);
    if (!this.stored) {
      this.intent.endPage(page, "durable");
      this.changed = true;
      return;
    }
    shared.add(counterIndex.bitmapWrites, 1);
    this.#legState.fill(LegState.skipped, page * members.width, (page + 1) * members.width);
    for (let disk = 0; disk < members.places; disk++) {
      const leg = page * members.width + disk;
      if (!members.takesWrites(disk)) continue;
      this.#attempts[leg] = 0;
      this.#legsPending[page] = (this.#legsPending[page] ?? 0) + 1;
      this.#issueLeg(leg);
    }
    if (this.#legsPending[page] === 0) this.#pageDone(page);
  }

  #issueLeg(leg: number): void {
    const { members } = this.#core;
    const page = Math.floor(leg / members.width);
    const buffer = this.#stagingAt + page * BITMAP_PAGE_BYTES;
    this.#legState[leg] = LegState.inFlight;
    const tag = tagOf(TagKind.bitmapPage, leg);
    members.writeBitmap(leg % members.width, page * PAGE_SECTORS, PAGE_SECTORS, buffer, WRITE_DURABLE, tag);
  }

  #issueAgain(): void {
    const { members } = this.#core;
    for (let leg = 0; leg < this.#legState.length && this.#again > 0; leg++) {
      if (this.#legState[leg] !== LegState.again) continue;
      this.#again--;
      // Its member may have failed meanwhile, and even be gone.
      if (members.takesWrites(leg % members.width)) this.#issueLeg(leg);
      else this.#legEnded(leg, LegState.skipped);
    }
  }

  #legEnded(leg: number, state: number): void {
    const page = Math.floor(leg / this.#core.members.width);
    this.#legState[leg] = state;
    this.#legsPending[page] = (this.#legsPending[page] ?? 0) - 1;
    if (this.#legsPending[page] === 0) this.#pageDone(page);
  }

  #pageDone(page: number): void {
    this.intent.endPage(page, this.#outcome(page));
    this.changed = true;
  }

  #outcome(page: number): PageOutcome {
    const { members } = this.#core;
    const first = page * members.width;
    let lastCopyFailed = false;
    for (let disk = 0; disk < members.places; disk++) {
      if (this.#legState[first + disk] !== LegState.failed) continue;
      const at = page * PAGE_SECTORS;
      if (!this.#failures.fail(disk, "bitmap", this.#legErrno[first + disk] ?? 0, at)) lastCopyFailed = true;
    }
    let written = 0;
    let outcome: PageOutcome = "durable";
    for (let disk = 0; disk < members.places; disk++) {
      if (this.#legState[first + disk] === LegState.ok) {
        if (members.state[disk] === MemberState.inSync) written++;
        continue;
      }
      if (members.takesWrites(disk)) outcome = "stale";
      else if (members.state[disk] === MemberState.blocked && outcome === "durable") outcome = "partial";
    }
    return lastCopyFailed || written === 0 ? "failed" : outcome;
  }

  #chunkOf(at: number): number {
    return Math.floor(at / this.chunkSectors);
  }

  /** Of the range that ends before `hi`. */
  #lastChunk(hi: number): number {
    return Math.floor((hi - 1) / this.chunkSectors);
  }
}
