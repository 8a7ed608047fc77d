import { assert } from "../base/assert.ts";

/**
 * How far a pass is, for people: percent, speed, time left (dashboard specification, 3.1). A value; times are
 * milliseconds of a monotonic clock, amounts are sectors.
 */
export interface ResyncProgress {
  readonly startedAt: number;
  readonly done: number;
  readonly total: number;
  readonly lastProgressAt: number;
  /** Ascending in time, the newest last, none older than a minute. */
  readonly samples: readonly Sample[];
}

interface Sample {
  readonly at: number;
  readonly done: number;
}

export interface ProgressReport {
  /** Tenths of a percent, truncated: 1000 means done and nothing less. */
  readonly permille: number;
  /** Sectors per second, mean of the last 30 s; null while there are less than 5 s of data. */
  readonly speed: number | null;
  /** Seconds left [soonest, latest], from the 90th and the 10th percentile of the speeds of the last 60 s. */
  readonly eta: readonly [number, number] | null;
  /** Seconds since anything was done. */
  readonly stalledFor: number;
}

const SPEED_MS = 30_000;
const ETA_MS = 60_000;
const FIRST_NUMBER_MS = 5000;
/** Samples closer than this are merged: a minute is sixty numbers. */
const SAMPLE_MS = 1000;

export const startProgress = (now: number, total: number): ResyncProgress => ({
  startedAt: now,
  done: 0,
  total,
  lastProgressAt: now,
  samples: [{ at: now, done: 0 }],
});

/** `sectors` more are done. More work than was known at the start raises the total, never the percentage above 100. */
export function addProgress(progress: ResyncProgress, now: number, sectors: number): ResyncProgress {
  assert(sectors >= 0, "progress does not go back");
  const done = progress.done + sectors;
  const kept = progress.samples.filter((sample) => now - sample.at <= ETA_MS);
  const newest = kept.at(-1);
  const before = kept.at(-2);
  const merge = newest !== undefined && before !== undefined && newest.at - before.at < SAMPLE_MS;
  return {
    ...progress,
    done,
    total: Math.max(progress.total, done),
    lastProgressAt: sectors > 0 ? now : progress.lastProgressAt,
    samples: [...(merge ? kept.slice(0, -1) : kept), { at: now, done }],
  };
}

export function reportProgress(progress: ResyncProgress, now: number): ProgressReport {
  const { done, total } = progress;
  const speed = meanSpeed(progress, now);
  return {
    permille: total === 0 ? 1000 : Math.min(Math.floor((done * 1000) / total), 1000),
    speed,
    eta: speed === null || speed === 0 ? null : timeLeft(progress, now),
    stalledFor: Math.floor(Math.max(now - progress.lastProgressAt, 0) / 1000),
  };
}

function meanSpeed(progress: ResyncProgress, now: number): number | null {
  if (now - progress.startedAt < FIRST_NUMBER_MS) return null;
  // The newest sample outside the window is where the window begins.
  const first = progress.samples.findLast((sample) => now - sample.at >= SPEED_MS) ?? progress.samples[0];
  if (first === undefined || now <= first.at) return null;
  return ((progress.done - first.done) * 1000) / (now - first.at);
}

function timeLeft(progress: ResyncProgress, now: number): readonly [number, number] | null {
  const left = progress.total - progress.done;
  const speeds: number[] = [];
  for (let i = 1; i < progress.samples.length; i++) {
    const [a, b] = [progress.samples[i - 1], progress.samples[i]];
    if (a === undefined || b === undefined || b.at <= a.at || now - b.at > ETA_MS) continue;
    speeds.push(((b.done - a.done) * 1000) / (b.at - a.at));
  }
  speeds.sort((a, b) => a - b);
  const slow = speeds[Math.floor((speeds.length - 1) * 0.1)];
  const fast = speeds[Math.ceil((speeds.length - 1) * 0.9)];
  if (slow === undefined || fast === undefined || slow <= 0) return null;
  return [Math.ceil(left / fast), Math.ceil(left / slow)];
}
