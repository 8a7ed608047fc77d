/** md's max_read_errors: more within an hour, and the member is taken out. */
export const MAX_READ_ERRORS = 20;

const HOUR_MS = 3_600_000;

/** How many read errors of a member count now. */
export interface ReadErrorCount {
  readonly errors: number;
  /** Milliseconds, as of `Clock.now`: the last one. */
  readonly lastAt: number;
}

/** One more, by md's rule (check_decay_read_errors): what was before is halved for each full hour since the last one. */
export function countReadError(count: ReadErrorCount | null, nowMs: number): ReadErrorCount {
  if (count === null) return { errors: 1, lastAt: nowMs };
  const hours = Math.floor((nowMs - count.lastAt) / HOUR_MS);
  return { errors: Math.floor(count.errors / 2 ** hours) + 1, lastAt: nowMs };
}
