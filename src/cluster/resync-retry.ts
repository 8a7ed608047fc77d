import type { RecoveryPlan } from "../resync/recovery-plan.ts";
import { nextRetryDelay } from "../resync/retry-delay.ts";
import type { NodeContext } from "./node-context.ts";

type Planned = Pick<RecoveryPlan, "type">;

/**
 * When to try again what no copy could give. As long as nothing has changed it will fail once more, so the waits become
 * longer; other members, or more or fewer chunks that need a resync, are worth a try at once.
 */
export class ResyncRetry {
  readonly #context: NodeContext;
  #situation = "";
  #delay = 0;
  #at = 0;

  constructor(context: NodeContext) {
    this.#context = context;
  }

  /** An operator wants another look at once. */
  forget(): void {
    this.#situation = "";
    this.#delay = 0;
  }

  /** Something was left. Milliseconds until the next try, and the chunks that need a resync still. */
  async gaveUp(plan: Planned): Promise<{ readonly ms: number; readonly needed: number }> {
    const needed = await this.#needed();
    const situation = this.#situationOf(plan, needed);
    this.#delay = nextRetryDelay(situation === this.#situation ? this.#delay : 0);
    this.#situation = situation;
    this.#at = this.#context.env.clock.now() + this.#delay;
    return { ms: this.#delay, needed };
  }

  /** Milliseconds to wait before this is tried; 0: now. */
  async waitMs(plan: Planned): Promise<number> {
    if (this.#situation === "" || this.#situationOf(plan, await this.#needed()) !== this.#situation) return 0;
    return Math.max(0, this.#at - this.#context.env.clock.now());
  }

  async #needed(): Promise<number> {
    return (await this.#context.engine.send({ type: "queryBitmap" })).needed;
  }

  #situationOf({ type }: Planned, needed: number): string {
    return `${type} ${needed} ${membersNow(this.#context)}`;
  }
}

/** Differs when a member has come, gone, failed or become whole. */
export function membersNow({ array, members }: NodeContext): string {
  return array.members
    .map(({ number, raidDisk, state }) => {
      const blocked = raidDisk !== null && members.isBlockedMember(number);
      return `${number}:${raidDisk}:${blocked ? "blocked" : state}`;
    })
    .join(",");
}
