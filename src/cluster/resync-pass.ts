import { unreachable } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { type Sector, type SectorRange, sector, sectorRange } from "../base/units.ts";
import { CHECK_SECTORS } from "../engine/engine-protocol.ts";
import { personalityOf } from "../engine/personalities.ts";
import {
  type CopyOutcome,
  idleResync,
  type PassOutcome,
  type ResyncEffect,
  type ResyncEvent,
  stepResync,
} from "../resync/resync-machine.ts";
import { addProgress, type ResyncProgress, startProgress } from "../resync/resync-progress.ts";
import type { ScrubAction, ScrubReport, WindowFindings } from "../resync/scrub.ts";
import { type Filling, isFilling, nextToFill, sectorsToFill } from "./filling.ts";
import type { NodeContext } from "./node-context.ts";
import { checkpointRecovery } from "./recovery-metadata.ts";
import type { ResyncAnnouncer } from "./resync-announcer.ts";
import { membersNow } from "./resync-retry.ts";
import { scrubWindow } from "./scrub-window.ts";

/** How often the place that a recovery has reached is written down, at least, and at most. */
const CHECKPOINT_MS = 30_000;
const NO_CHECKPOINT_MS = 500;
/** And of all its work, how much is done between two times: who takes over repeats no more than this, and a window. */
const CHECKPOINT_SHARE = 1 / 400;
/** Without a bitmap only the superblocks can tell how far a resync is, as long as nothing is written. */
const SUPERBLOCK_SHARE = 1 / 16;

/**
 * Milliseconds that a check may go on before others have their turn with the `resync` lock: what is to be resynced or
 * filled anywhere comes first.
 */
const SLICE_MS = 1000;

/** A part of a check or repair: from where it is now on. */
export interface Scrubbing {
  readonly type: ScrubAction;
  readonly report: ScrubReport;
}

/** What a pass is about: chunks with a bit, all of the members that are being filled, or all copies of everything. */
export type Copying = { readonly type: "resync" } | Filling | Scrubbing;

type Performed = Exclude<ResyncEffect, { type: "ended" | "advance" }>;

/**
 * One pass: the shell of `stepResync` over the data plane and the messages. How far it is goes to the members every so
 * often (a resync: bits are cleared; a recovery: superblocks), so that whoever takes over goes on there.
 */
export class ResyncPass {
  readonly #context: NodeContext;
  readonly #others: ResyncAnnouncer;
  readonly #stop: AbortSignal;
  /** An operator wants it to end. */
  readonly #interrupt: AbortSignal;
  readonly #begunAt: number;
  readonly #copying: Copying;
  readonly #total: number;
  readonly #membersBefore: string;
  #progress: ResyncProgress;
  /** The first window that no copy could give. */
  #unreadable: SectorRange | null = null;
  /** Array sectors. */
  #reached: Sector;
  #writtenDown: { readonly at: number; readonly done: number };
  #isFlushing = false;
  /** Sectors that were done when the superblocks were last to say so. */
  #said = 0;

  static async plan(
    context: NodeContext,
    others: ResyncAnnouncer,
    signals: PassSignals,
    copying: Copying,
  ): Promise<ResyncPass> {
    return new ResyncPass(context, others, signals, copying, await totalOf(context, copying));
  }

  private constructor(
    context: NodeContext,
    others: ResyncAnnouncer,
    { stop, interrupt }: PassSignals,
    copying: Copying,
    total: number,
  ) {
    this.#context = context;
    this.#others = others;
    this.#stop = stop;
    this.#interrupt = interrupt;
    this.#copying = copying;
    this.#total = total;
    this.#membersBefore = membersNow(context);
    const now = context.env.clock.now();
    this.#begunAt = now;
    this.#progress = isScrub(copying) ? context.scrub.progress : startProgress(now, total);
    this.#writtenDown = { at: now, done: 0 };
    this.#reached = isScrub(copying) ? copying.report.reached : copying.type === "recover" ? copying.from : sector(0);
  }

