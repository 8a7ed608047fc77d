import type { World } from "./world.ts";

/** A link between a node and the lock server: times, and how often what goes wrong. Rates are per message. */
export interface LinkTiming {
  /** Milliseconds one way, lowest and highest. */
  readonly delay: readonly [number, number];
  /** Milliseconds after which a caller without an answer gives up. */
  readonly patience: number;
  /** A wake-up is lost, or comes twice. */
  readonly lostWakes: number;
  readonly doubleWakes: number;
  /** A wake-up comes up to `lateBy` milliseconds late, behind later ones. */
  readonly lateWakes: number;
  /** A call is never executed; is executed, and its answer lost. */
  readonly lostRequests: number;
  readonly lostReplies: number;
  /** A call is executed twice, the second time by up to `lateBy` milliseconds later; or only then. */
  readonly doubledCalls: number;
  readonly lateCalls: number;
  readonly lateBy: number;
}

export const fastLink: LinkTiming = {
  delay: [0.05, 0.5],
  patience: 150,
  lostWakes: 0.05,
  doubleWakes: 0.05,
  lateWakes: 0,
  lostRequests: 0,
  lostReplies: 0,
  doubledCalls: 0,
  lateCalls: 0,
  lateBy: 0,
};

/** A link with all of it at moderate rates; a late call may come long after its sender's lease. */
export const badLink = (leaseMs: number): LinkTiming => ({
  ...fastLink,
  delay: [0.05, 5],
  lostWakes: 0.2,
  doubleWakes: 0.2,
  lostRequests: 0.02,
  lostReplies: 0.02,
  doubledCalls: 0.02,
  lateCalls: 0.01,
  lateBy: 3 * leaseMs,
});

/** What a bad spell adds to a link that has no such faults otherwise: to what the server sends, and to calls. */
export const badNotices = (leaseMs: number): Partial<LinkTiming> => ({
  lostWakes: 0.4,
  doubleWakes: 0.3,
  lateWakes: 0.3,
  lateBy: leaseMs,
});

export const badCalls = (leaseMs: number): Partial<LinkTiming> => ({
  lostRequests: 0.05,
  lostReplies: 0.05,
  doubledCalls: 0.1,
  lateCalls: 0.02,
  lateBy: 2 * leaseMs,
});

/** Without a draw where nothing can happen: a seed goes on as before when a fault is added that it does not use. */
export const happens = ({ random }: World, rate: number): boolean => rate > 0 && random.chance(rate);

/** Which way a partition blocks. */
export type Direction = "requests" | "replies" | "both";
