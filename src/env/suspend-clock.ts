/** What a clock is made of, in milliseconds. */
export interface ClockSources {
  /** CLOCK_MONOTONIC: cheap, and stands still while the machine is suspended. */
  monotonic(): number;
  /** Cheap, goes on during a suspension, and may be set to anything at any time. */
  wall(): number;
  /** CLOCK_BOOTTIME: goes on during a suspension; dear. */
  sinceBoot(): number;
}

/** A change of the wall clock against the monotonic one that is worth a look at the dear clock. */
const SUSPICIOUS_MS = 50;
/** Threads look at different moments: what they make of one suspension must be the same. */
const GRAIN_MS = 100;

/**
 * A monotonic clock that goes on while the machine is suspended: a lease runs out meanwhile, whoever sleeps. The wall clock
 * only tells when to look; it is never believed.
 */
export function suspendClock({ monotonic, wall, sinceBoot }: ClockSources): () => number {
  let suspended = 0;
  let gap = Number.NaN;
  return () => {
    const now = monotonic();
    const difference = wall() - now;
    if (!(Math.abs(difference - gap) < SUSPICIOUS_MS)) {
      gap = difference;
      const slept = Math.round((sinceBoot() - now) / GRAIN_MS) * GRAIN_MS;
      suspended = Math.max(suspended, slept);
    }
    return now + suspended;
  };
}
