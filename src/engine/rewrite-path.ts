import { SECTOR_SIZE, sector } from "../base/units.ts";
import { WRITE_DURABLE } from "../blockdev/io-ring.ts";
import type { BitmapPath } from "./bitmap-path.ts";
import { counterIndex } from "./counter-index.ts";
import type { EngineCore } from "./engine-core.ts";
import type { FailurePath } from "./failure-path.ts";
import { NO_ANSWER } from "./member-ops.ts";
import { MemberState } from "./member-table.ts";
import type { RangeLock } from "./range-lock.ts";
import { TagKind, tagOf } from "./tag.ts";
import { errnoOf, sectorsDone, TRANSFER_FAILED } from "./transfer.ts";

/** What is lost with one bad sector: the piece that is read from elsewhere and written. */
const SMALL_SECTORS = 8;

/**
 * idle; waits for its range; has it. Of a piece: the member is read; it is read block by block; another copy is read; its
 * bits are made durable; it is written; it is read again.
 */
const Step = {
  idle: 0,
  locking: 1,
  locked: 2,
  looking: 3,
  salvaging: 4,
  fetching: 5,
  recording: 6,
  writing: 7,
  checking: 8,
} as const;

/** What has become of a range: sectors that were rewritten and read again; sectors that no other copy could give. */
export interface Rewritten {
  readonly sectors: number;
  readonly lost: number;
  /** The end was not reached: the member is no longer in use, others copy there, or the array stops. */
  readonly givenUp: boolean;
}

/**
 * Rewrites what a member could not read (md's fix_read_error), piece by piece: reads it once more; what fails comes from
 * another copy that is in sync, is written, and read again. A member that does not take it, or cannot read it even then,
 * fails. Pieces are 4 KiB: a disk with such blocks that emulates smaller ones could not write less. But copies may differ
 * without a bit, so of each piece only those logical blocks come from another copy that the member itself cannot give.
 * What no other copy has stays as it is: without the member more would be lost than with it. A member with a bad-block log
 * need not fail: what it does not take, or cannot read afterwards, is recorded; what is recorded is not read before.
 *
 * It is a write like any other: it holds its range against local writes and copies, its bits are durable before, and it
 * goes out under the lease. Whoever commands it has seen to it that no other node writes there: else it could undo what
 * another node wrote between the two. One range at a time, one operation in flight.
 */
export class RewritePath {
  readonly #core: EngineCore;
  readonly #bitmap: BitmapPath;
  readonly #failures: FailurePath;
  readonly #lock: RangeLock;
  readonly #holder: number;
  readonly #buffer: number;
  /** Sectors that the buffer takes. */
  readonly #room: number;
  readonly #disk: Int32Array;
  readonly #sector: Float64Array;
  /** By place: could not give what is fetched. */
  readonly #unreadable: Uint8Array;
  /** By logical block of the piece: the member itself cannot give it. */
  readonly #lacks = new Uint8Array(SMALL_SECTORS);
  #step: number = Step.idle;
  #isDoing = false;
  #isAborted = false;
  #retired = 0;
  #place = 0;
  #lo = 0;
  #hi = 0;
  /** The piece: where it begins, its sectors; of them [from, until) is at work, and done up to `done`. */
  #at = 0;
  #piece = 0;
  #from = 0;
  #done = 0;
  #until = 0;
  #attempts = 0;
  /** Up to here pieces are small. */
  #smallTo = 0;
  #memberAt = 0;
  #source = 0;
  #sourceAt = 0;
  #sectors = 0;
  #lost = 0;
  #onDone: (rewritten: Rewritten) => void = () => {};

  /** `holder` is its own in `lock`; `bytes` of the arena from `buffer` on. */
  constructor(
    core: EngineCore,
    bitmap: BitmapPath,
    failures: FailurePath,
    lock: RangeLock,
    memory: { readonly holder: number; readonly at: number; readonly bytes: number },
  ) {
    const { width } = core.members;
    this.#core = core;
    this.#bitmap = bitmap;
    this.#failures = failures;
    this.#lock = lock;
    this.#holder = memory.holder;
    this.#buffer = memory.at;
    this.#room = memory.bytes / SECTOR_SIZE;
    this.#disk = new Int32Array(width);
    this.#sector = new Float64Array(width);
    this.#unreadable = new Uint8Array(width);
  }

  get isIdle(): boolean {
    return this.#step === Step.idle;
  }

