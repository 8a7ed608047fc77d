import type { SlotNumber } from "../base/units.ts";
import type { Clock } from "../env/clock.ts";
import type { Env } from "../env/env.ts";
import type { ProcessIdentity } from "./process-identity.ts";

/** A member whose lease has run out by our clock: it may be dead, stopped, or merely cut off. */
export interface FenceVictim {
  readonly node: string;
  readonly slot: SlotNumber;
  readonly incarnation: string;
  /** Of the lockspace, when it was found silent. */
  readonly generation: number;
  readonly process?: ProcessIdentity;
}

export interface FenceOutcome {
  /** True only if the victim surely writes no more: what it issued has reached the disk or never will. */
  readonly ok: boolean;
  /** For the log and for people: what proves it, or why it failed. */
  readonly evidence: string;
}

/** What a method must know of the attempt that it is part of. */
export interface FenceAttempt {
  /** It is over: out of time, or not wanted any more. What was begun must be ended, and nothing more be begun. */
  readonly signal: AbortSignal;
  /**
   * Must this very life of the node still be ended? To be asked right before what hits a machine whatever runs on it:
   * the victim may have been rebooted, and its successor be well. False also when that cannot be found out.
   */
  isWanted(): Promise<boolean>;
}

/**
 * Ends a member's writing by something stronger than its own clock: power, persistent reservations, a poison pill. The
 * victim's locks stay in force until it has succeeded.
 */
export interface Fencer {
  /** The methods in words, equal on all members of a lockspace ("command /usr/sbin/fence_ipmilan"). */
  readonly about: string;
  /** Milliseconds that one attempt may take. A fencing that stands still for longer is taken over by another member. */
  readonly timeoutMs: number;
  /**
   * May be asked again after it failed, and on several nodes for one victim. A rejection counts as a failure. Settles
   * when nothing of it happens any more: soon after the attempt is over.
   */
  fence(victim: FenceVictim, attempt: FenceAttempt): Promise<FenceOutcome>;
}

/** What members without a `Fencer` say of their fencing: a silent member is dead when its lease is over. */
export const LEASE_ONLY = "lease only";

/** Characters of the evidence that a lock server takes. */
const EVIDENCE_LIMIT = 256;

/** Milliseconds that a method may take to end what it has begun, once the attempt is over. */
const ENDING_MS = 5000;

/** The longest that an attempt may take from its beginning until this node says what came of it. */
export const longestAttempt = ({ timeoutMs }: Fencer): number => timeoutMs + ENDING_MS;

/** One attempt, ended when it takes too long or when `attempt` says so. What does not succeed has failed, whatever the reason. */
export async function runFencer(
  fencer: Fencer,
  victim: FenceVictim,
  attempt: FenceAttempt,
  { clock }: Env,
): Promise<FenceOutcome> {
  const { about, timeoutMs } = fencer;
  const late = new AbortController();
  const timer = clock.after(timeoutMs, () => late.abort());
  const signal = AbortSignal.any([attempt.signal, late.signal]);
  const isWanted = async (): Promise<boolean> => !signal.aborted && (await attempt.isWanted()) && !signal.aborted;
  const failed = (why: string): FenceOutcome => ({ ok: false, evidence: `${about}: ${why}`.slice(0, EVIDENCE_LIMIT) });
  try {
    const outcome = await untilEnded(clock, fencer.fence(victim, { signal, isWanted }), signal);
    if (outcome === null) return failed(`it did not end within ${ENDING_MS} ms after it was given up`);
    if (!outcome.ok && late.signal.aborted) return failed(`no outcome within ${timeoutMs} ms`);
    return { ok: outcome.ok, evidence: outcome.evidence.slice(0, EVIDENCE_LIMIT) };
  } catch (error) {
    return failed(String(error));
  } finally {
    timer.cancel();
  }
}

/** What `outcome` gives; null: the attempt is over, and what was begun does not end. */
function untilEnded(clock: Clock, outcome: Promise<FenceOutcome>, signal: AbortSignal): Promise<FenceOutcome | null> {
  return new Promise((resolve, reject) => {
    const over = (): void => {
      const timer = clock.after(ENDING_MS, () => resolve(null));
      const cancel = (): void => timer.cancel();
      outcome.then(cancel, cancel);
    };
    signal.addEventListener("abort", over);
    if (signal.aborted) over();
    outcome.then(resolve, reject).finally(() => signal.removeEventListener("abort", over));
  });
}
