const SHORTEST_MS = 5000;
const LONGEST_MS = 600_000;

/** Milliseconds until what could not be copied is tried again; `before`: how long it was the last time, 0 for none. */
export const nextRetryDelay = (before: number): number =>
  before === 0 ? SHORTEST_MS : Math.min(before * 2, LONGEST_MS);
