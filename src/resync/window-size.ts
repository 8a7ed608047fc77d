import { sectorsIn } from "../base/units.ts";

const KIB = 1024;
const MIB = 1024 * 1024;

/** Sectors. A peer running the kernel's numbers announces 32 MiB; more than that we never ask of the others either. */
export const smallestWindow = sectorsIn(64 * KIB);
export const firstWindow = sectorsIn(256 * KIB);
export const largestWindow = sectorsIn(32 * MIB);

/**
 * Milliseconds that a window should stand. A write that comes at its beginning waits so long, one that lies across its
 * end waits for the next window too: both stay below 50 ms.
 */
const TARGET_MS = 20;
/** Where announcing takes long anyway, as long as that goes into copying: half of the time at least is work. */
const LEAST_COPY_MS = 5;
/** Of all that a pass has to copy: what a takeover repeats, if we die in the middle of a window. */
const LARGEST_SHARE = 1 / 400;

/** What the last window cost, in milliseconds. `sectors`: what was copied of it. */
export interface WindowCost {
  readonly sectors: number;
  readonly announceMs: number;
  readonly copyMs: number;
}

/** No window of a pass over `total` sectors is larger than that. */
export const windowLimit = (total: number): number =>
  Math.round(Math.min(Math.max(total * LARGEST_SHARE, smallestWindow), largestWindow));

/**
 * The size of the next window. Grows by a factor of two at most: that disks were idle for a moment promises nothing. What
 * was too large becomes as small as it must be at once: others wait.
 */
export function nextWindowSize(size: number, { sectors, announceMs, copyMs }: WindowCost, limit: number): number {
  // Nothing measured: a range that needed no copy says nothing about the disks.
  if (sectors === 0 || copyMs <= 0) return size;
  const copyFor = Math.max(TARGET_MS - announceMs, LEAST_COPY_MS, announceMs);
  const wished = (sectors * copyFor) / copyMs;
  return Math.round(Math.min(Math.max(Math.min(wished, size * 2), smallestWindow), limit));
}
