import { SECTOR_SIZE, type SectorRange, sector } from "../base/units.ts";
import { type CopyUnits, UnitState, type UnitWork } from "./copy-units.ts";
import { counterIndex } from "./counter-index.ts";
import type { EngineCore } from "./engine-core.ts";
import type { CopyKind } from "./engine-protocol.ts";
import type { FailurePath } from "./failure-path.ts";
import { MemberState } from "./member-table.ts";
import { LegState } from "./request-table.ts";
import { TagKind, tagOf } from "./tag.ts";
import { errnoOf, sectorsDone, TRANSFER_FAILED } from "./transfer.ts";
import { SMALL_SECTORS, UnitLegs } from "./unit-legs.ts";

export interface CopyHooks {
  /** Of the copies at work. */
  readonly kind: () => CopyKind;
  /** Of members, only there they are filled; null: everywhere. */
  readonly section: () => SectorRange | null;
  readonly onPiece: (unit: number, sectors: number) => void;
  /** These array sectors could not be copied. */
  readonly onLost: (lo: number, hi: number) => void;
  readonly onUnitEnd: (unit: number, failed: boolean) => void;
}

/**
 * The transfers of a unit, piece by piece: read from one copy, write to the others. A piece is the whole unit, until a
 * source cannot read it; then it is as small as may be, so that only what is unreadable comes from another copy.
 */
export class CopyPieces implements UnitWork {
  readonly units: CopyUnits;
  readonly #core: EngineCore;
  readonly #failures: FailurePath;
  readonly #hooks: CopyHooks;
  readonly #width: number;
  readonly #legs: UnitLegs;
  readonly #disk: Int32Array;
  readonly #sector: Float64Array;

  constructor(core: EngineCore, failures: FailurePath, units: CopyUnits, hooks: CopyHooks) {
    this.#core = core;
    this.#failures = failures;
    this.units = units;
    this.#hooks = hooks;
    this.#width = core.members.width;
    this.#legs = new UnitLegs(core, units);
    this.#disk = new Int32Array(this.#width);
    this.#sector = new Float64Array(this.#width);
  }

  /** Reads the unit's next piece from the first copy that has it. */
  start(unit: number): void {
    const { personality, members } = this.#core;
    const at = this.units.at[unit] ?? 0;
    const hi = Math.min(this.units.hi[unit] ?? 0, at + (this.units.limit[unit] ?? 0));
    this.units.piece[unit] = members.evenly(at, personality.contiguous(sector(at), sector(hi)));
    personality.map(sector(at), this.#disk, this.#sector);
    const { copies } = personality;
    this.units.legs[unit] = members.hasSeconds ? 2 * copies : copies;
    for (let leg = unit * this.#width, i = 0; leg < this.#legs.end(unit); leg++, i++) {
      const copy = i < copies ? i : i - copies;
      const disk = this.#disk[copy] ?? 0;
      this.units.legDisk[leg] = i < copies ? disk : disk + members.room;
      this.units.legAt[leg] = this.#sector[copy] ?? 0;
      this.units.legDone[leg] = 0;
      this.units.legAttempts[leg] = 0;
      this.units.legState[leg] = LegState.skipped;
    }
    const source = this.#sourceOf(unit);
    if (source === -1) {
      this.#pieceDone(unit, !this.#recordLost(unit));
      return;
    }
    this.units.state[unit] = UnitState.reading;
    this.#readSource(unit, source);
  }

  /** The leg of the first copy that has the piece, -1 for none: by raid_disk, whichever of its places holds it. */
  #sourceOf(unit: number): number {
    const { personality, members } = this.#core;
    const first = unit * this.#width;
    const end = this.#legs.end(unit);
    for (let copy = 0; copy < personality.copies; copy++) {
      for (let leg = first + copy; leg < end; leg += personality.copies) {
        const isCopy = members.state[this.units.legDisk[leg] ?? 0] === MemberState.inSync;
        if (isCopy && this.units.unreadable[leg] === 0 && !this.#isBad(unit, leg)) return leg;
      }
    }
    return -1;
  }

  #isBad(unit: number, leg: number): boolean {
    const at = this.units.legAt[leg] ?? 0;
    return this.#core.members.badBlocks.isBad(this.units.legDisk[leg] ?? 0, at, at + (this.units.piece[unit] ?? 0));
  }

