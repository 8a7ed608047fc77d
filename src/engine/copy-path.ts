import { SECTOR_SIZE, type SectorRange, sector, sectorRange } from "../base/units.ts";
import type { BitmapPath } from "./bitmap-path.ts";
import { ChunkProgress } from "./chunk-progress.ts";
import { ComparePieces } from "./compare-pieces.ts";
import { CopyPieces } from "./copy-pieces.ts";
import { CopySpeed } from "./copy-speed.ts";
import { type CopyUnits, UnitState, type UnitWork } from "./copy-units.ts";
import type { EngineCore } from "./engine-core.ts";
import type { CopyKind, RepairRule } from "./engine-protocol.ts";
import type { FailurePath } from "./failure-path.ts";
import { MemberState } from "./member-table.ts";
import type { MismatchList } from "./mismatch-list.ts";
import type { RangeLock } from "./range-lock.ts";
import { LegState } from "./request-table.ts";
import { TagKind, tagOf } from "./tag.ts";
import { errnoOf, mayRetry } from "./transfer.ts";

/** Units at work, and sectors of one, or of all where they are many small ones, while requests of front ends are in flight. */
const BUSY_UNITS = 2;
const BUSY_SECTORS = 256;

/** What has become of a copy; `aimless`: no member was there to be filled. */
export interface CopyResult {
  readonly sectors: number;
  readonly failed: boolean;
  readonly aimless: boolean;
}

/** It never began. */
export const nothingCopied: CopyResult = { sectors: 0, failed: true, aimless: false };

interface Copy {
  readonly kind: CopyKind;
  readonly lo: number;
  readonly hi: number;
  readonly onDone: (result: CopyResult) => void;
}

interface Comparison {
  readonly kind: "compare";
  readonly lo: number;
  readonly hi: number;
  readonly repair: RepairRule | null;
  readonly tellBad: boolean;
  readonly onDone: (result: CopyResult, found: MismatchList) => void;
}

type Work = Copy | Comparison;

/**
 * Copies ranges from one member to others, below foreground requests: each unit holds its range, so that no local write
 * comes between its read and its writes. Whoever commands it has seen to it that no other node writes there.
 *
 * resync: the source is the first in-sync member, as for reads meanwhile; all others take what it has. recover: members
 * that are being rebuilt are filled. What the source cannot read comes from another in-sync member, sector block by
 * sector block. A copy ends when a member fails: what is then to be done is another question.
 *
 * Once a recovery has been answered its target may be called a copy, by a superblock that is durable at once: so the
 * target is flushed before. Of a resync the bits vouch, which are cleared only after a flush.
 */
export class CopyPath {
  readonly units: CopyUnits;
  readonly speed: CopySpeed;
  readonly #core: EngineCore;
  readonly #bitmap: BitmapPath;
  readonly #failures: FailurePath;
  readonly #copies: CopyPieces;
  readonly #comparison: ComparePieces;
  readonly #lock: RangeLock;
  #progress: ChunkProgress;
  readonly #queue: Work[] = [];
  readonly #firstHolder: number;
  /** Sectors of a unit. */
  #longest: number;
  readonly #flushAttempts: Uint16Array;
  #current: Work | null = null;
  #cursor = 0;
  #copied = 0;
  #failed = false;
  #aborted = false;
  #aimless = false;
  /** Targets are flushed, or need not be. */
  #flushed = false;
  #flushesPending = 0;

