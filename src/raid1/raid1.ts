import { CopyGroups } from "../array/copy-groups.ts";
import type { Personality } from "../array/personality.ts";
import { assert } from "../base/assert.ts";
import type { Sector } from "../base/units.ts";

/** Every member holds everything, at the same sector. */
export class Raid1 implements Personality {
  readonly raidDisks: number;
  readonly copies: number;
  readonly size: Sector;
  readonly #groups: CopyGroups;

  /** `size`: sectors of the array, which are also those used on each member. */
  constructor(raidDisks: number, size: Sector) {
    assert(raidDisks >= 1, "an array has at least one raid_disk");
    this.raidDisks = raidDisks;
    this.copies = raidDisks;
    this.size = size;
    this.#groups = new CopyGroups({ level: 1, layout: 0, raidDisks });
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

  arraySectorAt(_raidDisk: number, sectorOnMember: number): number {
    return sectorOnMember < this.size ? sectorOnMember : -1;
  }

  survives(alive: Uint8Array): boolean {
    return this.#groups.survives(alive);
  }

  isLastCopy(raidDisk: number, alive: Uint8Array): boolean {
    return this.#groups.isLastCopy(raidDisk, alive);
  }

  resized(raidDisks: number, size: Sector): Raid1 {
    return new Raid1(raidDisks, size);
  }

  memberFilledTo(at: Sector): Sector {
    return at;
  }

  arrayFilledTo(memberAt: Sector): Sector {
    return memberAt;
  }
}
