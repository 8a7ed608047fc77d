import { unreachable } from "../base/assert.ts";
import { slotNumber } from "../base/units.ts";
import type { Env } from "../env/env.ts";
import { type FenceOutcome, type Fencer, runFencer } from "./fencer.ts";
import {
  type FencingDesk,
  type FencingEffect,
  type FencingEvent,
  newFencingDesk,
  stepFencing,
} from "./fencing-desk.ts";
import type { LeaseTimes } from "./lease.ts";
import type { MemberRecord } from "./lock-call.ts";
import type { MemberSession } from "./member-session.ts";
import { MemberWatch } from "./member-watch.ts";
import type { ProcessIdentity } from "./process-identity.ts";

export interface MemberRemovalOptions {
  readonly session: MemberSession;
  readonly lease: LeaseTimes;
  readonly env: Env;
  /** Our own incarnation. */
  readonly own: string;
  readonly generation: () => number;
  readonly fencer?: Fencer;
  readonly isProcessGone?: (process: ProcessIdentity) => boolean;
}

/** Finds dead members and has them removed: evicted where that is enough, fenced where fencing is configured. */
export class MemberRemoval {
  readonly #options: MemberRemovalOptions;
  readonly watch: MemberWatch;
  #desk: FencingDesk;
  #members: readonly MemberRecord[] = [];

  constructor(options: MemberRemovalOptions) {
    this.#options = options;
    this.watch = new MemberWatch(options.lease, options.isProcessGone);
    this.#desk = this.#newDesk();
  }

  /** The lock server lists these members besides us. */
  look(now: number, others: readonly MemberRecord[]): void {
    const { own, session, env, fencer } = this.#options;
    this.#members = others;
    const silent: MemberRecord[] = [];
    for (const victim of this.watch.observe(now, others)) {
      const { slot, incarnation, counter, node, state } = victim;
      const proved = this.watch.isProvedGone(incarnation);
      if (!proved && (fencer !== undefined || state === "fencing")) {
        silent.push(victim);
        continue;
      }
      const evidence = proved ? "process" : "lease";
      const about = { evt: "node.evict", node, slot: slot - 1, counter, evidence };
      env.log.warn(about, `${node} ${proved ? "has ended" : "does not renew"}: evicting it`);
      void session.once({ op: "evict", victim: { slot, incarnation, counter }, evidence });
    }
    if (fencer !== undefined) this.#dispatch({ type: "look", now, own, members: others, dead: silent });
  }

  /** A new epoch: counters stood still while there was no lock server, and it knows of no fencing. */
  restart(): void {
    this.watch.restart();
    this.#desk = this.#newDesk();
  }

  #newDesk(): FencingDesk {
    const { fencer, lease } = this.#options;
    const retryMs = lease.leaseMs / 10;
    return newFencingDesk({ timeoutMs: fencer?.timeoutMs ?? 0, retryMs, longestRetryMs: lease.leaseMs * 3 });
  }

  #dispatch(event: FencingEvent): void {
    const [desk, effects] = stepFencing(this.#desk, event);
    this.#desk = desk;
    for (const effect of effects) void this.#perform(effect);
  }

  async #perform(effect: FencingEffect): Promise<void> {
    const { session, env } = this.#options;
    switch (effect.type) {
      case "begin": {
        const { slot, incarnation, counter, node } = effect.victim;
        const { takesOver } = effect;
        env.log.warn({ evt: "node.fence", node, slot: slot - 1, counter, takesOver }, `${node} is silent: fencing it`);
        const call = { op: "fence_begin", victim: { slot, incarnation, counter } } as const;
        const reply = await session.once(takesOver === null ? call : { ...call, takesOver });
        const [rc, value] = [reply?.rc ?? null, reply?.value ?? 0];
        this.#dispatch({ type: "begun", victim: incarnation, rc, value });
        break;
      }
      case "fence": {
        const { victim, token } = effect;
        const { ok, evidence } = await this.#fence(victim);
        this.#dispatch({ type: "fenced", victim, token, ok, evidence });
        break;
      }
      case "tell": {
        const { token, ok, evidence } = effect;
        const known = this.#members.find(({ incarnation }) => incarnation === effect.victim);
        if (known === undefined) break;
        const { slot, incarnation } = known;
        const reply = await session.once({ op: "fence_result", victim: { slot, incarnation }, token, ok, evidence });
        this.#dispatch({ type: "told", victim: incarnation, rc: reply?.rc ?? null, now: env.clock.now() });
        break;
      }
      default:
        unreachable(effect);
    }
  }

  async #fence(victim: string): Promise<FenceOutcome> {
    const { env, fencer, generation } = this.#options;
    const known = this.#members.find(({ incarnation }) => incarnation === victim);
    if (known === undefined || fencer === undefined) return { ok: false, evidence: "it is no member any more" };
    const { node, slot, incarnation, process } = known;
    const about = { node, slot: slotNumber(slot - 1), incarnation, generation: generation() };
    const outcome = await runFencer(fencer, process === undefined ? about : { ...about, process }, env);
    const { ok, evidence } = outcome;
    env.log[ok ? "warn" : "error"](
      { evt: "node.fenced", node, slot: slot - 1, ok, evidence, method: fencer.about },
      ok ? `${node} is fenced: ${evidence}` : `${node} cannot be fenced: ${evidence}`,
    );
    return outcome;
  }
}