  get action(): Copying["type"] {
    return this.#copying.type;
  }

  get progress(): ResyncProgress {
    return this.#progress;
  }

  get unreadable(): SectorRange | null {
    return this.#unreadable;
  }

  /** Whatever goes wrong: nothing of ours stays suspended on the other nodes. */
  async run(): Promise<PassOutcome> {
    try {
      const outcome = await this.#run();
      if (outcome === "stopped") await this.#writeDown();
      return outcome;
    } catch (error) {
      await this.#others.withdraw();
      throw error;
    }
  }

  async #run(): Promise<PassOutcome> {
    let state = idleResync;
    // A member that is being filled counts as filled up to a place: behind a gap nothing can be written down.
    const skipsUnreadable = this.action !== "recover";
    const grid = isScrub(this.#copying) ? CHECK_SECTORS : 1;
    const queue: ResyncEvent[] = [{ type: "start", from: this.#reached, total: this.#total, skipsUnreadable, grid }];
    for (;;) {
      const event = queue.shift();
      if (event === undefined) throw new MdError("E_INTERNAL", "a resync pass stopped in the middle");
      const [stopped] = this.#isOver ? stepResync(state, { type: "stop" }) : [state];
      const [next, effects] = stepResync(stopped, event);
      state = next;
      for (const effect of effects) {
        if (effect.type === "ended") return effect.outcome;
        if (effect.type === "advance") await this.#advance(effect);
        else queue.push(await this.#perform(effect));
      }
    }
  }

  get #isOver(): boolean {
    if (this.#stop.aborted || this.#interrupt.aborted) return true;
    return isScrub(this.#copying) && this.#context.env.clock.now() - this.#begunAt >= SLICE_MS;
  }

  async #perform(effect: Performed): Promise<ResyncEvent> {
    const { clock } = this.#context.env;
    const began = clock.now();
    switch (effect.type) {
      case "scan":
        return { type: "scanned", range: await this.#scan(effect.from) };
      case "announce":
        await this.#others.show(effect.window);
        return { type: "announced", ms: clock.now() - began };
      case "withdraw":
        await this.#others.withdraw();
        return { type: "withdrawn" };
      case "copy": {
        const { sectors, outcome } = await this.#copy(effect.window);
        return { type: "copied", sectors, outcome, ms: clock.now() - began };
      }
      default:
        return unreachable(effect);
    }
  }

  async #scan(from: Sector): Promise<SectorRange | null> {
    const { engine, array } = this.#context;
    // What a member lacks is known from where the pass began to the end: no gap, and no answer instead of it.
    if (this.#copying.type === "recover") return nextToFill(this.#copying, array, from);
    if (isScrub(this.#copying)) {
      const to = Math.min(this.#copying.report.to, array.size);
      return from < to ? sectorRange(from, to) : null;
    }
    return (await engine.send({ type: "scan", kind: "resync", from })).range;
  }

  async #copy(window: SectorRange): Promise<{ readonly sectors: number; readonly outcome: CopyOutcome }> {
    const { engine, scrub, env } = this.#context;
    if (isScrub(this.#copying)) {
      const findings = await scrubWindow(this.#context, this.#copying.report, window);
      if (findings === null) return { sectors: 0, outcome: "failed" };
      scrub.advance(this.#copying.report.id, window.hi, findings, env.clock.now());
      if (findings.mismatched > 0) tellMismatches(this.#context, findings);
      return { sectors: window.hi - window.lo, outcome: "copied" };
    }
    const { type: kind } = this.#copying;
    const { sectors, failed, aimless } = await engine.send({ type: "copy", kind, range: window });
    if (this.#isLost(aimless)) return { sectors, outcome: "failed" };
    const outcome = failed ? this.#whyFailed() : "copied";
    if (outcome === "unreadable") this.#unreadable ??= window;
    return { sectors, outcome };
  }

  /** Is any device that this pass fills no longer there to be filled, or did the data plane find none? */
  #isLost(aimless: boolean): boolean {
    if (this.#copying.type !== "recover") return false;
    const isThere = this.#copying.targets.every((target) => isFilling(this.#context, this.#context.array, target));
    return !isThere || aimless;
  }

  /** Everything that is to be copied is, below `#reached`: so far members are filled, in sectors from the start of data. */
  get #filledTo(): Sector {
    return personalityOf(this.#context.array).memberFilledTo(this.#reached);
  }

  #whyFailed(): CopyOutcome {
    const now = membersNow(this.#context);
    return now === this.#membersBefore && !now.includes("blocked") ? "unreadable" : "failed";
  }

  async #advance({ to, copied, ms }: Extract<ResyncEffect, { type: "advance" }>): Promise<void> {
    const { env, members, array, speedLimit } = this.#context;
    const beganAt = env.clock.now() - ms;
    this.#reached = to;
    if (isScrub(this.#copying)) this.#progress = this.#context.scrub.progress;
    else this.#progress = addProgress(this.#progress, env.clock.now(), copied);
    if (this.#copying.type === "recover") {
      for (const target of this.#copying.targets) await members.recoveredTo(array, target, this.#filledTo);
    }
    if (this.#isDue) await this.#writeDown();
    if (speedLimit.earlyMs(copied, ms) <= 0) return;
    await this.#others.pause();
    await speedLimit.wait(copied, beganAt, this.#stop, this.#interrupt);
  }

  get #isDue(): boolean {
    const { at, done } = this.#writtenDown;
    const hasShare = this.#progress.done - done >= this.#total * CHECKPOINT_SHARE;
    if (isScrub(this.#copying)) return false;
    if (this.action === "resync") return hasShare;
    const passed = this.#context.env.clock.now() - at;
    return passed >= CHECKPOINT_MS || (hasShare && passed >= NO_CHECKPOINT_MS);
  }

  async #writeDown(): Promise<void> {
    this.#writtenDown = { at: this.#context.env.clock.now(), done: this.#progress.done };
    if (isScrub(this.#copying)) return;
    if (this.#copying.type === "resync") {
      this.#clearBits();
      return;
    }
    // Nobody should wait in a window until superblocks are written.
    await this.#others.withdraw();
    await checkpointRecovery(this.#context, this.#copying.targets, this.#filledTo);
  }

  /** Beside the copying, which need not wait for it. */
  #clearBits(): void {
    const { array, safeMode } = this.#context;
    if (array.bitmap.kind === "none" && this.#progress.done - this.#said >= this.#total * SUPERBLOCK_SHARE) {
      this.#said = this.#progress.done;
      safeMode.moved();
    }
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    const done = (): void => {
      this.#isFlushing = false;
    };
    // A data plane that has ended clears nothing, and whoever copies notices.
    this.#context.engine.send({ type: "flushBitmap" }).then(done, done);
  }
}

/** `stop`: this node leaves. `interrupt`: the pass is not wanted any more; the window under way ends first. */
export interface PassSignals {
  readonly stop: AbortSignal;
  readonly interrupt: AbortSignal;
}

const isScrub = (copying: Copying): copying is Scrubbing => copying.type === "check" || copying.type === "repair";

function tellMismatches({ history, scrub }: NodeContext, { mismatched, ranges, isCut }: WindowFindings): void {
  const first = ranges[0];
  const where = first === undefined ? "" : `: [${first.lo}, ${first.hi}) ${first.kind}`;
  const action = scrub.report?.action ?? "check";
  const text = `copies differ in ${ranges.length}${isCut ? "+" : ""} ranges${where}`;
  history.add("warn", "MISMATCH", text, { action, mismatched, ranges, isCut });
}

async function totalOf({ engine, array }: NodeContext, copying: Copying): Promise<number> {
  if (copying.type === "recover") return sectorsToFill(copying, array);
  if (isScrub(copying)) return copying.report.to - copying.report.from;
  const { needed } = await engine.send({ type: "queryBitmap" });
  return Math.min(needed * array.bitmap.layout.chunkSectors, array.size);
}
