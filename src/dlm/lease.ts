/** One lease per node and lockspace. All nodes of a lockspace must use the same length: joining with another is refused. */
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

/**
 * Milliseconds that a host may have been suspended between two renewals without losing its lease: CLOCK_MONOTONIC, by
 * which the lease is measured, does not count them. What is smaller is the coarseness of the clocks.
 */
export const suspendTolerance = 500;

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

/** How long the answer to a report may take, after the lock server has lost its state: it is cheap to repeat. */
export const reportPatience = ({ leaseMs }: LeaseTimes): number => leaseMs / 5;
