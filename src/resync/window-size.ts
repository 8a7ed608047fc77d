import { sectorsIn } from "../base/units.ts";

const MIB = 1024 * 1024;

/** Sectors. A peer running the kernel's numbers announces 32 MiB; more than that we never ask of the others either. */
export const smallestWindow = sectorsIn(MIB);
export const firstWindow = sectorsIn(4 * MIB);
export const largestWindow = sectorsIn(32 * MIB);

/** Milliseconds that writes of other nodes may have to wait for a window, and that ours should take to copy. */
const TARGET_MS = 200;

/**
 * The size of the next window, from how long `copied` sectors took: big enough that announcing costs little, small
 * enough that a write of another node waits about a fifth of a second at most. Changes at most by a factor of two.
 */
export function nextWindowSize(size: number, copied: number, ms: number): number {
  // Nothing measured: a range that needed no copy says nothing about the disks.
  if (copied === 0 || ms <= 0) return size;
  const wished = (copied * TARGET_MS) / ms;
  const limited = Math.min(Math.max(wished, size / 2), size * 2);
  return Math.round(Math.min(Math.max(limited, smallestWindow), largestWindow));
}
