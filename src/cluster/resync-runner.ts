import { isDegraded } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import { sector } from "../base/units.ts";
import { sleep } from "../env/clock.ts";
import { planRecovery, type RecoveryPlan } from "../resync/recovery-plan.ts";
import type { PassOutcome } from "../resync/resync-machine.ts";
import type { ResyncProgress } from "../resync/resync-progress.ts";
import type { ScrubAction } from "../resync/scrub.ts";
import type { SyncTurn } from "../resync/sync-turns.ts";
import { activateByPlan } from "./device-change.ts";
import { beginFilling } from "./filling.ts";
import { type NodeContext, shortName } from "./node-context.ts";
import type { Copying, Scrubbing } from "./pass-work.ts";
import { ReadErrors } from "./read-errors.ts";
import { finishRecovery } from "./recovery-metadata.ts";
import { ResyncAnnouncer } from "./resync-announcer.ts";
import { type PassSignals, ResyncPass } from "./resync-pass.ts";
import { ResyncRetry } from "./resync-retry.ts";
import { endScrub } from "./scrub-command.ts";
import { ruleOf } from "./scrub-window.ts";

const RETRY_MS = 1000;

type SyncAction = "resync" | "recover" | ScrubAction;

export interface RunningSync {
  readonly action: SyncAction;
  readonly progress: ResyncProgress;
}

/**
 * The one who copies on this node. Whoever believes that there is work queues for the cluster's `resync` lock, decides
 * anew when it is granted, copies window by window behind RESYNCING, and gives the lock back (md-cluster, 13).
 */
export class ResyncRunner {
  readonly readErrors: ReadErrors;
  readonly #context: NodeContext;
  readonly #stop = new AbortController();
  readonly #others: ResyncAnnouncer;
  #kicked = false;
  #wake: () => void = () => {};
  #pass: ResyncPass | null = null;
  #pending: SyncAction | null = null;
  #idle = false;
  #frozen = false;
  #interrupt = new AbortController();
  /** A part of a check has ended, and the next one is about to begin. */
  #between: RunningSync | null = null;
  #turnWait: SyncTurn | null = null;
  /** What is to be done when it ends. */
  #delayed: SyncAction = "resync";
  readonly #retry: ResyncRetry;
  #ended: Promise<void> = Promise.resolve();

