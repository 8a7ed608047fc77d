import { MdError } from "../base/md-error.ts";
import { BITMAP_PAGE_BYTES } from "../bitmap/bitmap-layout.ts";
import { TAKEOVER_BLOCK_BYTES } from "../fencing/takeover-blocks.ts";

const ALIGNMENT = 4096;
/** Units of the largest size, what of the whole they may take if they are more, and how many smaller ones may take their place. */
const LEAST_UNITS = 4;
const MOST_UNITS = 8;
const UNITS_SHARE = 8;
const MAX_UNITS = 64;
const MIN_UNIT_BYTES = 64 * 1024;
const MAX_UNIT_BYTES = 1024 * 1024;
const MAX_ZERO_BYTES = 256 * 1024;
const REWRITE_BYTES = 64 * 1024;
/** Less would not hold one request. */
const MIN_FRONT_END_BYTES = 128 * 1024;

interface Piece {
  readonly at: number;
  readonly bytes: number;
}

/** Who has which part of the transfer memory: byte offsets, all page aligned. */
export interface ArenaPlan {
  readonly staging: Piece;
  /** One block a place, to read pills into. */
  readonly pills: Piece;
  readonly zeros: Piece;
  /** For what one member could not read. */
  readonly rewrite: Piece;
  /** Buffers of the copies: `units` of `unitBytes`, and one more in reserve. */
  readonly copies: Piece;
  readonly units: number;
  readonly unitBytes: number;
  readonly frontEnd: Piece;
}

/**
 * `bitmapPages` of 4 KiB are written from it; `rangeBytes`: the longest range of the map, which is what a copy has at work
 * in one unit. E_VALUE when `arenaBytes` is too little.
 */
export function planArena(arenaBytes: number, bitmapPages: number, places: number, rangeBytes: number): ArenaPlan {
  const share = (part: number, least: number, most: number): number =>
    Math.min(most, Math.max(least, Math.floor(arenaBytes / part / ALIGNMENT) * ALIGNMENT));
  const largest = share(32, MIN_UNIT_BYTES, MAX_UNIT_BYTES);
  const unitBytes = Math.min(largest, Math.max(MIN_UNIT_BYTES, Math.floor(rangeBytes / ALIGNMENT) * ALIGNMENT));
  const large = Math.min(MOST_UNITS, Math.max(LEAST_UNITS, Math.floor(arenaBytes / UNITS_SHARE / largest)));
  const units = Math.min(MAX_UNITS, Math.floor((large * largest) / unitBytes));
  const staging = { at: 0, bytes: bitmapPages * BITMAP_PAGE_BYTES };
  const pills = { at: staging.bytes, bytes: places * TAKEOVER_BLOCK_BYTES };
  const zeros = { at: pills.at + pills.bytes, bytes: share(64, MIN_UNIT_BYTES, MAX_ZERO_BYTES) };
  const rewrite = { at: zeros.at + zeros.bytes, bytes: REWRITE_BYTES };
  const copies = { at: rewrite.at + rewrite.bytes, bytes: (units + 1) * unitBytes };
  const at = copies.at + copies.bytes;
  const frontEnd = { at, bytes: arenaBytes - at };
  if (frontEnd.bytes < MIN_FRONT_END_BYTES) {
    const least = at + MIN_FRONT_END_BYTES;
    throw new MdError("E_VALUE", `${arenaBytes} bytes of transfer memory are too few, ${least} are needed`);
  }
  return { staging, pills, zeros, rewrite, copies, units, unitBytes, frontEnd };
}
