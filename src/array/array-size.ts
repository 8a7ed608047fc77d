import { type Sector, sector } from "../base/units.ts";
import { decodeRaid10Layout } from "../superblock/raid10-layout.ts";
import type { ArrayShape } from "./personality.ts";

/**
 * Sectors of an array whose members use `memberSize` each; that is also what its bitmap covers. RAID10 uses whole chunks.
 * Source: on-disk format, 6.3 and 16.1.
 */
export function arraySize(shape: Omit<ArrayShape, "size">): Sector {
  const { level, layout, chunkSectors, raidDisks, memberSize } = shape;
  if (level !== 10) return sector(memberSize);
  const { near, far } = decodeRaid10Layout(layout);
  const rows = Math.floor(Math.floor(memberSize / chunkSectors) / far);
  return sector(Math.floor((rows * raidDisks) / near) * chunkSectors);
}
