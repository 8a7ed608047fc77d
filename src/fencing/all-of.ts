import type { Fencer } from "../dlm/fencer.ts";

/**
 * Several methods as one: all of them must succeed, one after the other. What one of them has proved already is not
 * undone when a later one fails; the next call tries all again.
 */
export function allOf(fencers: readonly Fencer[]): Fencer {
  return {
    about: fencers.map(({ about }) => about).join(" + "),
    timeoutMs: fencers.reduce((sum, { timeoutMs }) => sum + timeoutMs, 0),
    async fence(victim) {
      const evidence: string[] = [];
      for (const fencer of fencers) {
        const outcome = await fencer.fence(victim);
        if (!outcome.ok) return outcome;
        evidence.push(outcome.evidence);
      }
      return { ok: true, evidence: evidence.join("; ") };
    },
  };
}
