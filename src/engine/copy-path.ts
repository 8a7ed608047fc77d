import { SECTOR_SIZE, type SectorRange, sector } from "../base/units.ts";
import type { BitmapPath } from "./bitmap-path.ts";
import { ChunkProgress } from "./chunk-progress.ts";
import { ComparePieces } from "./compare-pieces.ts";
import { type CopyJob, type CopyResult, nothingCopied, type Work } from "./copy-job.ts";
import { CopyPieces } from "./copy-pieces.ts";
import { nextNeeded, nextRebuilding } from "./copy-scan.ts";
import { CopySpeed } from "./copy-speed.ts";
import { type CopyUnits, UnitState, type UnitWork } from "./copy-units.ts";
import type { EngineCore } from "./engine-core.ts";
import type { CopyKind } from "./engine-protocol.ts";
import type { FailurePath } from "./failure-path.ts";
import { NO_ANSWER } from "./member-ops.ts";
import { MemberState } from "./member-table.ts";
import type { RangeLock } from "./range-lock.ts";
import { LegState } from "./request-table.ts";
import { TagKind, tagOf } from "./tag.ts";
import { errnoOf, mayRetry } from "./transfer.ts";

/** Units at work, and sectors of one, or of all where they are many small ones, while requests of front ends are in flight. */
const BUSY_UNITS = 2;
const BUSY_SECTORS = 256;

const sectionOf = (work: Work | undefined): SectorRange | null =>
  work === undefined || work.kind === "compare" ? null : work.section;

