import { type Sector, sector } from "../base/units.ts";
import type { SuperblockMinor } from "./superblock.ts";

/** Bytes to read there: the largest superblock with all its roles. */
export const SUPERBLOCK_READ_BYTES = 4096;
const SUPERBLOCK_SECTORS = SUPERBLOCK_READ_BYTES / 512;

/** First sector of the superblock on a device of `deviceSize` sectors. Source: on-disk format, section 1. */
export function superblockSector(minor: SuperblockMinor, deviceSize: Sector): Sector {
  if (minor === 0) return sector(Math.floor((deviceSize - 16) / 8) * 8);
  return sector(minor === 1 ? 0 : 8);
}

/** The places a device of this size has room for, the usual one first. */
export function superblockPlaces(deviceSize: Sector): readonly { minor: SuperblockMinor; at: Sector }[] {
  return ([2, 1, 0] as const)
    .map((minor) => ({ minor, at: superblockSector(minor, deviceSize) }))
    .filter(({ at }) => at >= 0 && at + SUPERBLOCK_SECTORS <= deviceSize);
}
