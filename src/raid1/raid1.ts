import type { Personality } from "../array/personality.ts";
import { assert } from "../base/assert.ts";
import type { Sector } from "../base/units.ts";

/** Every member holds everything, at the same sector. */
export class Raid1 implements Personality {
  readonly raidDisks: number;
  readonly copies: number;
  readonly size: Sector;

  /** `size`: sectors of the array, which are also those used on each member. */
  constructor(raidDisks: number, size: Sector) {
    assert(raidDisks >= 1, "an array has at least one raid_disk");
    this.raidDisks = raidDisks;
    this.copies = raidDisks;
    this.size = size;
  }

  contiguous(at: Sector, hi: Sector): number {
    return hi - at;
  }

  map(at: Sector, raidDisk: Int32Array, sectorOnMember: Float64Array): void {
    for (let copy = 0; copy < this.copies; copy++) {
      raidDisk[copy] = copy;
      sectorOnMember[copy] = at;
    }
  }

  survives(alive: Uint8Array): boolean {
    for (let disk = 0; disk < this.raidDisks; disk++) {
      if (alive[disk] !== 0) return true;
    }
    return false;
  }
}