  constructor(context: NodeContext) {
    this.#context = context;
    this.readErrors = new ReadErrors(context);
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

  /** Ends what is under way as soon as its window is done. `frozen`: nothing begins until it is called without. */
  interrupt(frozen: boolean): void {
    this.#frozen = frozen;
    this.#interrupt.abort();
    this.#interrupt = new AbortController();
    this.#retry.forget();
    this.kick();
  }

  get isFrozen(): boolean {
    return this.#frozen;
  }

  get running(): RunningSync | null {
    return this.#pass ?? this.#between;
  }

  /** Waits for the `resync` lock, with this to do. */
  get pending(): SyncAction | null {
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
    const signals = this.#signals;
    const plan = await this.#plan();
    const waitMs = plan.type === "nothing" ? Number.POSITIVE_INFINITY : await this.#retry.waitMs(plan);
    const mayCopy = waitMs <= 0;
    if (!mayCopy) this.#between = null;
    if (!mayCopy && !this.readErrors.hasWork) {
      await this.#rest(waitMs);
      return;
    }
    if (mayCopy) this.#pending = plan.type === "activate" || plan.type === "nothing" ? "recover" : plan.type;
    if (this.#pending !== this.#between?.action) this.#between = null;
    if (mayCopy && plan.type === "recover")
      await this.#context.adderFirst.wait(this.#context.env.clock, this.#stop.signal);
    const { status } = await this.#context.resyncLock.convert("EX", { signal: this.#stop.signal });
    this.#delayed = this.#pending ?? "resync";
    this.#pending = null;
    if (status !== "granted") return;
    let pauseMs = 0;
    try {
      await this.readErrors.workOff(this.#others, this.#stop.signal);
      if (mayCopy) pauseMs = await this.#whenDisksAreFree(signals, () => this.#workOff());
      await this.#others.end();
    } finally {
      this.#pass = null;
      await this.#context.resyncLock.convert("NL");
    }
    if (pauseMs > 0 && !this.#kicked) await sleep(this.#context.env.clock, pauseMs, this.#stop.signal);
  }

  /** Of the arrays of this node that share a disk only one is copied at a time. */
  async #whenDisksAreFree({ stop, interrupt }: PassSignals, work: () => Promise<number>): Promise<number> {
    const { deps, array, devices } = this.#context;
    const disks = array.members.flatMap(({ number }) => devices.get(number)?.path ?? []).map(deps.diskOf);
    const turn = deps.syncTurns.ask(shortName(this.#context), disks);
    try {
      if (turn.waitsFor !== null) {
        this.#turnWait = turn;
        await turn.wait(AbortSignal.any([stop, interrupt]));
        // What an operator has ended meanwhile is planned anew.
        if (turn.waitsFor !== null) return 0;
      }
      this.#turnWait = null;
      return await work();
    } finally {
      this.#turnWait = null;
      turn.end();
    }
  }

  /** What waits for `delayedBy`. */
  get delayed(): SyncAction {
    return this.#delayed;
  }

  /** The array of this node that is copied first, since it shares a disk; null: none. */
  get delayedBy(): string | null {
    return this.#turnWait?.waitsFor ?? null;
  }

  /** Milliseconds until the next look that must not come earlier. */
  async #workOff(): Promise<number> {
    while (!this.#stop.signal.aborted) {
      // An interrupt that comes after the plan is one of what was planned.
      const signals = this.#signals;
      // While we waited for the lock, whoever had it may have done all of it.
      const plan = await this.#plan();
      if (plan.type === "nothing") return 0;
      await this.#others.start();
      if (signals.interrupt.aborted) continue;
      if (plan.type === "activate") {
        await activateByPlan(this.#context);
        continue;
      }
      if (plan.type === "check" || plan.type === "repair") {
        const { current } = this.#context.scrub;
        if (current === null) continue;
        return await this.#scrub({ type: current.action, report: current }, signals);
      }
      // The members may have changed since; from here on the pass is about these very devices.
      const copying = plan.type === "recover" ? await beginFilling(this.#context, this.#stop.signal) : plan;
      if (copying === null) continue;
      this.#pass = await ResyncPass.plan(this.#context, this.#others, signals, copying);
      const outcome = await this.#pass.run();
      if (outcome === "failed") await sleep(this.#context.env.clock, RETRY_MS, this.#stop.signal);
      if (outcome === "finished" && copying.type === "recover") await finishRecovery(this.#context, copying.targets);
      // What is equal now need not stay marked until the lazy clearing comes to it.
      if (outcome === "finished") await this.#context.engine.send({ type: "flushBitmap" });
      if (copying.type === "resync") this.#context.safeMode.moved();
      if (outcome === "incomplete") {
        await this.#giveUpForNow(copying);
        return 0;
      }
      this.#report(copying, outcome);
    }
    return 0;
  }

  /** As they are now: each interrupt ends what was begun with those before it. */
  get #signals(): PassSignals {
    return { stop: this.#stop.signal, interrupt: this.#interrupt.signal };
  }

  /** A part of it; between two parts the `resync` lock is anybody's. */
  async #scrub(scrubbing: Scrubbing, signals: PassSignals): Promise<number> {
    const { scrub } = this.#context;
    const isThere = ruleOf(this.#context, scrubbing.report) !== null;
    if (!isThere) {
      endScrub(this.#context, "the member that was named as the source is not in sync any more");
      return 0;
    }
    this.#between = null;
    const pass = await ResyncPass.plan(this.#context, this.#others, signals, scrubbing);
    this.#pass = pass;
    const outcome = await pass.run().catch(neverPossible);
    // Meanwhile it may have been ended, and another one begun.
    if (scrub.current?.id !== scrubbing.report.id) return 0;
    if (outcome === "finished" || outcome instanceof MdError) {
      endScrub(this.#context, outcome === "finished" ? null : outcome.message);
      return 0;
    }
    this.#between = outcome === "stopped" ? { action: pass.action, progress: pass.progress } : null;
    return outcome === "failed" ? RETRY_MS : 0;
  }

  /** What is left cannot be read from any copy. Perhaps it can be later, or is written anew. */
  async #giveUpForNow(plan: Copying): Promise<void> {
    const { ms, needed } = await this.#retry.gaveUp(plan);
    const { lo, hi } = this.#pass?.unreadable ?? { lo: 0, hi: 0 };
    endScrub(this.#context, "some sectors cannot be resynced");
    const what = plan.type === "resync" ? `resync finished with ${needed} chunks left` : "recovery cannot complete";
    const why = `sectors in [${lo}, ${hi}) cannot be read from any copy`;
    this.#context.history.add("warn", "RESYNC", `${what}: ${why}; tried again in ${Math.round(ms / 1000)} s`, {
      action: plan.type,
      outcome: "incomplete",
      sectors: this.#pass?.progress.done ?? 0,
      needed,
      lo,
      hi,
    });
    this.#pass = null;
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
    const { engine, array, scrub, node, remoteSyncs, safeMode } = this.#context;
    if (this.#frozen || !safeMode.mayCopy) return { type: "nothing" };
    const { range } = await engine.send({ type: "scan", kind: "resync", from: sector(0) });
    const isQuiet = node.balance === "balanced" && remoteSyncs.size === 0;
    const wanted = isQuiet ? (scrub.current?.action ?? null) : null;
    const { raidDisks, members } = array;
    return planRecovery({ raidDisks, members, needed: range !== null, scrub: wanted });
  }

  #report(plan: Copying, outcome: PassOutcome): void {
    const { history, array } = this.#context;
    const done = this.#pass?.progress.done ?? 0;
    const text = `${plan.type} ${outcome}, ${Math.round(done / 2048)} MiB copied${isDegraded(array) ? ", still degraded" : ""}`;
    history.add(outcome === "failed" ? "warn" : "info", outcome === "finished" ? "FINISH" : "RESYNC", text, {
      action: plan.type,
      outcome,
      sectors: done,
    });
    this.#pass = null;
  }
}

/** What is refused for what it asks is refused each time: no reason to try it again. */
function neverPossible(error: unknown): MdError {
  if (error instanceof MdError && error.code === "E_VALUE") return error;
  throw error;
}
