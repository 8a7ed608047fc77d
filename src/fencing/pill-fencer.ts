import { MdError } from "../base/md-error.ts";
import type { FenceAttempt, FenceOutcome, Fencer, FenceVictim } from "../dlm/fencer.ts";
import { sleep } from "../env/clock.ts";
import type { Env } from "../env/env.ts";

export interface PillFencerOptions {
  /** Writes the victim's pill to all in-sync members and reads it back. Rejects with MdError. */
  readonly condemn: (victim: FenceVictim, signal: AbortSignal) => Promise<void>;
  /** Milliseconds; null: the nodes have no watchdog. */
  readonly watchdogMs: number | null;
  /** Milliseconds of the lease. */
  readonly leaseMs: number;
  readonly env: Env;
}

const WRITE_MS = 30_000;

/** `watchdogMs` null: the nodes have none. */
export const pillInWords = (watchdogMs: number | null): string =>
  watchdogMs === null ? "pill (advisory)" : `pill with a watchdog of ${watchdogMs / 1000} s`;

/**
 * A poison pill on the members (dlm.md 5.6): a node with a watchdog that cannot read that it has none, or reads that it has
 * one, is reset within twice the watchdog's time. Without a watchdog nothing makes the victim look: then it is advisory,
 * and what is waited for is only that a victim which still runs has looked.
 */
export class PillFencer implements Fencer {
  readonly about: string;
  readonly timeoutMs: number;
  readonly #options: PillFencerOptions;
  readonly #waitMs: number;

  constructor(options: PillFencerOptions) {
    const { watchdogMs, leaseMs } = options;
    this.#options = options;
    this.about = pillInWords(watchdogMs);
    this.#waitMs = watchdogMs === null ? leaseMs / 5 : 2 * watchdogMs;
    this.timeoutMs = WRITE_MS + this.#waitMs;
  }

  async fence(victim: FenceVictim, { signal }: FenceAttempt): Promise<FenceOutcome> {
    const { condemn, env, watchdogMs } = this.#options;
    try {
      await condemn(victim, signal);
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      return { ok: false, evidence: `pill: ${error.message}` };
    }
    await sleep(env.clock, this.#waitMs, signal);
    if (signal.aborted) return { ok: false, evidence: "pill: it was written, and not waited for" };
    const wait = `${this.#waitMs / 1000} s ago`;
    const by = watchdogMs === null ? "; nothing but its lease made sure that it was read" : "";
    return { ok: true, evidence: `pill for ${victim.node} on the members since ${wait}${by}` };
  }
}
