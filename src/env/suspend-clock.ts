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

/** Readings of two clocks that are further apart say nothing about their difference. */
const NARROW_MS = 10;
const MOST_READINGS = 100;

/**
 * A monotonic clock that goes on while the machine is suspended: a lease runs out meanwhile, whoever sleeps. The wall clock
 * only tells when to look; it is never believed.
 */
export function suspendClock(sources: ClockSources): () => number {
  const { monotonic, wall } = sources;
  let suspended = 0;
  let gap = Number.NaN;
  return () => {
    const now = monotonic();
    if (Math.abs(wall() - now - gap) < SUSPICIOUS_MS) return now + suspended;
    const reading = narrowReading(sources);
    gap = reading.gap;
    suspended = Math.max(suspended, reading.slept);
    return monotonic() + suspended;
  };
}

/**
 * A thread may stand still between the readings of two clocks. Taken for a suspension, that would set this thread's clock
 * apart from the others' for good, and with it what it takes for the end of a lease.
 */
function narrowReading({ monotonic, wall, sinceBoot }: ClockSources): { readonly gap: number; readonly slept: number } {
  let narrowest = Number.POSITIVE_INFINITY;
  let reading = { gap: Number.NaN, slept: 0 };
  for (let tries = 0; tries < MOST_READINGS && narrowest > NARROW_MS; tries++) {
    const before = monotonic();
    const gap = wall() - before;
    const slept = Math.round((sinceBoot() - before) / GRAIN_MS) * GRAIN_MS;
    const width = monotonic() - before;
    if (width >= narrowest) continue;
    narrowest = width;
    reading = { gap, slept };
  }
  return reading;
}
