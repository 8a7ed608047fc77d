import { SECTOR_SIZE, sector } from "../base/units.ts";
import type { BitmapPath } from "./bitmap-path.ts";
import { CopyJudge } from "./copy-judge.ts";
import { type CopyUnits, UnitState, type UnitWork } from "./copy-units.ts";
import type { EngineCore } from "./engine-core.ts";
import type { RepairRule } from "./engine-protocol.ts";
import type { FailurePath } from "./failure-path.ts";
import { MemberState } from "./member-table.ts";
import type { MismatchList } from "./mismatch-list.ts";
import { type Noted, RepairNotes } from "./repair-notes.ts";
import { LegState } from "./request-table.ts";
import { TagKind, tagOf } from "./tag.ts";
import { errnoOf, sectorsDone, TRANSFER_FAILED } from "./transfer.ts";
import { SMALL_SECTORS, UnitLegs } from "./unit-legs.ts";

interface CompareHooks {
  readonly onPiece: (unit: number, sectors: number) => void;
  readonly onUnitEnd: (unit: number, failed: boolean) => void;
}

/**
 * The transfers of a unit that is compared, piece by piece: all in-sync copies are read side by side into the unit's
 * buffer, and judged there (`CopyJudge`). What is not right is overwritten from the copy that is. Where there is none
 * nothing is written. A copy that cannot be read has no voice, but counts as one of them.
 *
 * Chunks that need a resync are left out: there copies may differ. Bits are set only for members that are missing
 * (`RepairNotes`).
 */
export class ComparePieces implements UnitWork {
  readonly units: CopyUnits;
  readonly #core: EngineCore;
  readonly #bitmap: BitmapPath;
  readonly #failures: FailurePath;
  readonly #hooks: CompareHooks;
  readonly #width: number;
  readonly #legs: UnitLegs;
  readonly #disk: Int32Array;
  readonly #sector: Float64Array;
  readonly #judge: CopyJudge;
  readonly #notes: RepairNotes;
  /** By unit: members had this generation when the piece was begun, and a source failed in it. */
  readonly #generation: Float64Array;
  readonly #shrinks: Uint8Array;
  /** By unit: what is being written of the piece, and the leg that has it. */
  readonly #run: Float64Array;
  readonly #runEnd: Float64Array;
  readonly #source: Int32Array;
  #tellsBad = false;

  constructor(core: EngineCore, bitmap: BitmapPath, failures: FailurePath, units: CopyUnits, hooks: CompareHooks) {
    this.#core = core;
    this.#bitmap = bitmap;
    this.#failures = failures;
    this.units = units;
    this.#hooks = hooks;
    this.#width = core.members.width;
    this.#legs = new UnitLegs(core, units);
    this.#disk = new Int32Array(this.#width);
    this.#sector = new Float64Array(this.#width);
    this.#generation = new Float64Array(units.count);
    this.#shrinks = new Uint8Array(units.count);
    this.#run = new Float64Array(units.count);
    this.#runEnd = new Float64Array(units.count);
    this.#source = new Int32Array(units.count);
    this.#judge = new CopyJudge(core, units, this.#legs);
    this.#notes = new RepairNotes(core, bitmap, units.count);
  }

  /** Another comparison begins. */
  begin(rule: RepairRule | null, tellsBad: boolean): void {
    this.#tellsBad = tellsBad;
    this.#judge.begin(rule);
    this.#notes.begin();
  }

  /** It ends, when what it has written is noted for members that are missing; asked again while that is pending. */
  end(): Noted {
    return this.#notes.end();
  }

  /** It is given up. */
  abandon(): void {
    this.#notes.abandon();
  }

  get found(): MismatchList {
    return this.#judge.found;
  }

  /** Sectors of what a mismatch counts for. */
  get requestSectors(): number {
    return this.#judge.requestSectors;
  }

  /** Are there two copies to compare of what begins at `at`? */
  hasTargets(at: number): boolean {
    return this.#lay(0, at, false) > 1;
  }

  beginUnit(unit: number): void {
    this.#judge.beginUnit(unit);
  }

