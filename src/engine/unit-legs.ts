import { sector } from "../base/units.ts";
import { type CopyUnits, UnitState } from "./copy-units.ts";
import { counterIndex } from "./counter-index.ts";
import type { EngineCore } from "./engine-core.ts";
import { NO_ANSWER } from "./member-ops.ts";
import { LegState } from "./request-table.ts";
import { errnoOf } from "./transfer.ts";

/** After a read error: how much is called unreadable with one bad sector. */
export const SMALL_SECTORS = 8;

/** The legs of units' pieces, whatever is done with them. */
export class UnitLegs {
  readonly width: number;
  readonly #core: EngineCore;
  readonly #units: CopyUnits;

  constructor(core: EngineCore, units: CopyUnits) {
    this.#core = core;
    this.#units = units;
    this.width = core.members.width;
  }

  unitOf(leg: number): number {
    return Math.floor(leg / this.width);
  }

  end(unit: number): number {
    return unit * this.width + (this.#units.legs[unit] ?? 0);
  }

  /** Its operation has ended: how many that were. */
  attempted(leg: number): number {
    this.#core.members.ended(this.#units.legDisk[leg] ?? 0);
    const attempts = (this.#units.legAttempts[leg] ?? 0) + 1;
    this.#units.legAttempts[leg] = attempts;
    return attempts;
  }

  /** So many legs have ended; true: none is left. */
  ended(unit: number, legs: number): boolean {
    const pending = (this.#units.legsPending[unit] ?? 0) - legs;
    this.#units.legsPending[unit] = pending;
    return pending === 0;
  }

  /** Gives up writes that are to be issued again. True: nothing of the unit is in flight now. */
  dropAgain(unit: number): boolean {
    const units = this.#units;
    let dropped = 0;
    for (let leg = unit * this.width; leg < this.end(unit); leg++) {
      if (units.legState[leg] !== LegState.again) continue;
      units.legState[leg] = LegState.skipped;
      dropped++;
    }
    if (dropped === 0) return false;
    units.failed[unit] = 1;
    return this.ended(unit, dropped);
  }

  /** The piece cannot be read there. */
  tellUnreadable(unit: number, leg: number, result: number): void {
    const units = this.#units;
    units.unreadable[leg] = 1;
    if (result === NO_ANSWER) return;
    this.#core.shared.add(counterIndex.readErrors, 1);
    const place = units.legDisk[leg] ?? 0;
    const at = sector(units.at[unit] ?? 0);
    const sectors = units.piece[unit] ?? 0;
    this.#core.notify({ type: "readError", place, errno: errnoOf(result), at, sectors, during: "copy" });
  }

  /** The piece is done with; true: it was the unit's last. */
  nextPiece(unit: number): boolean {
    const units = this.#units;
    const at = (units.at[unit] ?? 0) + (units.piece[unit] ?? 0);
    units.at[unit] = at;
    units.forgetUnreadable(unit);
    units.state[unit] = UnitState.locked;
    return at >= (units.hi[unit] ?? 0);
  }
}
