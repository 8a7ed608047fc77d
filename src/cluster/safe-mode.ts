import { isClustered } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import { type Sector, sector } from "../base/units.ts";
import { Errno } from "../blockdev/errno.ts";
import { sleep } from "../env/clock.ts";
import { IN_SYNC } from "../superblock/superblock.ts";
import { rewriteActivity } from "./metadata-update.ts";
import { type NodeContext, shortName } from "./node-context.ts";

/** md's words for what the superblocks say of writes (array_state). active-idle: none came for the delay. */
export type Activity = "clean" | "write-pending" | "active" | "active-idle";

/** read-auto: the first write makes it read-write. */
export type Access = "read-write" | "read-auto" | "readonly";

const EROFS = 30;
const RETRY_MS = 1000;

/**
 * md's safe mode, for an array that one node uses alone: its superblocks say that the copies may differ before the first
 * write goes to a member, and that they are equal again when none has come for a while (safe_mode_delay). Meanwhile the
 * data plane lets no write in. Of a clustered array the superblocks always say active, as md's do: there only
 * `readonly` and `read-auto` keep writes out. Source: md.c, md_write_start, set_in_sync, md_set_readonly.
 */
export class SafeMode {
  readonly #context: NodeContext;
  readonly #stop = new AbortController();
  #access: Access;
  #activity: Activity;
  /** What superblocks say from the next update on: copies may differ anywhere. */
  #mayDiffer: boolean;
  #delayMs: number;
  #writesWait = false;
  /** Chunks have come to need a resync, or need it no more. */
  #moved = false;
  #news = new AbortController();
  /** One transition at a time. */
  #last: Promise<unknown> = Promise.resolve();
  #ended: Promise<void> = Promise.resolve();

  /** `access` and the delay as the node's options have them. The data plane holds writes as `holdsWritesAtFirst` says. */
  constructor(context: NodeContext, access: Access, delayMs: number) {
    this.#context = context;
    this.#access = access;
    this.#delayMs = delayMs;
    this.#mayDiffer = isClustered(context.array);
    this.#activity = this.#mayDiffer && access === "read-write" ? "active" : "clean";
  }

  /** What the data plane is to begin with. */
  static holdsWritesAtFirst(isShared: boolean, access: Access): boolean {
    return !isShared || access !== "read-write";
  }

  get access(): Access {
    return this.#access;
  }

  get activity(): Activity {
    return this.#activity;
  }

  /** Milliseconds; 0: once active it stays so until it is stopped. */
  get delayMs(): number {
    return this.#delayMs;
  }

  set delayMs(ms: number) {
    this.#delayMs = ms;
    this.look();
  }

  /** May this node copy, rewrite and fill? Of a clustered array it must: others count on it. */
  get mayCopy(): boolean {
    return this.#access === "read-write" || isClustered(this.#context.array);
  }

  start(): void {
    this.#ended = this.#loop();
  }

  /** Resolves when nothing is under way. Writes that wait stay where they are. */
  stop(): Promise<void> {
    this.#stop.abort();
    return this.#ended;
  }

  /** The data plane says that a write waits. */
  writesHeld(): void {
    this.#writesWait = true;
    this.look();
  }

