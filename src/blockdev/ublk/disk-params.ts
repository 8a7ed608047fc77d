import type { Sector } from "../../base/units.ts";
import { type DeviceParams, deviceParams } from "./structs.ts";
import { ParamAttribute, ParamType } from "./uapi.ts";

/** What the disk's users are to know of it. */
export interface DiskShape {
  readonly size: Sector;
  /** Bytes: 512 or 4096. */
  readonly blockSize: number;
  /** Bytes of the longest read or write. */
  readonly bufferBytes: number;
  readonly readOnly: boolean;
}

const PAGE = 4096;
/** Sectors: 256 MiB. A longer one comes in pieces, between which others have their turn. */
const MAX_ZERO_SECTORS = 524_288;

/**
 * The disk's limits. A write cache: what was written is durable after a flush, or by itself with FUA. A discard leaves
 * zeroes (decision 4). Blocks are said to be of a page physically, as file systems then ask for whole pages.
 */
export function diskParams({ size, blockSize, bufferBytes, readOnly }: DiskShape): DeviceParams {
  const { READ_ONLY, VOLATILE_CACHE, FUA } = ParamAttribute;
  const blockSectors = blockSize / 512;
  return {
    length: deviceParams.size,
    types: ParamType.BASIC | ParamType.DISCARD,
    attributes: VOLATILE_CACHE | FUA | (readOnly ? READ_ONLY : 0),
    logicalShift: Math.log2(blockSize),
    physicalShift: Math.log2(Math.max(PAGE, blockSize)),
    ioOptShift: Math.log2(Math.max(PAGE, blockSize)),
    ioMinShift: Math.log2(Math.max(PAGE, blockSize)),
    maxSectors: bufferBytes / 512,
    chunkSectors: 0,
    // A tail shorter than a block could not be reached.
    sizeSectors: size - (size % blockSectors),
    virtualBoundary: 0,
    discardAlignment: 0,
    discardGranularity: Math.max(PAGE, blockSize),
    maxDiscardSectors: MAX_ZERO_SECTORS,
    maxZeroSectors: MAX_ZERO_SECTORS,
    maxDiscardSegments: 1,
  };
}

/** Bytes. The block layer merges no further, and one buffer a tag has to fit the transfer memory. */
const MAX_BUFFER = 512 * 1024;

/** Bytes of the buffer that each of `tags` requests may have; null: not even a page. */
export function bufferBytesFor(arenaBytes: number, tags: number): number | null {
  let bytes = MAX_BUFFER;
  while (bytes * tags > arenaBytes) bytes /= 2;
  // The kernel takes no less than a page; below 16 KiB the disk would be of no use.
  return bytes < 4 * PAGE ? null : bytes;
}
