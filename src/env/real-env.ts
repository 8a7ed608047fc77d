import { randomBytes } from "node:crypto";
import { openSync, readSync } from "node:fs";
import type { Clock } from "./clock.ts";
import type { Env } from "./env.ts";
import type { Logger } from "./logger.ts";
import type { Random } from "./random.ts";
import { suspendClock } from "./suspend-clock.ts";

/**
 * What `performance.now()` must be increased by to be CLOCK_MONOTONIC, which every thread and `hrtime` share. A thread may
 * stand still between the reading of the one and of the other, and be wrong by that for ever: the narrowest of several
 * readings counts.
 */
function offsetToMonotonic(): number {
  let narrowest = Number.POSITIVE_INFINITY;
  let offset = 0;
  for (let reading = 0; reading < 100; reading++) {
    const before = performance.now();
    const monotonic = Number(process.hrtime.bigint()) / 1e6;
    const width = performance.now() - before;
    if (width >= narrowest) continue;
    narrowest = width;
    offset = monotonic - before - width / 2;
  }
  return offset;
}

const monotonicOffset = offsetToMonotonic();

/** Open for good: a lease hangs on it also when there are no descriptors left. */
let uptime = -1;
const uptimeText = Buffer.alloc(64);

/** As /proc tells it, in steps of 10 ms. */
function sinceBoot(): number {
  if (uptime === -1) uptime = openSync("/proc/uptime", "r");
  const bytes = readSync(uptime, uptimeText, 0, uptimeText.length, 0);
  return Number.parseFloat(uptimeText.toString("latin1", 0, bytes)) * 1000;
}

const now = suspendClock({
  monotonic: () => performance.now() + monotonicOffset,
  wall: () => Date.now(),
  sinceBoot,
});

export const realClock: Clock = {
  now,
  sinceBoot,
  wall: () => Date.now(),
  after(ms, action) {
    const handle = setTimeout(action, ms);
    return { cancel: () => clearTimeout(handle) };
  },
};

export const realRandom: Random = {
  next: () => Math.random(),
  bytes: (size) => new Uint8Array(randomBytes(size)),
};

export const realEnv = (log: Logger): Env => ({ clock: realClock, random: realRandom, log });