  /** Nothing of it is in flight any more. */
  endUnit(unit: number): void {
    this.#notes.after(unit);
  }

  /** Reads the next piece from all copies that are in sync. */
  start(unit: number): void {
    const { personality, members } = this.#core;
    const { intent, chunkSectors } = this.#bitmap;
    const at = this.units.at[unit] ?? 0;
    const chunk = Math.floor(at / chunkSectors);
    const last = Math.min(this.units.hi[unit] ?? 0, (chunk + 1) * chunkSectors);
    const end = at + members.evenly(at, personality.contiguous(sector(at), sector(last)));
    const legs = this.#lay(unit, at, true);
    this.units.legs[unit] = legs;
    const most = Math.min(this.units.limit[unit] ?? 0, this.#judge.bytesOfLeg(unit) / SECTOR_SIZE);
    const skipped = legs < 2 || intent.counters.needsSync(chunk);
    this.units.piece[unit] = personality.contiguous(sector(at), sector(skipped ? end : Math.min(end, at + most)));
    this.tellBad(at, this.units.piece[unit] ?? 0);
    if (skipped) {
      if (legs > 1) this.#judge.found.unsettled = true;
      this.#pieceDone(unit);
      return;
    }
    if (this.#generation[unit] !== members.generation) this.units.forgetUnreadable(unit);
    this.#generation[unit] = members.generation;
    this.#shrinks[unit] = 0;
    this.units.state[unit] = UnitState.reading;
    const first = unit * this.#width;
    this.units.legsPending[unit] = legs;
    for (let leg = first; leg < first + legs; leg++) {
      this.units.legDone[leg] = 0;
      this.units.legAttempts[leg] = 0;
      if (this.units.unreadable[leg] === 0) this.#read(unit, leg);
      else this.units.legsPending[unit] = (this.units.legsPending[unit] ?? 0) - 1;
    }
    if (this.units.legsPending[unit] === 0) this.#allRead(unit);
  }

  completion(index: number, result: number): void {
    const { members } = this.#core;
    const unit = this.#legs.unitOf(index);
    const attempts = this.#legs.attempted(index);
    const isRead = this.units.state[unit] === UnitState.reading;
    const sectors = isRead ? (this.units.piece[unit] ?? 0) : (this.#runEnd[unit] ?? 0) - (this.#run[unit] ?? 0);
    const left = sectors - (this.units.legDone[index] ?? 0);
    const done = sectorsDone(result, left, members.blockSize, attempts);
    if (done !== TRANSFER_FAILED) this.units.legDone[index] = (this.units.legDone[index] ?? 0) + done;
    if (isRead) this.#readEnded(unit, index, done, left, result);
    else this.#writeEnded(unit, index, done, left, result);
  }

  /** Writes what is right over what is not, on members that still are copies. The lease holds. */
  write(unit: number): void {
    const at = this.units.at[unit] ?? 0;
    const noted = this.#notes.before(unit, at + (this.#run[unit] ?? 0), at + (this.#runEnd[unit] ?? 0));
    this.units.state[unit] = noted === "pending" ? UnitState.recording : UnitState.writing;
    if (noted === "lost") this.#hooks.onUnitEnd(unit, true);
    if (noted !== "durable") return;
    let legs = 0;
    for (let leg = unit * this.#width; leg < this.#legs.end(unit); leg++) {
      if (this.units.legState[leg] !== LegState.failed) continue;
      this.units.legDone[leg] = 0;
      this.units.legAttempts[leg] = 0;
      if (this.#writeLeg(unit, leg)) legs++;
    }
    this.units.legsPending[unit] = legs;
    if (legs === 0) this.#runDone(unit);
  }

  writeAgain(unit: number): void {
    let dropped = 0;
    for (let leg = unit * this.#width; leg < this.#legs.end(unit); leg++) {
      if (this.units.legState[leg] === LegState.again && !this.#writeLeg(unit, leg)) dropped++;
    }
    if (dropped > 0) this.#legsEnded(unit, dropped);
  }

  dropAgain(unit: number): boolean {
    return this.#legs.dropAgain(unit);
  }

  /** What copies of [at, at + sectors) are known not to have is nothing to compare; a repair wants to know of it. */
  tellBad(at: number, sectors: number): void {
    const { personality, members, notify } = this.#core;
    if (!this.#tellsBad || !members.badBlocks.any) return;
    personality.map(sector(at), this.#disk, this.#sector);
    for (let copy = 0; copy < personality.copies; copy++) {
      const disk = this.#disk[copy] ?? 0;
      const place = members.front[disk] ?? disk;
      const from = this.#sector[copy] ?? 0;
      const isBad = members.badBlocks.isBad(place, from, from + sectors);
      if (!isBad || members.badBlocks.isShunned(place, from, from + sectors)) continue;
      notify({ type: "badBlocksSeen", place, at: sector(at), sectors });
    }
  }

  /**
   * How many in-sync copies there are of what begins at `at`, but for those that are known not to have it; `keep`: they
   * become the unit's legs.
   */
  #lay(unit: number, at: number, keep: boolean): number {
    const { personality, members } = this.#core;
    personality.map(sector(at), this.#disk, this.#sector);
    let legs = 0;
    for (let copy = 0; copy < personality.copies; copy++) {
      const disk = this.#disk[copy] ?? 0;
      const place = members.front[disk] ?? disk;
      if (members.state[place] !== MemberState.inSync) continue;
      const from = this.#sector[copy] ?? 0;
      if (members.badBlocks.isBad(place, from, from + 1)) continue;
      const leg = unit * this.#width + legs++;
      if (!keep) continue;
      this.units.legDisk[leg] = place;
      this.units.legAt[leg] = this.#sector[copy] ?? 0;
      this.units.legState[leg] = LegState.skipped;
    }
    return legs;
  }

  #read(unit: number, leg: number): void {
    const done = this.units.legDone[leg] ?? 0;
    const at = (this.units.legAt[leg] ?? 0) + done;
    const left = (this.units.piece[unit] ?? 0) - done;
    this.units.legState[leg] = LegState.inFlight;
    const buffer = this.#judge.bufferOf(unit, leg, done);
    this.#core.members.read(this.units.legDisk[leg] ?? 0, at, left, buffer, tagOf(TagKind.copy, leg));
  }

  #readEnded(unit: number, leg: number, done: number, left: number, result: number): void {
    if (done !== TRANSFER_FAILED && done !== left) {
      this.#read(unit, leg);
      return;
    }
    this.units.legState[leg] = done === left ? LegState.ok : LegState.skipped;
    if (done === TRANSFER_FAILED) {
      if ((this.units.piece[unit] ?? 0) > SMALL_SECTORS) this.#shrinks[unit] = 1;
      else this.#legs.tellUnreadable(unit, leg, result);
    }
    if (this.#legs.ended(unit, 1)) this.#allRead(unit);
  }

  #allRead(unit: number): void {
    if (this.#shrinks[unit] !== 0) {
      this.units.limit[unit] = SMALL_SECTORS;
      this.units.state[unit] = UnitState.locked;
      return;
    }
    this.#runEnd[unit] = 0;
    this.#goOn(unit);
  }

  /** Goes on behind the last run: tells of what differs, and stops at what is to be written. */
  #goOn(unit: number): void {
    const piece = this.units.piece[unit] ?? 0;
    let at = this.#runEnd[unit] ?? 0;
    if (at === 0 && this.#judge.isEqual(unit, 0, piece)) at = piece;
    while (at < piece) {
      const sectors = Math.min(this.#judge.blockSectors, piece - at);
      if (!this.#judge.decide(unit, at, sectors)) {
        at += sectors;
        continue;
      }
      const found = this.#judge.describe(unit, at, at + sectors);
      if (this.#judge.rule !== null && this.#judge.right !== -1) {
        this.#beginRun(unit, at, at + sectors);
        return;
      }
      this.#judge.found.add(found);
      at += sectors;
    }
    this.#pieceDone(unit);
  }

  #beginRun(unit: number, lo: number, hi: number): void {
    const first = unit * this.#width;
    this.#run[unit] = lo;
    this.#runEnd[unit] = hi;
    this.#source[unit] = this.#judge.right;
    for (let i = 0; i < (this.units.legs[unit] ?? 0); i++) {
      this.units.legState[first + i] = this.#judge.odd[i] !== 0 ? LegState.failed : LegState.skipped;
    }
    while (this.#extendsRun(unit));
    this.units.state[unit] = UnitState.read;
  }

  /** Is the next block to be written from the same copy to the same ones? Then it joins the run. */
  #extendsRun(unit: number): boolean {
    const first = unit * this.#width;
    const at = this.#runEnd[unit] ?? 0;
    const sectors = Math.min(this.#judge.blockSectors, (this.units.piece[unit] ?? 0) - at);
    if (sectors <= 0 || !this.#judge.decide(unit, at, sectors) || this.#judge.right !== this.#source[unit])
      return false;
    for (let i = 0; i < (this.units.legs[unit] ?? 0); i++) {
      if ((this.#judge.odd[i] !== 0) !== (this.units.legState[first + i] === LegState.failed)) return false;
    }
    this.#runEnd[unit] = at + sectors;
    return true;
  }

  /** False: the member is no copy any more, and is left alone. */
  #writeLeg(unit: number, leg: number): boolean {
    const { members } = this.#core;
    const place = this.units.legDisk[leg] ?? 0;
    if (members.state[place] !== MemberState.inSync) {
      this.units.legState[leg] = LegState.skipped;
      return false;
    }
    const from = (this.#run[unit] ?? 0) + (this.units.legDone[leg] ?? 0);
    const at = (this.units.legAt[leg] ?? 0) + from;
    const left = (this.#runEnd[unit] ?? 0) - from;
    this.units.legState[leg] = LegState.inFlight;
    const buffer = this.#judge.bufferOf(unit, this.#source[unit] ?? 0, from);
    members.write(place, at, left, buffer, 0, tagOf(TagKind.copy, leg));
    return true;
  }

  #writeEnded(unit: number, leg: number, done: number, left: number, result: number): void {
    if (done !== left && done !== TRANSFER_FAILED) {
      this.units.legState[leg] = LegState.again;
      return;
    }
    this.units.legState[leg] = done === left ? LegState.ok : LegState.failed;
    if (done === TRANSFER_FAILED) {
      this.units.failed[unit] = 1;
      this.#failures.fail(this.units.legDisk[leg] ?? 0, "copy", errnoOf(result), this.units.at[unit] ?? 0);
    }
    this.#legsEnded(unit, 1);
  }

  #legsEnded(unit: number, legs: number): void {
    if (this.#legs.ended(unit, legs)) this.#runDone(unit);
  }

  /** Goes on behind it; after a failed write the unit ends, so that no other run of it goes to that member. */
  #runDone(unit: number): void {
    this.#notes.after(unit);
    if (this.units.failed[unit] !== 0) {
      this.#hooks.onUnitEnd(unit, true);
      return;
    }
    this.#tellRepaired(unit);
    this.#goOn(unit);
  }

  /** Members that were left alone have no part in it. */
  #tellRepaired(unit: number): void {
    const at = this.units.at[unit] ?? 0;
    const places: number[] = [];
    for (let leg = unit * this.#width; leg < this.#legs.end(unit); leg++) {
      if (this.units.legState[leg] === LegState.ok) places.push(this.units.legDisk[leg] ?? 0);
    }
    if (places.length === 0) return;
    const lo = sector(at + (this.#run[unit] ?? 0));
    this.#judge.found.add({ lo, hi: sector(at + (this.#runEnd[unit] ?? 0)), kind: "repaired", places });
  }

  #pieceDone(unit: number): void {
    this.#hooks.onPiece(unit, this.units.piece[unit] ?? 0);
    if (this.#legs.nextPiece(unit)) this.#hooks.onUnitEnd(unit, this.units.failed[unit] === 1);
  }
}