  /**
   * No copy has the piece: what is being filled lacks it, too. True: that is recorded of all of them, and no copy had it
   * but such as are known not to have it, or, to fill from, such as could not be read this time.
   */
  #recordLost(unit: number): boolean {
    const { members } = this.#core;
    const resync = this.#hooks.kind() === "resync";
    for (let leg = unit * this.#width; leg < this.#legs.end(unit); leg++) {
      const disk = this.units.legDisk[leg] ?? 0;
      if (members.state[disk] === MemberState.inSync && resync && !this.#isBad(unit, leg)) return false;
      if (members.state[disk] === MemberState.rebuilding && !this.#isBad(unit, leg) && !this.#record(unit, leg)) {
        return false;
      }
    }
    return true;
  }

  #record(unit: number, leg: number): boolean {
    const at = this.units.legAt[leg] ?? 0;
    const { badBlocks } = this.#core.members;
    return badBlocks.record(this.units.legDisk[leg] ?? 0, at, at + (this.units.piece[unit] ?? 0));
  }

  /** Is there anything to write of the range that begins at `at`: to one that is filled, or to another copy? */
  hasTargets(at: number): boolean {
    const { personality, members } = this.#core;
    personality.map(sector(at), this.#disk, this.#sector);
    let targets = 0;
    for (let copy = 0; copy < personality.copies; copy++) {
      const disk = this.#disk[copy] ?? 0;
      const from = this.#sector[copy] ?? 0;
      if (this.#isTarget(disk, from)) targets++;
      if (members.hasSeconds && this.#isTarget(disk + members.room, from)) targets++;
    }
    // Of a resync the source itself could be one.
    return this.#hooks.kind() === "recover" ? targets > 0 : targets > 1 && members.inSync > 0;
  }

  completion(index: number, result: number): void {
    const { members } = this.#core;
    const unit = this.#legs.unitOf(index);
    const attempts = this.#legs.attempted(index);
    const left = (this.units.piece[unit] ?? 0) - (this.units.legDone[index] ?? 0);
    const done = sectorsDone(result, left, members.blockSize, attempts);
    if (done !== TRANSFER_FAILED) this.units.legDone[index] = (this.units.legDone[index] ?? 0) + done;
    if (this.units.state[unit] === UnitState.reading) this.#readEnded(unit, index, done, left, result);
    else this.#writeEnded(unit, index, done, left, result);
  }

  /** Writes what was read to the others. The lease holds. */
  write(unit: number): void {
    this.units.state[unit] = UnitState.writing;
    this.units.pieceFailed[unit] = 0;
    let legs = 0;
    for (let leg = unit * this.#width; leg < this.#legs.end(unit); leg++) {
      // The source's own leg is ok.
      if (this.units.legState[leg] === LegState.ok || !this.#isTargetLeg(leg)) continue;
      if (this.#isShunned(unit, leg)) continue;
      this.units.legDone[leg] = 0;
      this.units.legAttempts[leg] = 0;
      legs++;
      this.#writeTarget(unit, leg);
    }
    this.units.legsPending[unit] = legs;
    if (legs === 0) this.#pieceDone(unit, false);
  }

  #isShunned(unit: number, leg: number): boolean {
    const at = this.units.legAt[leg] ?? 0;
    const { badBlocks } = this.#core.members;
    return badBlocks.isShunned(this.units.legDisk[leg] ?? 0, at, at + (this.units.piece[unit] ?? 0));
  }

  /** Writes again what was short, to members that still take it. The lease holds. */
  writeAgain(unit: number): void {
    let dropped = 0;
    for (let leg = unit * this.#width; leg < this.#legs.end(unit); leg++) {
      if (this.units.legState[leg] !== LegState.again) continue;
      if (this.#isTargetLeg(leg)) {
        this.#writeTarget(unit, leg);
      } else {
        this.units.legState[leg] = LegState.skipped;
        dropped++;
      }
    }
    if (dropped > 0) this.#legsEnded(unit, dropped);
  }

  dropAgain(unit: number): boolean {
    return this.#legs.dropAgain(unit);
  }

  #readSource(unit: number, leg: number): void {
    const done = this.units.legDone[leg] ?? 0;
    const at = (this.units.legAt[leg] ?? 0) + done;
    const left = (this.units.piece[unit] ?? 0) - done;
    this.units.legState[leg] = LegState.inFlight;
    const buffer = this.units.buffer(unit) + done * SECTOR_SIZE;
    this.#core.members.read(this.units.legDisk[leg] ?? 0, at, left, buffer, tagOf(TagKind.copy, leg));
  }

  #readEnded(unit: number, leg: number, done: number, left: number, result: number): void {
    if (done === left) {
      this.units.legState[leg] = LegState.ok;
      this.units.state[unit] = UnitState.read;
      return;
    }
    if (done !== TRANSFER_FAILED) {
      this.#readSource(unit, leg);
      return;
    }
    this.units.state[unit] = UnitState.locked;
    if ((this.units.piece[unit] ?? 0) > SMALL_SECTORS) {
      // Only what is unreadable may come from another copy: readers have seen the rest from this one.
      this.units.limit[unit] = SMALL_SECTORS;
      return;
    }
    this.#legs.tellUnreadable(unit, leg, result);
  }

  #writeTarget(unit: number, leg: number): void {
    const done = this.units.legDone[leg] ?? 0;
    const at = (this.units.legAt[leg] ?? 0) + done;
    const left = (this.units.piece[unit] ?? 0) - done;
    this.units.legState[leg] = LegState.inFlight;
    const buffer = this.units.buffer(unit) + done * SECTOR_SIZE;
    this.#core.members.write(this.units.legDisk[leg] ?? 0, at, left, buffer, 0, tagOf(TagKind.copy, leg));
  }

  #writeEnded(unit: number, leg: number, done: number, left: number, result: number): void {
    if (done !== left && done !== TRANSFER_FAILED) {
      this.units.legState[leg] = LegState.again;
      return;
    }
    this.units.legState[leg] = done === left ? LegState.ok : LegState.failed;
    const disk = this.units.legDisk[leg] ?? 0;
    const at = this.units.legAt[leg] ?? 0;
    if (done === left) this.#core.members.badBlocks.heal(disk, at, at + (this.units.piece[unit] ?? 0));
    else if (!this.#isRecorded(unit, leg)) {
      this.units.pieceFailed[unit] = 1;
      this.#failures.fail(disk, "copy", errnoOf(result), this.units.at[unit] ?? 0);
    }
    this.#legsEnded(unit, 1);
  }

  /** The target need not fail: what it does not take is recorded, or is about to be, in smaller pieces. */
  #isRecorded(unit: number, leg: number): boolean {
    const { members } = this.#core;
    const disk = this.units.legDisk[leg] ?? 0;
    const list = members.badBlocks.at(disk);
    if (list === null || !list.takesWriteErrors || !members.takesWrites(disk)) return false;
    if ((this.units.piece[unit] ?? 0) > SMALL_SECTORS) {
      this.units.limit[unit] = SMALL_SECTORS;
      this.units.repeats[unit] = 1;
      return true;
    }
    list.writeErrorSeen = true;
    return this.#record(unit, leg);
  }

  #legsEnded(unit: number, legs: number): void {
    if (!this.#legs.ended(unit, legs)) return;
    const repeats = this.units.repeats[unit] === 1;
    this.units.repeats[unit] = 0;
    if (repeats && this.units.pieceFailed[unit] === 0) this.units.state[unit] = UnitState.locked;
    else this.#pieceDone(unit, this.units.pieceFailed[unit] === 1);
  }

  #pieceDone(unit: number, failed: boolean): void {
    const piece = this.units.piece[unit] ?? 0;
    const at = this.units.at[unit] ?? 0;
    if (failed) {
      this.units.failed[unit] = 1;
      this.#hooks.onLost(at, at + piece);
    } else {
      this.#hooks.onPiece(unit, piece);
      this.#core.shared.add(counterIndex.copiedSectors, piece);
    }
    if (this.#legs.nextPiece(unit)) this.#hooks.onUnitEnd(unit, this.units.failed[unit] === 1);
  }

  #isTargetLeg(leg: number): boolean {
    return this.#isTarget(this.units.legDisk[leg] ?? 0, this.units.legAt[leg] ?? 0);
  }

  #isTarget(disk: number, from: number): boolean {
    const { members } = this.#core;
    if (this.#hooks.kind() !== "recover") return members.takesWrites(disk);
    const section = this.#hooks.section();
    const isHere = section === null || (section.lo <= from && from < section.hi);
    return isHere && members.state[disk] === MemberState.rebuilding;
  }
}
