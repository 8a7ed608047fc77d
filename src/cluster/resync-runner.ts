import { isDegraded } from "../array/md-array.ts";
import { unreachable } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { type SectorRange, sector } from "../base/units.ts";
import type { CopyKind } from "../engine/engine-protocol.ts";
import { sleep } from "../env/clock.ts";
import { planRecovery, type RecoveryPlan } from "../resync/recovery-plan.ts";
import {
  type CopyOutcome,
  idleResync,
  type PassOutcome,
  type ResyncEffect,
  type ResyncEvent,
  stepResync,
} from "../resync/resync-machine.ts";
import { addProgress, type ResyncProgress, startProgress } from "../resync/resync-progress.ts";
import { activateByPlan } from "./device-change.ts";
import { beginFilling, type Filling, isFilling, nextToFill, sectorsToFill } from "./filling.ts";
import type { NodeContext } from "./node-context.ts";
import { checkpointRecovery, finishRecovery } from "./recovery-metadata.ts";
import { ResyncAnnouncer } from "./resync-announcer.ts";
import { membersNow, ResyncRetry } from "./resync-retry.ts";

const RETRY_MS = 1000;
/** How often the place that a recovery has reached is written down. */
const CHECKPOINT_MS = 30_000;

type Copying = { readonly type: "resync" } | Filling;

export interface RunningSync {
  readonly action: "resync" | "recover";
  readonly progress: ResyncProgress;
}

/**
 * The one who copies on this node. Whoever believes that there is work queues for the cluster's `resync` lock, decides
 * anew when it is granted, copies window by window behind RESYNCING, and gives the lock back (md-cluster, 13).
 */
export class ResyncRunner {
  readonly #context: NodeContext;
  readonly #stop = new AbortController();
  readonly #others: ResyncAnnouncer;
  #kicked = false;
  #wake: () => void = () => {};
  #running: RunningSync | null = null;
  #pending: "resync" | "recover" | null = null;
  #idle = false;
  readonly #retry: ResyncRetry;
  /** The first window of the pass that no copy could give. */
  #unreadable: SectorRange | null = null;
  #ended: Promise<void> = Promise.resolve();

  constructor(context: NodeContext) {
    this.#context = context;
    this.#retry = new ResyncRetry(context);
    this.#others = new ResyncAnnouncer(context, this.#stop.signal);
  }

  start(): void {
    this.#ended = this.#loop();
  }

  /** Look again whether there is work. */
  kick(): void {
    this.#kicked = true;
    this.#idle = false;
    this.#wake();
  }

  /** The window under way is finished, nothing new begins. Resolves when the runner is at rest. */
  stop(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    return this.#ended;
  }

  get running(): RunningSync | null {
    return this.#running;
  }

  /** Waits for the `resync` lock, with this to do. */
  get pending(): "resync" | "recover" | null {
    return this.#pending;
  }

  /** It has looked, and there was nothing to do (or nothing that can be done now). */
  get isIdle(): boolean {
    return this.#idle;
  }

