import type { Fencer } from "../dlm/fencer.ts";

/**
 * Several methods as one: all of them must succeed, one after the other. What one of them has proved already is not
 * undone when a later one fails; the next call tries all again.
 */
export function allOf(fencers: readonly Fencer[]): Fencer {
  return {
    about: fencers.map(({ about }) => about).join(" + "),
    timeoutMs: fencers.reduce((sum, { timeoutMs }) => sum + timeoutMs, 0),
    async fence(victim, attempt) {
      const evidence: string[] = [];
      for (const fencer of fencers) {
        if (attempt.signal.aborted) return { ok: false, evidence: `${fencer.about}: not tried` };
        const outcome = await fencer.fence(victim, attempt);
        if (!outcome.ok) return outcome;
        evidence.push(outcome.evidence);
      }
      return { ok: true, evidence: evidence.join("; ") };
    },
  };
}
