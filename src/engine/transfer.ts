import { SECTOR_SIZE } from "../base/units.ts";
import { Errno } from "../blockdev/errno.ts";
import { NO_ANSWER } from "./member-ops.ts";

/** Attempts at one operation that the kernel puts off, or carries out piece by piece, before it counts as failed. */
export const MAX_ATTEMPTS = 1000;

/** What a completion means for a transfer of which `left` sectors were asked for: these, or sectors done. */
export const TRANSFER_FAILED = -1;

/**
 * Sectors that are surely done, `TRANSFER_FAILED`, or less than `left` (also 0): the rest is to be submitted again. A
 * transfer is done when it is exactly as long as asked for: what is short is never counted as good.
 */
export function sectorsDone(result: number, left: number, blockSize: number, attempts: number): number {
  if (mayRetry(result, attempts)) return 0;
  if (result < 0 || attempts >= MAX_ATTEMPTS) return TRANSFER_FAILED;
  if (result === left * SECTOR_SIZE) return left;
  const whole = Math.floor(result / blockSize) * (blockSize / SECTOR_SIZE);
  // Nothing at all, without an error: the end of the device, which does not go away.
  return whole > 0 && whole < left ? whole : TRANSFER_FAILED;
}

/** Was it only put off, and not too often? `attempts` with this one. */
export const mayRetry = (result: number, attempts: number): boolean =>
  (result === -Errno.EAGAIN || result === -Errno.EINTR) && attempts < MAX_ATTEMPTS;

/** The errno of a completion that failed: of a short one, EIO. */
export function errnoOf(result: number): number {
  if (result === NO_ANSWER) return Errno.ETIMEDOUT;
  return result < 0 ? -result : Errno.EIO;
}