/**
 * Copies ranges from one member to others, below foreground requests: each unit holds its range, so that no local write
 * comes between its read and its writes. Whoever commands it has seen to it that no other node writes there.
 *
 * resync: the source is the first in-sync member, as for reads meanwhile; all others take what it has. recover: members
 * that are being rebuilt are filled. What the source cannot read comes from another in-sync member, sector block by
 * sector block. A copy ends when a member fails: what is then to be done is another question.
 *
 * Copies of one kind that follow each other overlap: units of the next begin while the last ones of this are at work,
 * so that members never wait for an answer to reach the control plane. They end in the order they came.
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
  /** Under way, all of one kind, in the order they came: the last one has units to begin. */
  readonly #jobs: CopyJob[] = [];
  /** By unit. */
  readonly #jobOf: (CopyJob | null)[];
  readonly #firstHolder: number;
  /** Sectors of a unit. */
  #longest: number;
  readonly #flushAttempts: Uint16Array;
  #aborted = false;
  /** Of the first job. */
  #flushesPending = 0;

  /** Holders of `lock` from the request table's capacity on are units. */
  constructor(core: EngineCore, bitmap: BitmapPath, failures: FailurePath, lock: RangeLock, units: CopyUnits) {
    this.#core = core;
    this.#bitmap = bitmap;
    this.#failures = failures;
    this.#flushAttempts = new Uint16Array(core.members.width);
    this.speed = new CopySpeed(core.config.copyLeast ?? 0);
    const onPiece = (unit: number, sectors: number): void => {
      const job = this.#jobOf[unit];
      if (job != null) job.copied += sectors;
      this.speed.add(sectors);
    };
    const onUnitEnd = (unit: number, failed: boolean): void => this.#endUnit(unit, failed);
    const kind = (): CopyKind => (this.#kind === "recover" ? "recover" : "resync");
    const onLost = (lo: number, hi: number): void => {
      if (this.#kind === "resync") this.#progress.fail(lo, hi);
    };
    const section = (): SectorRange | null => sectionOf(this.#jobs[0]?.work);
    this.#copies = new CopyPieces(core, failures, units, { kind, section, onPiece, onLost, onUnitEnd });
    this.#comparison = new ComparePieces(core, bitmap, failures, units, { onPiece, onUnitEnd });
    this.#lock = lock;
    this.units = units;
    this.#jobOf = new Array<CopyJob | null>(units.count).fill(null);
    this.#firstHolder = core.table.capacity;
    this.#progress = this.#newProgress();
    this.#longest = this.#longestUnit();
  }

  /** The bitmap has another form, or the array another size; no copy is under way. */
  reshaped(): void {
    this.#progress = this.#newProgress();
    this.#longest = this.#longestUnit();
  }

  /** In turn; `onDone` is told what became of it. */
  add(work: Work): void {
    this.#queue.push(work);
  }

  /** Is there room for a block of every copy? */
  get canCompare(): boolean {
    const { personality, members } = this.#core;
    return personality.copies * members.blockSize <= this.units.bytes;
  }

  /** The first range from `from` on that a copy has work in. */
  scan(kind: CopyKind, from: number): SectorRange | null {
    return kind === "resync"
      ? nextNeeded(this.#core, this.#bitmap, this.#progress, from)
      : nextRebuilding(this.#core, from);
  }

  get isIdle(): boolean {
    return this.#jobs.length === 0 && this.#queue.length === 0;
  }

  /** Would another `pump` go on at once? */
  get isRunnable(): boolean {
    if (this.#core.quiesced) return false;
    return this.#mayBegin || (this.#jobs.length > 0 && this.units.state.includes(UnitState.locked));
  }

  /** Would `pump` issue writes if it might? */
  get waitsToWrite(): boolean {
    return this.units.state.includes(UnitState.read) || this.units.legState.includes(LegState.again);
  }

  /** Ends all copies as soon as nothing of them is in flight. */
  abort(): void {
    this.#aborted = this.#jobs.length > 0;
    for (const work of this.#queue.splice(0)) this.#tell(work, nothingCopied);
  }

  granted(holder: number): void {
    this.units.state[holder - this.#firstHolder] = UnitState.locked;
  }

  /** Once a turn: goes on with what can go on. */
  pump(mayWrite: boolean, now: number): void {
    const { members, quiesced } = this.#core;
    if (this.#jobs.length === 0) this.#begin();
    if (this.#jobs.length === 0) return;
    if (members.blocked > 0 || members.inSync === 0) this.#aborted = true;
    for (let unit = 0; unit < this.units.count && !quiesced && !this.#aborted; unit++) {
      if (this.units.state[unit] === UnitState.locked) this.#pieces.start(unit);
      const state = this.units.state[unit];
      if (mayWrite && (state === UnitState.read || state === UnitState.recording)) this.#pieces.write(unit);
      if (mayWrite && this.units.state[unit] === UnitState.writing) this.#pieces.writeAgain(unit);
    }
    if (this.#aborted) {
      this.#giveUpWaiting();
      this.#endAborted();
      return;
    }
    for (let job = this.#jobs.at(-1); job !== undefined && !quiesced; job = this.#begin()) {
      this.#issueUnits(job, now);
      if (job.cursor < job.work.hi) break;
    }
    this.#endJobs();
  }

  get #kind(): Work["kind"] | null {
    return this.#jobs[0]?.work.kind ?? null;
  }

  get #pieces(): UnitWork {
    return this.#kind === "compare" ? this.#comparison : this.#copies;
  }

  completion(index: number, result: number): void {
    // The unit's buffer is not its own any more, whoever has failed the member.
    if (result === NO_ANSWER) this.#aborted = true;
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
    for (const job of this.#jobs) job.failed = true;
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

  /** May the next in the queue begin? */
  get #mayBegin(): boolean {
    const [next] = this.#queue;
    const last = this.#jobs.at(-1);
    if (next === undefined || last === undefined) return next !== undefined;
    if (this.#aborted || last.cursor < last.work.hi || next.kind !== last.work.kind) return false;
    if (next.kind === "compare" || sectionOf(next)?.lo !== sectionOf(last.work)?.lo) return false;
    return next.kind === "resync" ? this.#progress.joins(last.work.hi, next.lo) : next.lo >= last.work.hi;
  }

  #begin(): CopyJob | undefined {
    const work = this.#mayBegin ? this.#queue.shift() : undefined;
    if (work === undefined) return undefined;
    const isFirst = this.#jobs.length === 0;
    const job = {
      work,
      aimless: work.kind === "recover" && !this.#core.members.state.includes(MemberState.rebuilding),
      cursor: work.lo,
      units: 0,
      copied: 0,
      failed: false,
      flushed: work.kind === "resync" || (work.kind === "compare" && work.repair === null),
    };
    this.#jobs.push(job);
    if (isFirst) this.#aborted = false;
    if (isFirst && work.kind === "resync") this.#progress.start(work.lo);
    if (work.kind === "compare") this.#comparison.begin(work.repair, work.tellBad);
    return job;
  }

  /** In the order they came, those of which nothing is left to do. */
  #endJobs(): void {
    for (let [job] = this.#jobs; job !== undefined; [job] = this.#jobs) {
      if (job.units > 0 || job.cursor < job.work.hi) return;
      if (!job.flushed && this.#core.quiesced) return;
      if (!job.flushed) this.#flushTargets(job);
      if (this.#flushesPending > 0) return;
      const noted = job.work.kind === "compare" ? this.#comparison.end() : "durable";
      if (noted === "pending") return;
      if (noted === "lost") job.failed = true;
      this.#jobs.shift();
      if (this.#jobs.length === 0 && job.work.kind === "resync") this.#progress.stop(job.work.hi, false);
      this.#tell(job.work, { sectors: job.copied, failed: job.failed, aimless: job.aimless });
    }
  }

  /** All of them, once nothing is in flight. */
  #endAborted(): void {
    if (this.units.active > 0 || this.#flushesPending > 0) return;
    const last = this.#jobs.at(-1);
    if (last?.work.kind === "compare") this.#comparison.abandon();
    if (last?.work.kind === "resync") this.#progress.stop(last.work.hi, true);
    for (const { work, copied, aimless } of this.#jobs.splice(0))
      this.#tell(work, { sectors: copied, failed: true, aimless });
  }

  #tell(work: Work, result: CopyResult): void {
    if (work.kind === "compare") work.onDone(result, this.#comparison.found);
    else work.onDone(result);
  }

  #flushTargets(job: CopyJob): void {
    const { members } = this.#core;
    job.flushed = true;
    const written = job.work.kind === "compare" ? MemberState.inSync : MemberState.rebuilding;
    for (let disk = 0; disk < members.places; disk++) {
      if (members.state[disk] !== written) continue;
      this.#flushesPending++;
      this.#flushAttempts[disk] = 0;
      members.flush(disk, tagOf(TagKind.copyFlush, disk));
    }
  }

  #issueUnits(job: CopyJob, now: number): void {
    const { table, personality, members } = this.#core;
    const { kind, hi: end } = job.work;
    const busy = table.used > 0 && !this.speed.isBelow(now);
    const longest = busy ? Math.min(BUSY_SECTORS, this.#longest) : this.#longest;
    const few = Math.max(BUSY_UNITS, Math.floor(BUSY_SECTORS / longest));
    const most = busy ? Math.min(few, this.units.usual) : this.units.usual;
    while (job.cursor < end && this.units.active < most && this.units.free() !== -1) {
      const lo = kind === "resync" ? this.#progress.next(job.cursor, end) : job.cursor;
      job.cursor = lo;
      if (lo >= end) break;
      // A single copy agrees with itself.
      const alone = !this.#pieces.hasTargets(lo);
      const wanted = alone ? end : Math.min(this.#endOfUnit(kind, lo, longest), end);
      const needed = kind === "resync" ? this.#progress.endOfNeed(lo, wanted) : wanted;
      job.cursor = lo + members.evenly(lo, personality.contiguous(sector(lo), sector(needed)));
      if (!alone) this.#issueUnit(job, lo, job.cursor);
      else if (kind === "compare") this.#comparison.tellBad(lo, job.cursor - lo);
    }
    this.#reached();
  }

  /** Requests of a check are counted as a whole. */
  #endOfUnit(kind: Work["kind"], lo: number, longest: number): number {
    if (kind !== "compare") return lo + longest;
    const { requestSectors } = this.#comparison;
    return Math.max(Math.floor((lo + longest) / requestSectors), Math.floor(lo / requestSectors) + 1) * requestSectors;
  }

  #issueUnit(job: CopyJob, lo: number, hi: number): void {
    const unit = this.units.free();
    this.units.begin(unit, lo, hi);
    this.#comparison.beginUnit(unit);
    this.#jobOf[unit] = job;
    job.units++;
    if (!this.#lock.lock(this.#firstHolder + unit, lo, hi)) return;
    this.units.state[unit] = UnitState.locked;
    this.#pieces.start(unit);
  }

  #endUnit(unit: number, failed: boolean): void {
    const job = this.#jobOf[unit];
    this.#jobOf[unit] = null;
    this.units.state[unit] = UnitState.free;
    this.#lock.unlock(this.#firstHolder + unit);
    this.#comparison.endUnit(unit);
    if (job == null) return;
    job.units--;
    if (failed) job.failed = true;
    this.#reached();
  }

  /** Everything before the first unit at work is done. */
  #reached(): void {
    const last = this.#jobs.at(-1);
    if (last?.work.kind !== "resync" || this.#aborted) return;
    this.#progress.reached(this.units.lowest(last.cursor));
  }

  /** Units that have nothing in flight end here and now. */
  #giveUpWaiting(): void {
    for (let unit = 0; unit < this.units.count; unit++) {
      const state = this.units.state[unit];
      const begun = state === UnitState.locking || state === UnitState.locked;
      const waits = begun || state === UnitState.read || state === UnitState.recording;
      const given = state === UnitState.writing && this.#pieces.dropAgain(unit);
      if (waits || given) this.#endUnit(unit, true);
    }
  }
}
