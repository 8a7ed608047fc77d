import { SECTOR_SIZE, sector } from "../base/units.ts";
import type { CopyUnits } from "./copy-units.ts";
import type { EngineCore } from "./engine-core.ts";
import { CHECK_SECTORS, type Mismatch, type RepairRule } from "./engine-protocol.ts";
import { MismatchList } from "./mismatch-list.ts";
import type { UnitLegs } from "./unit-legs.ts";

const PAGE_BYTES = 4096;

/**
 * Which of the copies of a piece, side by side in its unit's buffer, is right: block by block (the members' largest logical
 * block) what the named source has, or without one what more than half of all in-sync copies have. Nobody guesses.
 */
export class CopyJudge {
  readonly #core: EngineCore;
  readonly #units: CopyUnits;
  readonly #legs: UnitLegs;
  /** All of the transfer memory, to compare in. */
  readonly #memory: Buffer;
  /** By leg: the last request that was counted for it. */
  readonly #counted: Float64Array;
  /** Of the block that was judged last, by leg: it is to be overwritten. */
  readonly odd: Uint8Array;
  /** The leg that is right, -1 for none. */
  right = -1;
  rule: RepairRule | null = null;
  found = new MismatchList();

  constructor(core: EngineCore, units: CopyUnits, legs: UnitLegs) {
    this.#core = core;
    this.#units = units;
    this.#legs = legs;
    const { arena } = core.ring;
    this.#memory = Buffer.from(arena.buffer, arena.byteOffset, arena.byteLength);
    this.#counted = new Float64Array(units.count * legs.width);
    this.odd = new Uint8Array(legs.width);
  }

  /** Another comparison begins. */
  begin(rule: RepairRule | null): void {
    this.rule = rule;
    this.found = new MismatchList();
  }

  /** Sectors of what a mismatch counts for. */
  get requestSectors(): number {
    const { personality } = this.#core;
    return Math.min(CHECK_SECTORS, personality.contiguous(sector(0), personality.size));
  }

  /** Sectors of what is judged by itself. */
  get blockSectors(): number {
    return this.#core.members.blockSize / SECTOR_SIZE;
  }

  bytesOfLeg(unit: number): number {
    const share = Math.floor(this.#units.bytes / Math.max(1, this.#units.legs[unit] ?? 1));
    const block = share >= PAGE_BYTES ? PAGE_BYTES : this.#core.members.blockSize;
    return Math.floor(share / block) * block;
  }

  bufferOf(unit: number, leg: number, sectors: number): number {
    return this.#units.buffer(unit) + (leg - unit * this.#legs.width) * this.bytesOfLeg(unit) + sectors * SECTOR_SIZE;
  }

  /** Are all copies readable and the same in these sectors of the piece? */
  isEqual(unit: number, at: number, sectors: number): boolean {
    const first = unit * this.#legs.width;
    const end = first + (this.#units.legs[unit] ?? 0);
    for (let leg = first; leg < end; leg++) {
      if (this.#units.unreadable[leg] !== 0) return false;
      if (leg > first && !this.#sameAs(unit, first, leg, at, sectors)) return false;
    }
    return true;
  }

  #sameAs(unit: number, one: number, other: number, at: number, sectors: number): boolean {
    const a = this.bufferOf(unit, one, at);
    const b = this.bufferOf(unit, other, at);
    const bytes = sectors * SECTOR_SIZE;
    return this.#memory.compare(this.#memory, b, b + bytes, a, a + bytes) === 0;
  }

  /** Judges a block: `right`, and whom `odd` says to overwrite. False: nothing is wrong with it. */
  decide(unit: number, at: number, sectors: number): boolean {
    if (this.isEqual(unit, at, sectors)) return false;
    const first = unit * this.#legs.width;
    const legs = this.#units.legs[unit] ?? 0;
    this.#count(unit, at, sectors);
    this.right = -1;
    for (let leg = first; leg < first + legs && this.right === -1; leg++) {
      if (this.#units.unreadable[leg] !== 0) continue;
      if (this.#isRight(unit, leg, at, sectors)) this.right = leg;
    }
    for (let i = 0; i < legs; i++) {
      const leg = first + i;
      const isBad = this.#units.unreadable[leg] !== 0;
      this.odd[i] = this.right === -1 || (!isBad && this.#sameAs(unit, this.right, leg, at, sectors)) ? 0 : 1;
    }
    return true;
  }

  /** It is the named source; or, where that one has no copy or none is named, more than half of all say the same. */
  #isRight(unit: number, leg: number, at: number, sectors: number): boolean {
    const first = unit * this.#legs.width;
    const end = this.#legs.end(unit);
    const named = this.rule?.source ?? null;
    if (named !== null) {
      // One that cannot be read leaves the block undecided: the others are what was called wrong.
      for (let other = first; other < end; other++) if (this.#units.legDisk[other] === named) return other === leg;
    }
    let same = 0;
    for (let other = first; other < end; other++) {
      if (this.#units.unreadable[other] !== 0) continue;
      if (other === leg || this.#sameAs(unit, leg, other, at, sectors)) same++;
    }
    return same * 2 > end - first;
  }

  /** For each copy that is not what the first one is, once a request. */
  #count(unit: number, at: number, sectors: number): void {
    if (this.rule !== null) return;
    const { requestSectors } = this;
    const { size } = this.#core.personality;
    const request = Math.floor(((this.#units.at[unit] ?? 0) + at) / requestSectors);
    const first = unit * this.#legs.width;
    const end = first + (this.#units.legs[unit] ?? 0);
    let base = first;
    while (base < end && this.#units.unreadable[base] !== 0) base++;
    for (let leg = first; leg < end; leg++) {
      if (leg === base || this.#counted[leg] === request) continue;
      const isBad = this.#units.unreadable[leg] !== 0;
      if (!isBad && this.#sameAs(unit, base, leg, at, sectors)) continue;
      this.#counted[leg] = request;
      this.found.counted += Math.min(requestSectors, size - request * requestSectors);
    }
  }

  describe(unit: number, lo: number, hi: number): Mismatch {
    const first = unit * this.#legs.width;
    const places: number[] = [];
    let unreadable = 0;
    for (let i = 0; i < (this.#units.legs[unit] ?? 0); i++) {
      const isBad = this.#units.unreadable[first + i] !== 0;
      if (isBad) unreadable++;
      if (this.odd[i] !== 0 || (isBad && this.right === -1)) places.push(this.#units.legDisk[first + i] ?? 0);
    }
    const undecided = this.rule === null ? "differs" : "undecided";
    const kind = unreadable > 0 && unreadable === places.length ? "unreadable" : undecided;
    const at = this.#units.at[unit] ?? 0;
    return { lo: sector(at + lo), hi: sector(at + hi), kind, places };
  }

  beginUnit(unit: number): void {
    this.#counted.fill(-1, unit * this.#legs.width, (unit + 1) * this.#legs.width);
  }
}
