import { unreachable } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { type Sector, type SectorRange, sector } from "../base/units.ts";
import { personalityOf } from "../engine/personalities.ts";
import {
  idleResync,
  type PassOrder,
  type PassOutcome,
  type ResyncEffect,
  type ResyncEvent,
  stepResync,
} from "../resync/resync-machine.ts";
import { addProgress, type ResyncProgress, startProgress } from "../resync/resync-progress.ts";
import { largestWindow, mostUncleared, passGrain } from "../resync/window-size.ts";
import { BitClearing } from "./bit-clearing.ts";
import { memberFilledTo } from "./fill-order.ts";
import type { NodeContext } from "./node-context.ts";
import { Pace } from "./pace.ts";
import { type Copying, isScrub, PassWork } from "./pass-work.ts";
import { checkpointRecovery } from "./recovery-metadata.ts";
import type { ResyncAnnouncer } from "./resync-announcer.ts";

/** How often the place that a recovery has reached is written down, at least, and at most. */
const CHECKPOINT_MS = 30_000;
const NO_CHECKPOINT_MS = 500;
/** Without a bitmap only the superblocks can tell how far a resync is, as long as nothing is written. */
const SUPERBLOCK_SHARE = 1 / 16;

/**
 * Milliseconds that a check may go on before others have their turn with the `resync` lock: what is to be resynced or
 * filled anywhere comes first.
 */
const SLICE_MS = 1000;

/** Parts that the data plane has at a time, so that it need not wait for us. What is compared is judged before it goes on. */
const AHEAD = 3;
/** A copy that is too quick by less goes on: its window is not worth another announcement. */
const LEAST_REST_MS = 20;
/** So long who joins may wait for one that is alone and rests. */
const LONGEST_OWN_REST_MS = 200;

