import type { Sector } from "../base/units.ts";

/**
 * What RAID1 and RAID10 are to the engine: pure arithmetic from array sectors to member sectors. It knows nothing of
 * clusters, bitmaps or resync. Allocation free: `map` fills the caller's arrays.
 */
export interface Personality {
  readonly raidDisks: number;
  /** Copies of each sector. */
  readonly copies: number;
  /** The longest range from `at` that maps to one contiguous range on each of its members. */
  contiguous(at: Sector, hi: Sector): number;
  /** Fills `raidDisk[i]`, `sectorOnMember[i]` (relative to the data offset) for i < copies; `at`..+`contiguous` only. */
  map(at: Sector, raidDisk: Int32Array, sectorOnMember: Float64Array): void;
  /** Does every sector still have a copy if only the raid_disks with `alive[i] !== 0` are left? */
  survives(alive: Uint8Array): boolean;
  readonly size: Sector;
}
