import type { Sector, SectorRange } from "../base/units.ts";

/** What a personality is made of. */
export interface ArrayShape {
  readonly level: number;
  /** RAID10's layout word; otherwise 0. */
  readonly layout: number;
  /** Sectors of a stripe's chunk; 0 for RAID1. */
  readonly chunkSectors: number;
  readonly raidDisks: number;
  /** Sectors used on each member. */
  readonly memberSize: Sector;
  /** Sectors of the array. */
  readonly size: Sector;
}

/**
 * What RAID levels are to the engine: pure arithmetic from array sectors to member sectors. It knows nothing of
 * clusters, bitmaps or resync. Allocation free: `map` fills the caller's arrays.
 */
export interface Personality {
  readonly raidDisks: number;
  /** Copies of each sector. */
  readonly copies: number;
  readonly size: Sector;
  /** A range's copies lie far apart on their members: of two that are as good the lower one is read. Default: no. */
  readonly readsLowest?: boolean;
  /** The longest range from `at` that maps to one contiguous range on each of its members. */
  contiguous(at: Sector, hi: Sector): number;
  /** Fills `raidDisk[i]`, `sectorOnMember[i]` (relative to the data offset) for i < copies; `at`..+`contiguous` only. */
  map(at: Sector, raidDisk: Int32Array, sectorOnMember: Float64Array): void;
  /** The array sector of which a member has a copy there; -1: none. */
  arraySectorAt(raidDisk: number, sectorOnMember: number): number;
  /** Does every sector still have a copy if only the raid_disks with `alive[i] !== 0` are left? */
  survives(alive: Uint8Array): boolean;
  /** The same array with another size or number of raid_disks; E_VALUE if data would have to move for that. */
  resized(raidDisks: number, size: Sector): Personality;
  /** Has some sector no copy on those alive but the one on `raidDisk`? */
  isLastCopy(raidDisk: number, alive: Uint8Array): boolean;
  /** How often who fills a member in its own order goes through the array: its far copies lie behind all others. Default: once. */
  readonly fillPasses?: number;
  /** What of each member that pass fills. Default: all. */
  fillSection?(pass: number): SectorRange;
  /** A member is filled below `memberAt`: there is the rest to be filled. Default: from `arrayFilledTo` on. */
  fillFrom?(memberAt: Sector): { readonly pass: number; readonly at: Sector };
  /** All array sectors below `at` are on a member, as far as this pass and those before fill it: then it is filled below this sector. */
  memberFilledTo(at: Sector, pass: number): Sector;
  /** A member is filled below `memberAt`: then it has its copies of all array sectors below this one. */
  arrayFilledTo(memberAt: Sector): Sector;
}