type Performed = Exclude<ResyncEffect, { type: "ended" | "advance" | "copy" }>;
type Copied = Omit<Extract<ResyncEvent, { type: "copied" }>, "rest">;

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
  readonly #work: PassWork;
  readonly #copying: Copying;
  readonly #total: number;
  /** See `passGrain`. */
  readonly #grain: number;
  readonly #widest: number;
  #progress: ResyncProgress;
  /** The first part that no copy could give. */
  #unreadable: SectorRange | null = null;
  /** Array sectors; of a recovery its position (`fillPosition`). */
  #reached: Sector;
  #writtenDown: { readonly at: number; readonly done: number };
  /** Sectors that were done when the superblocks were last to say so. */
  #said = 0;
  /** Null: bits are none of its business. */
  readonly #bits: BitClearing | null;
  /** Up to here parts have room in it. */
  #roomTo = 0;
  /** When the last part has ended. */
  #endedAt = 0;
  readonly #pace: Pace;

  static async plan(
    context: NodeContext,
    others: ResyncAnnouncer,
    signals: PassSignals,
    copying: Copying,
  ): Promise<ResyncPass> {
    const work = new PassWork(context, copying);
    return new ResyncPass(context, others, signals, work, await work.total());
  }

  private constructor(
    context: NodeContext,
    others: ResyncAnnouncer,
    { stop, interrupt }: PassSignals,
    work: PassWork,
    total: number,
  ) {
    this.#context = context;
    this.#others = others;
    this.#stop = stop;
    this.#interrupt = interrupt;
    const { copying } = work;
    this.#work = work;
    this.#copying = copying;
    this.#total = total;
    // Of others a place is written down, not a bit.
    const chunkSectors = copying.type === "resync" ? context.array.bitmap.layout.chunkSectors : 0;
    this.#grain = passGrain(total, chunkSectors);
    const most = mostUncleared(total, chunkSectors);
    this.#widest = Math.min(largestWindow, isScrub(copying) ? this.#grain : most);
    this.#bits = copying.type === "resync" ? new BitClearing(context.engine, this.#grain, most) : null;
    const now = context.env.clock.now();
    this.#begunAt = now;
    this.#progress = isScrub(copying) ? context.scrub.progress : startProgress(now, total);
    this.#writtenDown = { at: now, done: 0 };
    this.#pace = new Pace(context.speedLimit, context.env.clock);
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
    const parts: Promise<Copied>[] = [];
    try {
      return await this.#steps(parts);
    } finally {
      // Of what has ended otherwise: nothing is withdrawn from under a copy.
      await Promise.allSettled(parts);
    }
  }

  /** `parts`: at work, in order. */
  async #steps(parts: Promise<Copied>[]): Promise<PassOutcome> {
    let state = idleResync;
    let next: ResyncEvent | null = { type: "start", order: this.#order, alone: this.#isAlone };
    for (;;) {
      const event: ResyncEvent | null = next ?? (await this.#nextCopied(parts));
      if (event === null) throw new MdError("E_INTERNAL", "a resync pass stopped in the middle");
      next = null;
      if (this.#isOver) [state] = stepResync(state, { type: "stop" });
      const [told] = stepResync(state, { type: "company", alone: this.#isAlone });
      const [after, effects] = stepResync(told, event);
      state = after;
      // The data plane first: it has nothing else to do meanwhile.
      for (const effect of effects) {
        if (effect.type !== "copy") continue;
        const part = this.#copyPart(effect.part);
        // Heard of in its turn.
        part.catch(() => {});
        parts.push(part);
      }
      for (const effect of effects) {
        if (effect.type === "ended") return effect.outcome;
        if (effect.type === "advance") await this.#advance(effect);
        else if (effect.type !== "copy") next = await this.#perform(effect);
      }
    }
  }

  get #order(): PassOrder {
    const isCompared = isScrub(this.#copying);
    return {
      from: this.#reached,
      end: this.#work.end,
      longest: this.#grain,
      widest: this.#widest,
      // A member that is being filled counts as filled up to a place: behind a gap nothing can be written down.
      skipsUnreadable: this.action !== "recover",
      grid: this.#work.grid,
      ahead: isCompared ? 1 : AHEAD,
    };
  }

  /** Nobody else uses the array, for all we know. */
  get #isAlone(): boolean {
    return this.#context.node.members.length === 1;
  }

  get #isOver(): boolean {
    if (this.#stop.aborted || this.#interrupt.aborted) return true;
    return isScrub(this.#copying) && this.#context.env.clock.now() - this.#begunAt >= SLICE_MS;
  }

  async #perform(effect: Performed): Promise<ResyncEvent> {
    switch (effect.type) {
      case "scan":
        return { type: "scanned", range: await this.#work.scan(effect.from) };
      case "announce":
        return { type: "announced", ms: await this.#announce(effect.window) };
      case "withdraw":
        await this.#others.withdraw();
        return { type: "withdrawn" };
      case "rest":
        return { type: "rested", withdrawn: await this.#rest() };
      default:
        return unreachable(effect);
    }
  }

  /** How long it took from the first node that may hold its writes. */
  async #announce(window: SectorRange): Promise<number> {
    const sectors = window.hi - window.lo;
    const { clock } = this.#context.env;
    if (this.#bits !== null && !this.#isAlone) {
      // Nobody should wait for bits behind a window of ours.
      if (!this.#bits.hasRoom(sectors)) await this.#others.withdraw();
      await this.#bits.room(sectors);
      this.#roomTo = window.hi;
    }
    const began = clock.now();
    await this.#others.show(this.#work.arrayRange(window), this.action === "check");
    return clock.now() - began;
  }

  async #nextCopied(parts: Promise<Copied>[]): Promise<ResyncEvent | null> {
    const copied = await parts[0];
    if (copied === undefined) return null;
    parts.shift();
    return { ...copied, rest: this.#mustRest(copied.sectors) };
  }

  async #copyPart(part: SectorRange): Promise<Copied> {
    const { clock } = this.#context.env;
    const askedAt = clock.now();
    if (part.hi > this.#roomTo) await this.#bits?.room(part.hi - part.lo);
    // Also of one that was refused: others wait for the room that it had.
    const over = (): void => this.#bits?.copied(part.hi - part.lo);
    const { sectors, outcome } = await this.#work.copy(part).finally(over);
    if (outcome === "unreadable") this.#unreadable ??= this.#work.arrayRange(part);
    const ms = clock.now() - Math.max(askedAt, this.#endedAt);
    this.#endedAt = clock.now();
    return { type: "copied", sectors, outcome, ms };
  }

  /** Everything that is to be copied is, below `#reached`: so far members are filled, in sectors from the start of data. */
  get #filledTo(): Sector {
    return memberFilledTo(personalityOf(this.#context.array), this.#reached);
  }

  async #advance({ to, copied, ms }: Extract<ResyncEffect, { type: "advance" }>): Promise<void> {
    const { env, members, array } = this.#context;
    const now = env.clock.now();
    this.#reached = to;
    if (isScrub(this.#copying)) this.#progress = this.#context.scrub.progress;
    else this.#progress = addProgress(this.#progress, now, copied);
    this.#pace.copied(copied, ms);
    if (this.action === "resync") this.#sayHowFar();
    if (this.#copying.type === "recover") {
      for (const target of this.#copying.targets) await members.recoveredTo(array, target, this.#filledTo);
    }
  }

  /** Is there something that must wait for what is in flight, when `sectors` more are copied? */
  #mustRest(sectors: number): boolean {
    return this.#isDue(sectors) || this.#pace.earlyMs(sectors) >= LEAST_REST_MS;
  }

  /** Nothing of ours is in flight. True: nor announced, so that nobody waits for us. */
  async #rest(): Promise<boolean> {
    const isDue = this.#isDue(0);
    const early = this.#pace.earlyMs(0);
    const stays = !isDue && this.#isAlone && early <= LONGEST_OWN_REST_MS;
    if (isDue) await this.#writeDown();
    if (early > 0 && !stays) await this.#others.pause();
    await this.#pace.rest(this.#stop, this.#interrupt);
    if (!stays) await this.#others.withdraw();
    return !stays;
  }

  /** Is the place to be written down? */
  #isDue(more: number): boolean {
    if (this.action !== "recover") return false;
    const passed = this.#context.env.clock.now() - this.#writtenDown.at;
    const isWorthIt = this.#progress.done + more - this.#writtenDown.done >= this.#grain;
    return passed >= CHECKPOINT_MS || (isWorthIt && passed >= NO_CHECKPOINT_MS);
  }

  async #writeDown(): Promise<void> {
    this.#bits?.clear();
    if (this.#copying.type !== "recover") return;
    this.#writtenDown = { at: this.#context.env.clock.now(), done: this.#progress.done };
    // Nobody should wait in a window until superblocks are written.
    await this.#others.withdraw();
    await checkpointRecovery(this.#context, this.#copying.targets, this.#filledTo);
  }

  /** Of a resync without a bitmap: it has come a good part further. */
  #sayHowFar(): void {
    const { array, safeMode } = this.#context;
    if (array.bitmap.kind !== "none" || this.#progress.done - this.#said < this.#total * SUPERBLOCK_SHARE) return;
    this.#said = this.#progress.done;
    safeMode.moved();
  }
}

/** `stop`: this node leaves. `interrupt`: the pass is not wanted any more; the window under way ends first. */
export interface PassSignals {
  readonly stop: AbortSignal;
  readonly interrupt: AbortSignal;
}
