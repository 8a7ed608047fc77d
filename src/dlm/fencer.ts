import type { SlotNumber } from "../base/units.ts";
import type { Env } from "../env/env.ts";
import type { ProcessIdentity } from "./process-identity.ts";
import { withTimeout } from "./with-timeout.ts";

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

/**
 * Ends a member's writing by something stronger than its own clock: power, persistent reservations, a poison pill. The
 * victim's locks stay in force until it has succeeded.
 */
export interface Fencer {
  /** The methods in words, equal on all members of a lockspace ("command /usr/sbin/fence_ipmilan"). */
  readonly about: string;
  /** Milliseconds that one attempt may take. A fencing that stands still for longer is taken over by another member. */
  readonly timeoutMs: number;
  /** May be asked again after it failed, and on several nodes for one victim. A rejection counts as a failure. */
  fence(victim: FenceVictim): Promise<FenceOutcome>;
}

/** What members without a `Fencer` say of their fencing: a silent member is dead when its lease is over. */
export const LEASE_ONLY = "lease only";

/** Characters of the evidence that a lock server takes. */
const EVIDENCE_LIMIT = 256;

/** One attempt. What takes too long or rejects has failed. */
export async function runFencer(fencer: Fencer, victim: FenceVictim, { clock }: Env): Promise<FenceOutcome> {
  try {
    const outcome = await withTimeout(clock, fencer.timeoutMs, fencer.fence(victim));
    if (outcome === null) return { ok: false, evidence: `${fencer.about}: no outcome within ${fencer.timeoutMs} ms` };
    return { ok: outcome.ok, evidence: outcome.evidence.slice(0, EVIDENCE_LIMIT) };
  } catch (error) {
    return { ok: false, evidence: `${fencer.about}: ${String(error)}`.slice(0, EVIDENCE_LIMIT) };
  }
}
