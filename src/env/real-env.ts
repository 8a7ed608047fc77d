import { randomBytes } from "node:crypto";
import type { Clock } from "./clock.ts";
import type { Env } from "./env.ts";
import type { Logger } from "./logger.ts";
import type { Random } from "./random.ts";

/** What `performance.now()` must be increased by to be CLOCK_MONOTONIC, which every thread and `hrtime` share. */
const monotonicOffset = Number(process.hrtime.bigint()) / 1e6 - performance.now();

export const realClock: Clock = {
  now: () => performance.now() + monotonicOffset,
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