  /** The place up to which the copies are equal may have moved. */
  moved(): void {
    if (this.#mayDiffer) return;
    this.#moved = true;
    this.look();
  }

  /** Something has changed that it goes by: the array's kind of bitmap, the delay. */
  look(): void {
    this.#news.abort();
    this.#news = new AbortController();
  }

  /**
   * What an update that is written now says (resync_offset): the copies are equal below; before the members are flushed, so
   * that it is true of what is on them. Those of a shared array say nothing.
   */
  async resyncOffset(isShared: boolean): Promise<bigint> {
    if (this.#mayDiffer || isShared) return 0n;
    const lo = await this.#syncedTo();
    // A member that lacks something says so itself, and may be the last to be written: another one must not be ahead of it.
    if (this.#context.badBlocks.isPending) return this.#context.array.resyncOffset;
    return lo === null ? IN_SYNC : BigInt(lo);
  }

  /** E_HELD while clients may write, if they are to be kept out. */
  setAccess(access: Access): Promise<void> {
    return this.#one(async () => {
      if (access === this.#access) return;
      const { engine, exported, history, array } = this.#context;
      const name = shortName(this.#context);
      if (access === "readonly" && exported === "writable") {
        throw new MdError("E_HELD", `${name} is exported for writing`, { hint: `mdctl unmap ${name}` });
      }
      if (access !== "read-write" && this.#access === "read-write") {
        if (!(await engine.send({ type: "holdWrites" })).held) {
          throw new MdError("E_HELD", `${name} is being written to`, { hint: `mdctl unmap ${name}` });
        }
        await this.#sayClean();
      }
      this.#access = access;
      history.add("info", "ACCESS", `"${array.name}" is ${access} on this node`, { access });
      this.#context.lookForWork();
      this.look();
    });
  }

  async #loop(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const news = this.#news.signal;
      try {
        if (await this.#one(() => this.#step())) continue;
      } catch (error) {
        if (!(error instanceof MdError)) throw error;
        const { log, clock } = this.#context.env;
        log.warn({ evt: "safe-mode", err: error.message }, "what the superblocks say of writes is tried again");
        await sleep(clock, RETRY_MS, this.#stop.signal);
        continue;
      }
      await this.#rest(news);
    }
  }

  /** True: there may be more to do. */
  async #step(): Promise<boolean> {
    if (this.#isOpen) return false;
    const mayOpen = this.#access === "read-write" && isClustered(this.#context.array);
    if (this.#writesWait || mayOpen) {
      await this.#letIn();
      return true;
    }
    if (!this.#moved) return false;
    const offset = await this.resyncOffset(isClustered(this.#context.array));
    if (offset !== this.#context.array.resyncOffset) await rewriteActivity(this.#context);
    this.#moved = false;
    return true;
  }

  get #isOpen(): boolean {
    return this.#activity === "active";
  }

  /** Until something happens; of an open array, or until no write has come for the delay. */
  async #rest(news: AbortSignal): Promise<void> {
    const { clock } = this.#context.env;
    const isTimed = this.#isOpen && this.#delayMs > 0 && !isClustered(this.#context.array);
    const before = this.#writes;
    if (!isTimed) await untilAborted(news, this.#stop.signal);
    else await sleep(clock, this.#delayMs, news, this.#stop.signal);
    if (!isTimed || news.aborted || this.#stop.signal.aborted || this.#writes !== before) return;
    await this.#one(() => this.#close()).catch(ignoreExpected);
  }

  get #writes(): number {
    const { shared } = this.#context;
    return shared.read("writeOps") + shared.read("zeroOps");
  }

  async #letIn(): Promise<void> {
    const { engine, history, array } = this.#context;
    this.#writesWait = false;
    if (this.#access === "readonly") {
      await engine.send({ type: "admitWrites", errno: EROFS });
      return;
    }
    if (this.#access === "read-auto") {
      this.#access = "read-write";
      history.add("info", "ACCESS", `"${array.name}" is written to: read-write from now on`, { access: this.#access });
      this.#context.lookForWork();
    }
    const errno = await this.#sayActive();
    await engine.send({ type: "admitWrites", errno });
    this.#activity = errno === 0 ? "active" : "clean";
  }

  /** An errno for those who wait if no superblock can say so. */
  async #sayActive(): Promise<number> {
    this.#mayDiffer = true;
    if (isClustered(this.#context.array)) return 0;
    this.#activity = "write-pending";
    try {
      await rewriteActivity(this.#context);
      return 0;
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      this.#mayDiffer = false;
      const { history, array } = this.#context;
      history.add("error", "ERROR", `"${array.name}" takes no writes, its superblocks cannot say so: ${error.message}`);
      return Errno.EIO;
    }
  }

  async #close(): Promise<void> {
    const { engine, array } = this.#context;
    if (isClustered(array)) return;
    this.#activity = "active-idle";
    const { held } = await engine.send({ type: "holdWrites" });
    if (held) await this.#sayClean();
    else this.#activity = "active";
  }

  /** No write is let in. As long as it cannot be written, superblocks say active still, which costs a resync at most. */
  async #sayClean(): Promise<void> {
    this.#activity = "clean";
    if (isClustered(this.#context.array)) return;
    this.#mayDiffer = false;
    this.#moved = true;
    await rewriteActivity(this.#context);
    this.#moved = false;
  }

  async #syncedTo(): Promise<Sector | null> {
    const { range } = await this.#context.engine.send({ type: "scan", kind: "resync", from: sector(0) });
    return range?.lo ?? null;
  }

  #one<T>(transition: () => Promise<T>): Promise<T> {
    const next = this.#last.then(transition);
    this.#last = next.catch(() => {});
    return next;
  }
}

/** Of any of them. */
function untilAborted(...signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      for (const signal of signals) signal.removeEventListener("abort", finish);
      resolve();
    };
    if (signals.some(({ aborted }) => aborted)) return resolve();
    for (const signal of signals) signal.addEventListener("abort", finish);
  });
}

function ignoreExpected(error: unknown): void {
  if (!(error instanceof MdError)) throw error;
}
