/**
 * One lease per node and lockspace. All nodes of a lockspace must use the same length: joining with another is refused.
 *
 * Why nobody acts in a node's place while it may still write, with lease length L and no clock compared with another:
 *
 *     L >= (stop + gate + io) * (1 + rate) / (1 - rate) + margin
 *
 * - L: how long an observer must see the counter stand still, on its own clock, from when *it* first saw it.
 * - stop: 0.6 L, counted from when the renewal was *sent*, on the node's clock; it is sent before it can be seen.
 * - gate + io: from the look at the deadline to when the write has reached the disk or never will.
 * - rate: how wrong the rate of either clock is at most. CLOCK_MONOTONIC is slewed by at most 500 ppm; we take 1000.
 * - margin: what a suspended host does not notice (`suspendTolerance`).
 *
 * What is left for gate + io is `inFlightBound`: 0.348 L, that is 3.48 s of the default 10 s; with clocks that are wrong
 * by ten per cent, still 0.177 L. A disk that holds a write for longer breaks it, and so does a thread that stands still
 * between its look at the deadline and the write: only fencing is proof against that. With a `Fencer` L bounds nothing
 * but the time until the fencing begins.
 */
export interface LeaseTimes {
  /**
   * Milliseconds that a node's renewal counter must stand still, on the clock of whoever watches it, before it is
   * declared dead.
   */
  readonly leaseMs: number;
  /** Milliseconds between two renewals; a tenth of the lease if it is not given. Nodes need not agree on it. */
  readonly pingMs?: number;
}

export const defaultLease: LeaseTimes = { leaseMs: 10_000 };

/** Parts of one: how much too fast or too slow a host's monotonic clock may run. */
const RATE_ERROR = 0.001;

/**
 * Milliseconds by which CLOCK_BOOTTIME and the clock of the lease may differ between two renewals. That clock goes on while
 * the host is suspended, as far as it notices (`suspendClock`); what it has missed beyond this costs the lease, and what is
 * smaller is the coarseness of the clocks.
 */
export const suspendTolerance = ({ leaseMs }: LeaseTimes): number => Math.min(500, leaseMs / 20);

/** Milliseconds that a write may take, from the look at the deadline to the medium, where nothing but leases protects. */
export const inFlightBound = (times: LeaseTimes, rateError = RATE_ERROR): number =>
  ((times.leaseMs - suspendTolerance(times)) * (1 - rateError)) / (1 + rateError) - stopAfter(times);

/** How often a node renews, and looks whether the others have. */
export const renewEvery = ({ leaseMs, pingMs }: LeaseTimes): number => pingMs ?? leaseMs / 10;

/**
 * When a node stops writing, counted from the *sending* of the last renewal that was acknowledged. The rest of the
 * lease is for writes that were issued just before: they must have reached the disk before others take over.
 */
export const stopAfter = ({ leaseMs }: LeaseTimes): number => leaseMs * 0.6;

/**
 * How long a node may believe what it knows of the others, counted as in `stopAfter`: nobody can have declared it dead
 * before, even if their clocks run ten per cent too fast and its own as much too slow. After that it must not serve reads
 * either: a mirror may have been failed in its absence, and miss what was written since.
 */
export const distrustAfter = ({ leaseMs }: LeaseTimes): number => leaseMs * 0.8;

/**
 * A watcher that was itself without an answer for longer than this starts watching anew: an outage of the lock server
 * stops everybody's counters, and whoever comes back first must not take the others for dead.
 */
export const longestSilence = (times: LeaseTimes): number => times.leaseMs / 2;

/** held: renewals come in time. late: half of the writing time is gone. lost: nothing may be written. */
export type LeaseState = "held" | "late" | "lost";

/** `renewedAt` is when the last acknowledged renewal was sent; both in milliseconds of the same monotonic clock. */
export function leaseState(times: LeaseTimes, renewedAt: number, now: number): LeaseState {
  const age = now - renewedAt;
  if (age >= stopAfter(times)) return "lost";
  return age >= stopAfter(times) / 2 ? "late" : "held";
}

/**
 * How long after the proof that a process has ended its writes may still reach a disk: the kernel tears an io_uring
 * down after the pid is gone, and what it had handed to the device by then still completes.
 */
export const settleAfterExit = ({ leaseMs }: LeaseTimes): number => leaseMs / 10;

/** A call without an answer for this long is sent again (with the same rid). */
export const repeatAfter = ({ leaseMs }: LeaseTimes): number => leaseMs / 2;

/** How long the answer to a report may take, after the lock server has lost its state, and how often it is repeated. */
export const reportPatience = ({ leaseMs }: LeaseTimes): number => leaseMs / 5;
export const reportEvery = ({ leaseMs }: LeaseTimes): number => leaseMs / 20;

/** How often a newcomer looks whether all members know of it; how soon whoever fences a member looks whether all know that. */
export const lookEvery = ({ leaseMs }: LeaseTimes): number => leaseMs / 40;