  async #loop(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#turn();
      } catch (error) {
        if (!(error instanceof MdError)) throw error;
        this.#context.env.log.warn({ evt: "resync-error", err: error.message }, "the resync is tried again");
        await sleep(this.#context.env.clock, RETRY_MS, this.#stop.signal);
        this.#kicked = true;
      }
    }
  }

  async #turn(): Promise<void> {
    this.#kicked = false;
    const plan = await this.#plan();
    const waitMs = plan.type === "nothing" ? Number.POSITIVE_INFINITY : await this.#retry.waitMs(plan);
    if (waitMs > 0) {
      await this.#rest(waitMs);
      return;
    }
    this.#pending = plan.type === "resync" ? "resync" : "recover";
    const { status } = await this.#context.resyncLock.convert("EX", { signal: this.#stop.signal });
    this.#pending = null;
    if (status !== "granted") return;
    try {
      await this.#workOff();
      await this.#others.end();
    } finally {
      this.#running = null;
      await this.#context.resyncLock.convert("NL");
    }
  }

  async #workOff(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      // While we waited for the lock, whoever had it may have done all of it.
      const plan = await this.#plan();
      if (plan.type === "nothing") return;
      await this.#others.start();
      if (plan.type === "activate") {
        await activateByPlan(this.#context);
        continue;
      }
      // The members may have changed since; from here on the pass is about these very devices.
      const copying = plan.type === "recover" ? await beginFilling(this.#context, this.#stop.signal) : plan;
      if (copying === null) continue;
      const outcome = await this.#guardedPass(copying);
      if (outcome === "failed") await sleep(this.#context.env.clock, RETRY_MS, this.#stop.signal);
      if (outcome === "finished" && copying.type === "recover") await finishRecovery(this.#context, copying.targets);
      // What is equal now need not stay marked until the lazy clearing comes to it.
      if (outcome === "finished") await this.#context.engine.send({ type: "flushBitmap" });
      if (outcome === "incomplete") {
        await this.#giveUpForNow(copying);
        return;
      }
      this.#report(copying, outcome);
    }
  }

  /** What is left cannot be read from any copy. Perhaps it can be later, or is written anew. */
  async #giveUpForNow(plan: Copying): Promise<void> {
    const { ms, needed } = await this.#retry.gaveUp(plan);
    const { lo, hi } = this.#unreadable ?? { lo: 0, hi: 0 };
    const what = plan.type === "resync" ? `resync finished with ${needed} chunks left` : "recovery cannot complete";
    const why = `sectors in [${lo}, ${hi}) cannot be read from any copy`;
    this.#context.history.add("warn", "RESYNC", `${what}: ${why}; tried again in ${Math.round(ms / 1000)} s`, {
      action: plan.type,
      outcome: "incomplete",
      sectors: this.#running?.progress.done ?? 0,
      needed,
      lo,
      hi,
    });
    this.#running = null;
  }

  async #rest(waitMs: number): Promise<void> {
    await this.#others.rest();
    if (this.#kicked || this.#stop.signal.aborted) return;
    this.#idle = true;
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    const { clock } = this.#context.env;
    const timer = waitMs === Number.POSITIVE_INFINITY ? null : clock.after(waitMs, () => this.#wake());
    await woken;
    timer?.cancel();
    this.#wake = () => {};
  }

  async #plan(): Promise<RecoveryPlan> {
    const { engine, array } = this.#context;
    const { range } = await engine.send({ type: "scan", kind: "resync", from: sector(0) });
    return planRecovery({ raidDisks: array.raidDisks, members: array.members, needed: range !== null });
  }

  /** Whatever goes wrong: nothing of ours may stay suspended on the other nodes. */
  async #guardedPass(plan: Copying): Promise<PassOutcome> {
    try {
      return await this.#pass(plan);
    } catch (error) {
      await this.#others.withdraw();
      throw error;
    }
  }

  async #pass(plan: Copying): Promise<PassOutcome> {
    const { env } = this.#context;
    this.#running = { action: plan.type, progress: startProgress(env.clock.now(), await this.#total(plan)) };
    this.#unreadable = null;
    const membersBefore = membersNow(this.#context);
    let state = idleResync;
    let checkpointAt = env.clock.now() + CHECKPOINT_MS;
    // A member that is being filled counts as filled up to a place: behind a gap nothing can be written down.
    const start = plan.type === "recover" ? plan.from : sector(0);
    const queue: ResyncEvent[] = [{ type: "start", from: start, skipsUnreadable: plan.type === "resync" }];
    for (;;) {
      const event = queue.shift();
      if (event === undefined) throw new MdError("E_INTERNAL", "a resync pass stopped in the middle");
      const [stopped] = this.#stop.signal.aborted ? stepResync(state, { type: "stop" }) : [state];
      const [next, effects] = stepResync(stopped, event);
      state = next;
      for (const effect of effects) {
        if (effect.type === "ended") return effect.outcome;
        if (effect.type !== "advance") {
          queue.push(await this.#perform(plan, effect, membersBefore));
          continue;
        }
        await this.#advance(plan, effect);
        if (plan.type === "recover" && env.clock.now() >= checkpointAt) {
          await checkpointRecovery(this.#context, plan.targets, effect.to);
          checkpointAt = env.clock.now() + CHECKPOINT_MS;
        }
      }
    }
  }

  async #perform(
    plan: Copying,
    effect: Exclude<ResyncEffect, { type: "ended" | "advance" }>,
    membersBefore: string,
  ): Promise<ResyncEvent> {
    const { engine, env, array } = this.#context;
    const kind: CopyKind = plan.type;
    switch (effect.type) {
      case "scan": {
        // What a member lacks is known from where the pass began to the end: no gap, and no answer instead of it.
        if (plan.type === "recover") return { type: "scanned", range: nextToFill(plan, array, effect.from) };
        const { range } = await engine.send({ type: "scan", kind, from: effect.from });
        return { type: "scanned", range };
      }
      case "announce":
        await this.#others.show(effect.window);
        return { type: "announced" };
      case "withdraw":
        await this.#others.withdraw();
        return { type: "withdrawn" };
      case "copy": {
        const began = env.clock.now();
        const { sectors, failed } = await engine.send({ type: "copy", kind, range: effect.window });
        const outcome = this.#isLost(plan, !failed && sectors === 0)
          ? "failed"
          : failed
            ? this.#whyFailed(membersBefore)
            : "copied";
        if (outcome === "unreadable") this.#unreadable ??= effect.window;
        return { type: "copied", sectors, outcome, ms: env.clock.now() - began };
      }
      default:
        return unreachable(effect);
    }
  }

  /** Is any device that this pass fills no longer there to be filled, or did the data plane find none? */
  #isLost(plan: Copying, nothingCopied: boolean): boolean {
    if (plan.type === "resync") return false;
    const { array } = this.#context;
    const isThere = plan.targets.every((target) => isFilling(this.#context, array, target));
    return !isThere || nothingCopied;
  }

  #whyFailed(membersBefore: string): CopyOutcome {
    const now = membersNow(this.#context);
    return now === membersBefore && !now.includes("blocked") ? "unreadable" : "failed";
  }

  async #advance(plan: Copying, { to, copied, ms }: Extract<ResyncEffect, { type: "advance" }>): Promise<void> {
    const { env, members, array, speedLimit } = this.#context;
    if (this.#running !== null) {
      this.#running = { ...this.#running, progress: addProgress(this.#running.progress, env.clock.now(), copied) };
    }
    if (plan.type === "recover") {
      for (const target of plan.targets) await members.recoveredTo(array, target, to);
    }
    const beganAt = env.clock.now() - ms;
    if (speedLimit.earlyMs(copied, ms) <= 0) return;
    // Nobody should wait for a window in which nothing happens.
    await this.#others.withdraw();
    await speedLimit.wait(copied, beganAt, this.#stop.signal);
  }

  async #total(plan: Copying): Promise<number> {
    const { engine, array } = this.#context;
    if (plan.type === "recover") return sectorsToFill(plan, array);
    const { needed } = await engine.send({ type: "queryBitmap" });
    return Math.min(needed * array.bitmap.layout.chunkSectors, array.size);
  }

  #report(plan: Copying, outcome: PassOutcome): void {
    const { history, array } = this.#context;
    const done = this.#running?.progress.done ?? 0;
    const text = `${plan.type} ${outcome}, ${Math.round(done / 2048)} MiB copied${isDegraded(array) ? ", still degraded" : ""}`;
    history.add(outcome === "failed" ? "warn" : "info", outcome === "finished" ? "FINISH" : "RESYNC", text, {
      action: plan.type,
      outcome,
      sectors: done,
    });
    this.#running = null;
  }
}
