import type { Personality } from "../array/personality.ts";
import { sector } from "../base/units.ts";
import { RequestOp } from "../blockdev/front-end.ts";
import type { EngineCore } from "./engine-core.ts";

/** Ranges of the map that a request has at work at once, where there is more than one. */
const RANGES_AT_ONCE = 16;

/** How many ranges of the map a request has at work at once. */
export function rangesAtOnce(personality: Personality): number {
  const { size } = personality;
  return personality.contiguous(sector(0), size) < size ? RANGES_AT_ONCE : 1;
}

/**
 * Cuts requests into ranges of the map, and where a member's bad blocks begin and end, and lays out their legs, range by
 * range: for reads one for each copy.
 */
export class LegLayout {
  readonly #core: EngineCore;
  readonly #ranges: number;
  readonly #disk: Int32Array;
  readonly #sector: Float64Array;

  constructor(core: EngineCore) {
    const { width } = core.members;
    this.#core = core;
    this.#ranges = rangesAtOnce(core.personality);
    this.#disk = new Int32Array(width);
    this.#sector = new Float64Array(width);
  }

  /** Each copy is read from the place of its raid_disk that has it. */
  layReads(request: number): void {
    this.#lay(request, this.#core.personality.copies);
  }

  /** Where raid_disks have second members a leg for each copy's second place follows those of the first ones. */
  layWrites(request: number): void {
    const { members, personality } = this.#core;
    this.#lay(request, members.hasSeconds ? 2 * personality.copies : personality.copies);
  }

  /** The next part of the request: as many ranges as are at work at once, from what is done on. All legs are `skipped`. */
  #lay(request: number, rangeLegs: number): void {
    const { table, members, personality } = this.#core;
    const { copies } = personality;
    const isRead = table.op[request] === RequestOp.read;
    const start = table.at[request] ?? 0;
    const end = table.end(request);
    const first = request * table.width;
    const done = table.done[request] ?? 0;
    let from = done;
    let legs = 0;
    for (let range = 0; range < this.#ranges && start + from < end; range++) {
      const at = sector(start + from);
      const sectors = members.evenly(at, personality.contiguous(at, sector(end)));
      personality.map(at, this.#disk, this.#sector);
      for (let leg = 0; leg < rangeLegs; leg++) {
        const copy = leg < copies ? leg : leg - copies;
        const disk = this.#disk[copy] ?? 0;
        const place = isRead ? (members.front[disk] ?? disk) : leg < copies ? disk : disk + members.room;
        table.layLeg(first + legs, place, this.#sector[copy] ?? 0, from, sectors);
        legs++;
      }
      from += sectors;
    }
    table.part[request] = from - done;
    table.legs[request] = legs;
    table.rangeLegs[request] = rangeLegs;
  }
}
