import { unreachable } from "../base/assert.ts";
import type { Env } from "../env/env.ts";
import { FenceAttempts } from "./fence-attempts.ts";
import { type Fencer, longestAttempt } from "./fencer.ts";
import {
  type FencingDesk,
  type FencingEffect,
  type FencingEvent,
  newFencingDesk,
  stepFencing,
} from "./fencing-desk.ts";
import { type LeaseTimes, lookEvery } from "./lease.ts";
import type { LockReply, MemberRecord } from "./lock-call.ts";
import { lockStatus } from "./lock-status.ts";
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
  /** Renews our own lease ahead of time: a look comes of it. */
  readonly renew: () => void;
  readonly isProcessGone?: (process: ProcessIdentity) => boolean;
}

/** Finds dead members and has them removed: evicted where that is enough, fenced where fencing is configured. */
export class MemberRemoval {
  readonly #options: MemberRemovalOptions;
  readonly watch: MemberWatch;
  /** Null: no method is configured. */
  readonly #attempts: FenceAttempts | null;
  #desk: FencingDesk;
  #members: readonly MemberRecord[] = [];

  constructor(options: MemberRemovalOptions) {
    this.#options = options;
    const { lease, fencer, isProcessGone } = options;
    this.watch = new MemberWatch(lease, isProcessGone);
    this.#attempts = fencer === undefined ? null : new FenceAttempts({ ...options, fencer });
    this.#desk = this.#newDesk();
  }

  /** An answer, and the members besides us that it lists. */
  look(now: number, others: readonly MemberRecord[], { seq, state }: Pick<LockReply, "seq" | "state">): void {
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
    if (fencer === undefined) return;
    const rebuilding = state === "recover";
    this.#dispatch({ type: "look", now, seq, rebuilding, own, members: others, dead: silent });
  }

  /**
   * A new epoch: counters stood still while there was no lock server, and tokens of the old one mean nothing. Whoever is
   * being fenced was reported as such; its fencing begins anew.
   */
  restart(): void {
    this.watch.restart();
    this.#attempts?.dropAll();
    this.#desk = this.#newDesk();
  }

  /** Our lease is over: others may declare us dead, and fence in our place. */
  giveUp(): void {
    this.#attempts?.giveUp();
  }

  /** We are no member any more. */
  stop(): void {
    this.#attempts?.dropAll();
  }

  #newDesk(): FencingDesk {
    const { fencer, lease } = this.#options;
    const retryMs = lease.leaseMs / 10;
    const timeoutMs = fencer === undefined ? 0 : longestAttempt(fencer);
    return newFencingDesk({ timeoutMs, retryMs, longestRetryMs: lease.leaseMs * 3 });
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
        const { rc = null, value = 0, generation = 0 } = reply ?? {};
        this.#dispatch({ type: "begun", victim: incarnation, rc, value, generation });
        if (rc === lockStatus.OK) env.clock.after(lookEvery(this.#options.lease), this.#options.renew);
        break;
      }
      case "fence": {
        const { victim, token } = effect;
        const known = this.#members.find(({ incarnation }) => incarnation === victim);
        // The next look finds that it is no member any more.
        if (known === undefined) break;
        const outcome = (await this.#attempts?.run(known, token)) ?? null;
        if (outcome !== null) this.#dispatch({ type: "fenced", victim, token, ...outcome });
        break;
      }
      case "drop":
        this.#attempts?.drop(effect.victim);
        break;
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
}
