import { unreachable } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { type Sector, type SectorRange, sector } from "../base/units.ts";
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
import { type Filling, isFilling, nextToFill, sectorsToFill } from "./filling.ts";
import type { NodeContext } from "./node-context.ts";
import { checkpointRecovery } from "./recovery-metadata.ts";
import type { ResyncAnnouncer } from "./resync-announcer.ts";
import { membersNow } from "./resync-retry.ts";

/** How often the place that a recovery has reached is written down, at least, and at most. */
const CHECKPOINT_MS = 30_000;
const NO_CHECKPOINT_MS = 500;
/** And of all its work, how much is done between two times: who takes over repeats no more than this, and a window. */
const CHECKPOINT_SHARE = 1 / 400;

/** What a pass copies: chunks with a bit, or all of the members that are being filled. */
export type Copying = { readonly type: "resync" } | Filling;

type Performed = Exclude<ResyncEffect, { type: "ended" | "advance" }>;

/**
 * One pass: the shell of `stepResync` over the data plane and the messages. How far it is goes to the members every so
 * often (a resync: bits are cleared; a recovery: superblocks), so that whoever takes over goes on there.
 */
export class ResyncPass {
  readonly #context: NodeContext;
  readonly #others: ResyncAnnouncer;
  readonly #stop: AbortSignal;
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

  static async plan(
    context: NodeContext,
    others: ResyncAnnouncer,
    stop: AbortSignal,
    copying: Copying,
  ): Promise<ResyncPass> {
    return new ResyncPass(context, others, stop, copying, await totalOf(context, copying));
  }

  private constructor(
    context: NodeContext,
    others: ResyncAnnouncer,
    stop: AbortSignal,
    copying: Copying,
    total: number,
  ) {
    this.#context = context;
    this.#others = others;
    this.#stop = stop;
    this.#copying = copying;
    this.#total = total;
    this.#membersBefore = membersNow(context);
    const now = context.env.clock.now();
    this.#progress = startProgress(now, total);
    this.#writtenDown = { at: now, done: 0 };
    this.#reached = copying.type === "recover" ? copying.from : sector(0);
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
    const skipsUnreadable = this.action === "resync";
    const queue: ResyncEvent[] = [{ type: "start", from: this.#reached, total: this.#total, skipsUnreadable }];
    for (;;) {
      const event = queue.shift();
      if (event === undefined) throw new MdError("E_INTERNAL", "a resync pass stopped in the middle");
      const [stopped] = this.#stop.aborted ? stepResync(state, { type: "stop" }) : [state];
      const [next, effects] = stepResync(stopped, event);
      state = next;
      for (const effect of effects) {
        if (effect.type === "ended") return effect.outcome;
        if (effect.type === "advance") await this.#advance(effect);
        else queue.push(await this.#perform(effect));
      }
    }
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
    return (await engine.send({ type: "scan", kind: "resync", from })).range;
  }

  async #copy(window: SectorRange): Promise<{ readonly sectors: number; readonly outcome: CopyOutcome }> {
    const { engine } = this.#context;
    const { sectors, failed, aimless } = await engine.send({ type: "copy", kind: this.action, range: window });
    if (this.#isLost(aimless)) return { sectors, outcome: "failed" };
    const outcome = failed ? this.#whyFailed() : "copied";
    if (outcome === "unreadable") this.#unreadable ??= window;
    return { sectors, outcome };
  }

  /** Is any device that this pass fills no longer there to be filled, or did the data plane find none? */
  #isLost(aimless: boolean): boolean {
    if (this.#copying.type === "resync") return false;
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
    this.#progress = addProgress(this.#progress, env.clock.now(), copied);
    this.#reached = to;
    if (this.#copying.type === "recover") {
      for (const target of this.#copying.targets) await members.recoveredTo(array, target, this.#filledTo);
    }
    if (this.#isDue) await this.#writeDown();
    if (speedLimit.earlyMs(copied, ms) <= 0) return;
    await this.#others.pause();
    await speedLimit.wait(copied, beganAt, this.#stop);
  }

  get #isDue(): boolean {
    const { at, done } = this.#writtenDown;
    const hasShare = this.#progress.done - done >= this.#total * CHECKPOINT_SHARE;
    if (this.action === "resync") return hasShare;
    const passed = this.#context.env.clock.now() - at;
    return passed >= CHECKPOINT_MS || (hasShare && passed >= NO_CHECKPOINT_MS);
  }

  async #writeDown(): Promise<void> {
    this.#writtenDown = { at: this.#context.env.clock.now(), done: this.#progress.done };
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
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    const done = (): void => {
      this.#isFlushing = false;
    };
    // A data plane that has ended clears nothing, and whoever copies notices.
    this.#context.engine.send({ type: "flushBitmap" }).then(done, done);
  }
}

async function totalOf({ engine, array }: NodeContext, copying: Copying): Promise<number> {
  if (copying.type === "recover") return sectorsToFill(copying, array);
  const { needed } = await engine.send({ type: "queryBitmap" });
  return Math.min(needed * array.bitmap.layout.chunkSectors, array.size);
}
