import { sectorsIn } from "../base/units.ts";

const KIB = 1024;
const MIB = 1024 * 1024;

/** Sectors. A peer running the kernel's numbers announces 32 MiB; more than that we never ask of the others either. */
export const smallestWindow = sectorsIn(64 * KIB);
export const firstWindow = sectorsIn(256 * KIB);
export const largestWindow = sectorsIn(32 * MIB);

/**
 * Milliseconds that a window should stand. A write that comes at its beginning waits so long, one that lies across its
 * end waits for the next window too, and what members do at the same time comes on top: all that stays below 50 ms.
 */
export const sharedWindowMs = 16;
/** Where nobody waits, it is what a stop, or who joins, waits for. Longer than a busy machine takes to hand over a part. */
export const ownWindowMs = 100;
/** Where announcing takes long anyway, as long as that goes into copying: half of the time at least is work. */
const LEAST_COPY_MS = 5;
/** Of all that a pass has to copy: bits are cleared that often, and no more than that many times as much has still its bits. */
const GRAIN_SHARE = 1 / 400;
const MOST_SHARE = 1 / 100;
/** Parts of a window, where more than one may be at work. */
const PARTS = 4;

/** What the last window cost, in milliseconds. `sectors`: what was copied of it. */
export interface WindowCost {
  readonly sectors: number;
  readonly announceMs: number;
  readonly copyMs: number;
}

/** Windows and parts end between blocks of 4 KiB, which some devices transfer only as a whole. */
const BLOCK_SECTORS = 8;

const inBlocks = (sectors: number): number => Math.floor(sectors / BLOCK_SECTORS) * BLOCK_SECTORS;

/**
 * Who takes over copies again what was copied and has its bit still, or whose place no superblock has. So much a pass over
 * `total` sectors copies, at least, before it clears bits again (a chunk, `chunkSectors`, has one for all of it): no part
 * is larger.
 */
export const passGrain = (total: number, chunkSectors: number): number =>
  inBlocks(Math.min(Math.max(total * GRAIN_SHARE, chunkSectors, smallestWindow), largestWindow));

/** And so much it has copied, or begun to, before they must have been: no window is larger. */
export const mostUncleared = (total: number, chunkSectors: number): number =>
  inBlocks(Math.max(total * MOST_SHARE, 2 * Math.max(chunkSectors, smallestWindow)));

/** Of a window of this size, when `ahead` of them may be asked for at a time: one alone need not be small. */
export const partSize = (windowSize: number, ahead: number): number =>
  ahead === 1 ? windowSize : Math.max(inBlocks(windowSize / PARTS), smallestWindow);

/**
 * The size of the next window, no larger than `widest`, that stands for `targetMs`. Grows by a factor of two at most: that disks were idle for a moment promises nothing. What
 * was too large becomes as small as it must be at once: others wait.
 */
export function nextWindowSize(
  size: number,
  { sectors, announceMs, copyMs }: WindowCost,
  { widest, targetMs }: { readonly widest: number; readonly targetMs: number },
): number {
  // Nothing measured: a range that needed no copy says nothing about the disks.
  if (sectors === 0 || copyMs <= 0) return size;
  const copyFor = Math.max(targetMs - announceMs, LEAST_COPY_MS, announceMs);
  const wished = (sectors * copyFor) / copyMs;
  return inBlocks(Math.min(Math.max(Math.min(wished, size * 2), smallestWindow), widest));
}