  /** Would `pump` go on at once? */
  isRunnable(mayWrite: boolean): boolean {
    if (this.#isDoing || this.isIdle) return false;
    if (this.#isAborted) return true;
    if (this.#core.quiesced || this.#step === Step.locking) return false;
    if (this.#step === Step.recording) return this.#bitmap.isDurable(this.#at, this.#end) || this.#isLost;
    return this.#step !== Step.writing || mayWrite;
  }

  /** Does it wait for the lease alone? */
  get waitsToWrite(): boolean {
    return this.#step === Step.writing && !this.#isDoing && !this.#core.quiesced;
  }

  /** Is a write in flight that touches [lo, hi)? */
  isWritingIn(lo: number, hi: number): boolean {
    return this.#step === Step.writing && this.#isDoing && this.#at < hi && lo < this.#end;
  }

  /** Only when idle. Array sectors [lo, hi) as the member in `place` has them. */
  begin(place: number, lo: number, hi: number, onDone: (rewritten: Rewritten) => void): void {
    this.#place = place;
    this.#lo = lo;
    this.#hi = hi;
    this.#at = lo;
    this.#smallTo = lo;
    this.#sectors = 0;
    this.#lost = 0;
    this.#isAborted = this.#retired > 0;
    this.#onDone = onDone;
    this.#step = Step.locking;
    if (this.#lock.lock(this.#holder, lo, hi)) this.granted();
  }

  /** A member that hangs may use its buffer until the returned function is called: nothing is rewritten meanwhile. */
  retire(): () => void {
    this.#retired++;
    return () => {
      this.#retired--;
    };
  }

  granted(): void {
    this.#step = Step.locked;
  }

  /** It ends as soon as nothing of it is in flight. */
  abort(): void {
    this.#isAborted = true;
  }

  /** Once a turn: goes on with what can go on. */
  pump(mayWrite: boolean): void {
    if (!this.isRunnable(mayWrite)) return;
    if (this.#isAborted || !this.#isWanted) {
      this.#endIntent(false);
      this.#finish(true);
      return;
    }
    const { members } = this.#core;
    const left = this.#until - this.#done;
    const buffer = this.#buffer + this.#done * SECTOR_SIZE;
    const tag = tagOf(TagKind.rewrite, 0);
    switch (this.#step) {
      case Step.locked:
        this.#nextPiece();
        return;
      case Step.fetching:
        if (members.state[this.#source] !== MemberState.inSync) {
          this.#fetch();
          return;
        }
        members.read(this.#source, this.#sourceAt + this.#done, left, buffer, tag);
        break;
      case Step.recording:
        this.#recorded();
        return;
      case Step.writing:
        members.write(this.#place, this.#memberAt + this.#done, left, buffer, WRITE_DURABLE, tag);
        break;
      default:
        members.read(this.#place, this.#memberAt + this.#done, left, buffer, tag);
    }
    this.#isDoing = true;
  }

  completion(result: number): void {
    const { members } = this.#core;
    members.ended(this.#step === Step.fetching ? this.#source : this.#place);
    this.#isDoing = false;
    this.#attempts++;
    const left = this.#until - this.#done;
    const done = sectorsDone(result, left, members.blockSize, this.#attempts);
    // Its buffer is not its own any more.
    if (result === NO_ANSWER) this.#isAborted = true;
    else if (done === TRANSFER_FAILED) this.#failed(errnoOf(result));
    else if (done < left) this.#done += done;
    else this.#succeeded();
  }

  get #end(): number {
    return this.#at + this.#piece;
  }

  get #isLost(): boolean {
    return this.#bitmap.isLost(this.#at, this.#end);
  }

  /** Is the member still in use, and nobody else at work there? */
  get #isWanted(): boolean {
    const { members, suspended } = this.#core;
    return members.takesWrites(this.#place) && !suspended.blocks(this.#lo, this.#hi);
  }

  /** Of the piece's sectors [from, until). */
  #begin(step: number, from = 0, until = this.#piece): void {
    this.#step = step;
    this.#from = from;
    this.#done = from;
    this.#until = until;
    this.#attempts = 0;
  }

  #nextPiece(): void {
    const { personality, members } = this.#core;
    const raidDisk = members.raidDiskOf(this.#place);
    for (; this.#at < this.#hi; this.#at += this.#piece) {
      const longest = this.#at < this.#smallTo ? SMALL_SECTORS : this.#room;
      const whole = personality.contiguous(sector(this.#at), sector(Math.min(this.#hi, this.#at + longest)));
      this.#piece = members.evenly(this.#at, whole);
      personality.map(sector(this.#at), this.#disk, this.#sector);
      for (let copy = 0; copy < personality.copies; copy++) {
        if (this.#disk[copy] !== raidDisk) continue;
        this.#memberAt = this.#sector[copy] ?? 0;
        this.#lacks.fill(1);
        this.#begin(Step.looking);
        if (!members.badBlocks.isBad(this.#place, this.#memberAt, this.#memberAt + this.#piece)) return;
        // Whatever it reads there is not to be believed.
        this.#piece = Math.min(this.#piece, SMALL_SECTORS);
        this.#fetchLacking();
        return;
      }
    }
    this.#finish(false);
  }

  #succeeded(): void {
    switch (this.#step) {
      case Step.looking:
        this.#leavePiece(true);
        return;
      case Step.salvaging:
        this.#lacks[Math.floor((this.#until - 1) / this.#blockSectors)] = 0;
        this.#salvage(this.#until);
        return;
      case Step.fetching:
        this.#lacks.fill(0, 0, Math.ceil(this.#until / this.#blockSectors));
        this.#fetchLacking();
        return;
      case Step.writing:
        this.#begin(Step.checking);
        return;
      default:
        this.#sectors += this.#piece;
        this.#core.members.badBlocks.heal(this.#place, this.#memberAt, this.#memberAt + this.#piece);
        this.#core.shared.add(counterIndex.correctedSectors, this.#piece);
        this.#leavePiece(true);
    }
  }

  #failed(errno: number): void {
    switch (this.#step) {
      case Step.looking:
        if (this.#piece > SMALL_SECTORS) {
          this.#smallTo = this.#end;
          this.#nextPiece();
        } else this.#salvage(0);
        return;
      case Step.salvaging:
        this.#salvage(this.#until);
        return;
      case Step.fetching:
        this.#core.notify({
          type: "readError",
          place: this.#source,
          errno,
          at: sector(this.#at),
          sectors: this.#piece,
          during: "rewrite",
        });
        this.#unreadable[this.#source] = 1;
        this.#fetch();
        return;
      default: {
        const isRecorded = this.#record();
        if (!isRecorded) this.#failures.fail(this.#place, "rewrite", errno, this.#at);
        this.#lost += this.#piece;
        this.#leavePiece(isRecorded);
      }
    }
  }

  /** The member need not fail: what it cannot hold goes into its bad-block log. */
  #record(): boolean {
    const { badBlocks } = this.#core.members;
    const list = badBlocks.at(this.#place);
    if (list === null || !list.takesWriteErrors) return false;
    if (this.#step === Step.writing) list.writeErrorSeen = true;
    return badBlocks.record(this.#place, this.#memberAt, this.#memberAt + this.#piece);
  }

  get #blockSectors(): number {
    return this.#core.members.blockSize / SECTOR_SIZE;
  }

  /** What the member itself can give of the piece, from `from` on, goes back to it as it is. */
  #salvage(from: number): void {
    const until = from + this.#blockSectors;
    // What is one block is known to be unreadable.
    if (until <= this.#piece && this.#blockSectors < this.#piece) this.#begin(Step.salvaging, from, until);
    else this.#fetchLacking();
  }

  /** The next run of blocks that the member lacks; when there is none the piece is whole, and can be written. */
  #fetchLacking(): void {
    const blocks = Math.ceil(this.#piece / this.#blockSectors);
    const first = this.#lacks.indexOf(1);
    if (first === -1 || first >= blocks) {
      this.#bitmap.startWrite(this.#at, this.#end);
      this.#step = Step.recording;
      return;
    }
    let end = first;
    while (end < blocks && this.#lacks[end] === 1) end++;
    this.#unreadable.fill(0);
    this.#begin(Step.fetching, first * this.#blockSectors, Math.min(end * this.#blockSectors, this.#piece));
    this.#fetch();
  }

  /** From the first other copy that is in sync, and not known to lack it. */
  #fetch(): void {
    const { personality, members } = this.#core;
    for (let i = 0; i < 2 * personality.copies; i++) {
      const copy = i >> 1;
      const disk = this.#disk[copy] ?? 0;
      const place = (i & 1) === 0 ? disk : disk + members.room;
      if (place === this.#place || this.#unreadable[place] !== 0) continue;
      const from = this.#sector[copy] ?? 0;
      if (members.state[place] !== MemberState.inSync) continue;
      if (members.badBlocks.isBad(place, from, from + this.#piece)) continue;
      this.#source = place;
      this.#sourceAt = from;
      this.#begin(Step.fetching, this.#from, this.#until);
      return;
    }
    this.#lost += this.#piece;
    this.#leavePiece(true);
  }

  #recorded(): void {
    if (this.#isLost) {
      this.#lost += this.#piece;
      this.#leavePiece(false);
    } else this.#begin(Step.writing);
  }

  #leavePiece(isWritten: boolean): void {
    this.#endIntent(isWritten);
    this.#at = this.#end;
    this.#nextPiece();
  }

  /** A member that did not take the piece is as unreadable there as before, or has what the others have. */
  #endIntent(isWritten: boolean): void {
    if (this.#step < Step.recording) return;
    this.#bitmap.endWrite(this.#at, this.#end, isWritten && !this.#core.members.isDegraded);
  }

  #finish(givenUp: boolean): void {
    this.#step = Step.idle;
    this.#lock.unlock(this.#holder);
    this.#onDone({ sectors: this.#sectors, lost: this.#lost, givenUp });
  }
}