  /** Holders of `lock` from the request table's capacity on are units. */
  constructor(core: EngineCore, bitmap: BitmapPath, failures: FailurePath, lock: RangeLock, units: CopyUnits) {
    this.#core = core;
    this.#bitmap = bitmap;
    this.#failures = failures;
    this.#flushAttempts = new Uint16Array(core.members.width);
    this.speed = new CopySpeed(core.config.copyLeast ?? 0);
    const add = (sectors: number): void => {
      this.#copied += sectors;
      this.speed.add(sectors);
    };
    const onUnitEnd = (unit: number, failed: boolean): void => this.#endUnit(unit, failed);
    this.#copies = new CopyPieces(core, failures, units, {
      kind: () => (this.#current === null || this.#current.kind === "compare" ? null : this.#current.kind),
      onCopied: add,
      onUnitEnd,
    });
    this.#comparison = new ComparePieces(core, bitmap, failures, units, { onCompared: add, onUnitEnd });
    this.#lock = lock;
    this.units = units;
    this.#firstHolder = core.table.capacity;
    this.#progress = this.#newProgress();
    this.#longest = this.#longestUnit();
  }

  /** The bitmap has another form, or the array another size; no copy is under way. */
  reshaped(): void {
    this.#progress = this.#newProgress();
    this.#longest = this.#longestUnit();
  }

  /** One after the other; `onDone` is told what became of it. */
  copy(copy: Copy): void {
    this.#queue.push(copy);
  }

  /** In turn with the copies; `onDone` is told what became of it. */
  compare(comparison: Comparison): void {
    this.#queue.push(comparison);
  }

  /** Is there room for a block of every copy? */
  get canCompare(): boolean {
    const { personality, members } = this.#core;
    return personality.copies * members.blockSize <= this.units.bytes;
  }

  /** The first range from `from` on that a copy has work in. */
  scan(kind: CopyKind, from: number): SectorRange | null {
    return kind === "resync" ? this.#scanNeeded(from) : this.#scanRebuilding(from);
  }

  get isIdle(): boolean {
    return this.#current === null && this.#queue.length === 0;
  }

  /** Would another `pump` go on at once? */
  get isRunnable(): boolean {
    if (this.#core.quiesced) return false;
    return this.#current === null ? this.#queue.length > 0 : this.units.state.includes(UnitState.locked);
  }

  /** Would `pump` issue writes if it might? */
  get waitsToWrite(): boolean {
    return this.units.state.includes(UnitState.read) || this.units.legState.includes(LegState.again);
  }

  /** Ends all copies as soon as nothing of them is in flight. */
  abort(): void {
    if (this.#current === null && this.#queue.length === 0) return;
    this.#aborted = true;
    for (const work of this.#queue.splice(0)) this.#tell(work, nothingCopied);
  }

  granted(holder: number): void {
    this.units.state[holder - this.#firstHolder] = UnitState.locked;
  }

  /** Once a turn: goes on with what can go on. */
  pump(mayWrite: boolean, now: number): void {
    const { members, quiesced } = this.#core;
    if (this.#current === null) this.#begin();
    if (this.#current === null) return;
    if (members.blocked > 0 || members.inSync === 0) this.#aborted = true;
    for (let unit = 0; unit < this.units.count && !quiesced && !this.#aborted; unit++) {
      if (this.units.state[unit] === UnitState.locked) this.#pieces.start(unit);
      if (mayWrite && this.units.state[unit] === UnitState.read) this.#pieces.write(unit);
      if (mayWrite && this.units.state[unit] === UnitState.writing) this.#pieces.writeAgain(unit);
    }
    if (this.#aborted) this.#giveUpWaiting();
    else if (!quiesced) this.#issueUnits(this.#current, now);
    if (this.units.active > 0 || !(this.#aborted || this.#cursor >= this.#current.hi)) return;
    if (!this.#aborted && !this.#flushed && !quiesced) this.#flushTargets();
    if (this.#flushesPending === 0 && (this.#aborted || this.#flushed)) this.#end(this.#current);
  }

  get #pieces(): UnitWork {
    return this.#current?.kind === "compare" ? this.#comparison : this.#copies;
  }

  completion(index: number, result: number): void {
    this.#pieces.completion(index, result);
  }

  flushCompletion(disk: number, result: number): void {
    const { members } = this.#core;
    members.ended(disk);
    const attempts = (this.#flushAttempts[disk] ?? 0) + 1;
    this.#flushAttempts[disk] = attempts;
    if (mayRetry(result, attempts) && members.takesWrites(disk)) {
      members.flush(disk, tagOf(TagKind.copyFlush, disk));
      return;
    }
    this.#flushesPending--;
    if (result >= 0) return;
    this.#failed = true;
    this.#failures.fail(disk, "flush", errnoOf(result), 0);
  }

  #longestUnit(): number {
    const { personality } = this.#core;
    return Math.min(this.units.bytes / SECTOR_SIZE, personality.contiguous(sector(0), personality.size));
  }

  #newProgress(): ChunkProgress {
    const { intent, chunkSectors } = this.#bitmap;
    return new ChunkProgress(intent.counters, chunkSectors, this.#core.personality.size);
  }

  #begin(): void {
    const next = this.#queue.shift();
    if (next === undefined) return;
    this.#current = next;
    this.#cursor = next.lo;
    this.#copied = 0;
    this.#failed = false;
    this.#aborted = false;
    this.#aimless = next.kind === "recover" && !this.#core.members.state.includes(MemberState.rebuilding);
    this.#flushed = next.kind === "resync" || (next.kind === "compare" && next.repair === null);
    if (next.kind === "resync") this.#progress.start(next.lo);
    if (next.kind === "compare") this.#comparison.begin(next.repair, next.tellBad);
  }

  #end(work: Work): void {
    if (work.kind === "resync") this.#progress.stop(work.hi, this.#aborted);
    this.#current = null;
    this.#tell(work, { sectors: this.#copied, failed: this.#failed || this.#aborted, aimless: this.#aimless });
  }

  #tell(work: Work, result: CopyResult): void {
    if (work.kind === "compare") work.onDone(result, this.#comparison.found);
    else work.onDone(result);
  }

  #flushTargets(): void {
    const { members } = this.#core;
    this.#flushed = true;
    const written = this.#current?.kind === "compare" ? MemberState.inSync : MemberState.rebuilding;
    for (let disk = 0; disk < members.places; disk++) {
      if (members.state[disk] !== written) continue;
      this.#flushesPending++;
      this.#flushAttempts[disk] = 0;
      members.flush(disk, tagOf(TagKind.copyFlush, disk));
    }
  }

  #issueUnits(copy: Work, now: number): void {
    const { table, personality, members } = this.#core;
    const busy = table.used > 0 && !this.speed.isBelow(now);
    const longest = busy ? Math.min(BUSY_SECTORS, this.#longest) : this.#longest;
    const few = Math.max(BUSY_UNITS, Math.floor(BUSY_SECTORS / longest));
    const most = busy ? Math.min(few, this.units.usual) : this.units.usual;
    while (this.#cursor < copy.hi && this.units.active < most && this.units.free() !== -1) {
      const lo = copy.kind === "resync" ? this.#progress.next(this.#cursor, copy.hi) : this.#cursor;
      this.#cursor = lo;
      if (lo >= copy.hi) break;
      const limit = copy.kind === "resync" ? Math.min(this.#progress.endOfChunk(lo), copy.hi) : copy.hi;
      const end = lo + members.evenly(lo, personality.contiguous(sector(lo), sector(limit)));
      // A single copy agrees with itself.
      const alone = !this.#pieces.hasTargets(lo);
      const hi = alone ? end : Math.min(this.#endOfUnit(copy, lo, longest), end);
      this.#cursor = hi;
      if (!alone) this.#issueUnit(lo, hi);
      else if (copy.kind === "compare") this.#comparison.tellBad(lo, hi - lo);
    }
    this.#reached(copy);
  }

  /** Requests of a check are counted as a whole. */
  #endOfUnit(work: Work, lo: number, longest: number): number {
    if (work.kind !== "compare") return lo + longest;
    const { requestSectors } = this.#comparison;
    return Math.max(Math.floor((lo + longest) / requestSectors), Math.floor(lo / requestSectors) + 1) * requestSectors;
  }

  #issueUnit(lo: number, hi: number): void {
    const unit = this.units.free();
    this.units.begin(unit, lo, hi);
    this.#comparison.beginUnit(unit);
    if (!this.#lock.lock(this.#firstHolder + unit, lo, hi)) return;
    this.units.state[unit] = UnitState.locked;
    this.#pieces.start(unit);
  }

  #endUnit(unit: number, failed: boolean): void {
    const copy = this.#current;
    this.units.state[unit] = UnitState.free;
    this.#lock.unlock(this.#firstHolder + unit);
    if (copy === null) return;
    if (failed) this.#failed = true;
    if (failed && copy.kind === "resync") this.#progress.fail(this.units.lo[unit] ?? 0, this.units.hi[unit] ?? 0);
    this.#reached(copy);
  }

  /** Everything before the first unit at work is done. */
  #reached(copy: Work): void {
    if (copy.kind === "resync" && !this.#aborted) this.#progress.reached(this.units.lowest(this.#cursor));
  }

  /** Units that have nothing in flight end here and now. */
  #giveUpWaiting(): void {
    for (let unit = 0; unit < this.units.count; unit++) {
      const state = this.units.state[unit];
      const waits = state === UnitState.locking || state === UnitState.locked || state === UnitState.read;
      const given = state === UnitState.writing && this.#pieces.dropAgain(unit);
      if (waits || given) this.#endUnit(unit, true);
    }
  }

  #scanNeeded(from: number): SectorRange | null {
    const { size } = this.#core.personality;
    const { chunkSectors } = this.#bitmap;
    const { counters } = this.#bitmap.intent;
    let chunk = counters.nextNeeded(Math.floor(from / chunkSectors));
    if (chunk !== -1 && chunk * chunkSectors < from && !this.#progress.continuesAt(from)) {
      chunk = counters.nextNeeded(chunk + 1);
    }
    if (chunk === -1) return null;
    let end = chunk + 1;
    while (end < counters.chunks && counters.needsSync(end)) end++;
    return sectorRange(Math.max(from, chunk * chunkSectors), Math.min(end * chunkSectors, size));
  }

  #scanRebuilding(from: number): SectorRange | null {
    const { members, personality } = this.#core;
    const { size } = personality;
    let lo: number = size;
    for (let disk = 0; disk < members.places; disk++) {
      if (members.state[disk] !== MemberState.rebuilding) continue;
      lo = Math.min(lo, personality.arrayFilledTo(sector(members.recoveredTo[disk] ?? 0)));
    }
    lo = Math.max(lo, from);
    return lo < size ? sectorRange(lo, size) : null;
  }
}
