import { slotNumber } from "../base/units.ts";
import type { Env } from "../env/env.ts";
import { type FenceOutcome, type Fencer, runFencer } from "./fencer.ts";
import { type LeaseTimes, repeatAfter } from "./lease.ts";
import type { MemberRecord } from "./lock-call.ts";
import type { MemberSession } from "./member-session.ts";

interface FenceAttemptsOptions {
  readonly fencer: Fencer;
  readonly session: MemberSession;
  readonly lease: LeaseTimes;
  readonly env: Env;
  /** Of the lockspace, now. */
  readonly generation: () => number;
}

interface Running {
  readonly stop: AbortController;
  readonly ended: Promise<unknown>;
  /** Nobody wants to know any more what came of it. */
  isDropped: boolean;
}

/** Runs of the configured methods on this node, one at a time for each victim. */
export class FenceAttempts {
  readonly #options: FenceAttemptsOptions;
  /** By the victim's incarnation. */
  readonly #running = new Map<string, Running>();

  constructor(options: FenceAttemptsOptions) {
    this.#options = options;
  }

  /** Null: it was dropped. An attempt at the same victim that still comes to its end is waited for. */
  async run(victim: MemberRecord, token: number): Promise<FenceOutcome | null> {
    const { incarnation } = victim;
    const before = this.#running.get(incarnation);
    const stop = new AbortController();
    const outcome = (before?.ended ?? Promise.resolve()).then(() => this.#run(victim, token, stop.signal));
    const running: Running = { stop, ended: outcome, isDropped: false };
    this.#running.set(incarnation, running);
    const { ok, evidence } = await outcome;
    if (this.#running.get(incarnation) === running) this.#running.delete(incarnation);
    return running.isDropped ? null : { ok, evidence };
  }

  /** It is not this node's to end this victim (any more). */
  drop(incarnation: string): void {
    const running = this.#running.get(incarnation);
    if (running === undefined) return;
    running.isDropped = true;
    running.stop.abort();
  }

  dropAll(): void {
    for (const incarnation of this.#running.keys()) this.drop(incarnation);
  }

  /** All that are under way fail. */
  giveUp(): void {
    for (const { stop } of this.#running.values()) stop.abort();
  }

  async #run(victim: MemberRecord, token: number, signal: AbortSignal): Promise<FenceOutcome> {
    const { env, fencer, generation } = this.#options;
    const { node, slot, incarnation, process } = victim;
    if (signal.aborted) return { ok: false, evidence: "it was given up" };
    const about = { node, slot: slotNumber(slot - 1), incarnation, generation: generation() };
    const isWanted = (): Promise<boolean> => this.#isWanted(incarnation, token);
    const whom = process === undefined ? about : { ...about, process };
    const outcome = await runFencer(fencer, whom, { signal, isWanted }, env);
    const { ok, evidence } = outcome;
    env.log[ok ? "warn" : "error"](
      { evt: "node.fenced", node, slot: slot - 1, ok, evidence, method: fencer.about },
      ok ? `${node} is fenced: ${evidence}` : `${node} cannot be fenced: ${evidence}`,
    );
    return outcome;
  }

  /** Asks the lock server: who proves that its own former life has ended removes it there, and joins. */
  async #isWanted(incarnation: string, token: number): Promise<boolean> {
    const { session, lease } = this.#options;
    const hello = await session.ask({ op: "hello" }, repeatAfter(lease));
    return hello?.members?.find((member) => member.incarnation === incarnation)?.fence?.token === token;
  }
}
