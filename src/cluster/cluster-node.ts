import type { BitmapWish } from "../array/bitmap-kind.ts";
import { MdError } from "../base/md-error.ts";
import { type SlotNumber, slotNumber } from "../base/units.ts";
import { countBits } from "../bitmap/bitmap-merge.ts";
import type { LockspaceDump, LockspaceMember } from "../dlm/lockspace.ts";
import type { LockspaceStatus } from "../dlm/lockspace-status.ts";
import type { ArrayExport, SeatAnswer } from "../engine/engine-protocol.ts";
import type { SharedBlock } from "../engine/shared-block.ts";
import { sleep } from "../env/clock.ts";
import type { ArrayEvent, ArrayStatus } from "./array-status.ts";
import { askPeer } from "./ask-peer.ts";
import { type BitmapSwitched, planSwitch, switchBitmap } from "./bitmap-switch.ts";
import { buildStatus } from "./build-status.ts";
import type { ClusterNodeDeps } from "./cluster-deps.ts";
import { type AddedMember, type AddHow, addByCommand, type MarkChange, noMarks } from "./device-add.ts";
import { failByCommand, removeByCommand } from "./device-change.ts";
import { type Replacing, replaceByCommand } from "./device-replace.ts";
import { type Grown, type GrowRequest, growByCommand, planGrow } from "./grow-command.ts";
import { History } from "./history.ts";
import { joinArray } from "./join.ts";
import { leaveArray } from "./leave.ts";
import { handleMessage } from "./message-handler.ts";
import { rewriteMetadata } from "./metadata-update.ts";
import { isIdle, type NodeShell, startShell } from "./node-shell.ts";
import { closeAll } from "./open-members.ts";
import { probeSlots } from "./probe-slots.ts";
import type { Access } from "./safe-mode.ts";
import { endScrub, orderScrub, type ScrubRequest } from "./scrub-command.ts";
import { readSlotBits } from "./slot-bits.ts";
import { changeSlots, planSlots, type SlotsChanged } from "./slot-count.ts";

/** Why a node's life in the array ended. Only `stopped` was asked for. */
export type NodeEnd =
  | { readonly type: "stopped" }
  | { readonly type: "fenced"; readonly reason: string }
  | { readonly type: "failed"; readonly reason: string };

export interface SlotBitmap {
  readonly slot: SlotNumber;
  /** Chunks with a bit on disk. */
  readonly dirty: number;
  /** LSB first. */
  readonly bits: Uint8Array;
}

const IDLE_POLL_MS = 50;

/** For commands to a data plane that may have ended already. */
function ignoreExpected(error: unknown): void {
  if (!(error instanceof MdError)) throw error;
}

/**
 * A node's life in one clustered array: what md-cluster is to md. Joins, takes over dead nodes' slots, keeps
 * superblocks and members equal on all nodes, resyncs. The one class that a daemon and a simulator wire up.
 */
export class ClusterNode {
  /** Resolves when this node is no longer part of the array, for whatever reason. Never rejects. */
  readonly ended: Promise<NodeEnd>;
  readonly #history: History;
  readonly #shell: NodeShell;
  #resolveEnded: (end: NodeEnd) => void = () => {};
  #end: NodeEnd | null = null;
  #leaving: Promise<void> | null = null;

  /** Assembles the array on this node: resolves once it serves IO. Rejects with an MdError, everything undone. */
  static async start(deps: ClusterNodeDeps): Promise<ClusterNode> {
    const history = new History(deps.env);
    let node: ClusterNode | null = null;
    const joined = await joinArray(deps, async (message, orphaned) =>
      node === null ? null : handleMessage(node.#shell.context, message, orphaned),
    );
    node = new ClusterNode(history, (onEnd) => startShell(deps, joined, history, onEnd));
    node.#shell.connect();
    try {
      await node.#enter();
    } catch (error) {
      await node.stop();
      const end = node.#end;
      if (end === null || end.type === "stopped") throw error;
      throw new MdError("E_NOT_JOINED", "this node could not become part of the array", {
        cause: error,
        why: end.reason,
      });
    }
    return node;
  }

  private constructor(
    history: History,
    start: (onEnd: (how: "fenced" | "failed", reason: string) => void) => NodeShell,
  ) {
    this.#history = history;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#shell = start((how, reason) => this.#onEnd(how, reason));
  }

  get slot(): SlotNumber {
    return this.#shell.context.lockspace.slot;
  }

  /** Counters of the data plane. */
  get shared(): SharedBlock {
    return this.#shell.context.shared;
  }

  status(): ArrayStatus {
    const { context, runner, ring } = this.#shell;
    const lockServerReachable = this.#shell.isServerReachable();
    return buildStatus(context, runner, { ended: this.#end !== null, lockServerReachable, ring });
  }

  /** The history so far, oldest first (bounded). */
  events(): readonly ArrayEvent[] {
    return this.#history.events;
  }

  onEvent(listener: (event: ArrayEvent) => void): void {
    this.#history.onEvent(listener);
  }

  /** Members and leases. */
  lockspaceStatus(): LockspaceStatus {
    return this.#shell.context.lockspace.status();
  }

  /** An operator vouches that this member writes no more. */
  evict(member: LockspaceMember): Promise<void> {
    return this.#shell.context.lockspace.evict(member);
  }

  /** Tells the trace where the machines of the protocol stand: a recording begins here. */
  traceState(): void {
    this.#shell.traceState();
  }

  /** Every lock of every node. */
  locks(): Promise<LockspaceDump> {
    return this.#shell.context.lockspace.dump();
  }

  /** Reads all slots' bitmaps from a member (disk IO). */
  async bitmaps(): Promise<readonly SlotBitmap[]> {
    const { array, devices, env } = this.#shell.context;
    const slots: SlotBitmap[] = [];
    for (let n = 0; n < array.bitmap.slots; n++) {
      const slot = slotNumber(n);
      const { bits } = await readSlotBits(array, devices, slot, env.log);
      slots.push({ slot, dirty: countBits(bits, array.bitmap.layout.chunks), bits });
    }
    return slots;
  }

  /** Marks a member faulty on all nodes. E_LAST_COPY, E_MEMBER_NOT_FOUND. `number` is the descriptor number. */
  failMember(number: number): Promise<void> {
    return failByCommand(this.#shell.context, number);
  }

  /** Takes a faulty or spare member out. E_MEMBER_ACTIVE while it is in use, E_MEMBER_NOT_FOUND. */
  removeMember(number: number): Promise<void> {
    return removeByCommand(this.#shell.context, number);
  }

  /** Adds a device (new, or back after a failure) on all nodes: it becomes a spare or is filled at once. */
  addMember(path: string, how: AddHow = "add", marks: MarkChange = noMarks): Promise<AddedMember> {
    return addByCommand(this.#shell.context, path, how, marks);
  }

  /** A spare (null: any) is filled in the place of a member, which serves until then; see `replaceByCommand`. */
  replaceMember(number: number, spare: number | null): Promise<Replacing> {
    return replaceByCommand(this.#shell.context, number, spare);
  }

  /** Answers for this node that the device that is being added is `path`, or missing (null). E_VALUE if nobody asks. */
  confirmDevice(number: number, path: string | null): void {
    this.#shell.context.asked.confirm(number, path);
  }

  /** KiB per second that a resync or a recovery of this node may copy from now on, also the one under way; 0: no limit. */
  limitSync(kib: number): void {
    this.#shell.context.speedLimit.change(kib);
  }

  /** KiB per second that a copy need not yield to requests of clients. */
  async leastSync(kib: number): Promise<void> {
    const { engine, speedLimit } = this.#shell.context;
    await engine.send({ type: "setCopyLeast", kib });
    speedLimit.least = kib;
  }

  /** Compares all copies of a range, and makes them equal; see `orderScrub`. */
  scrub(request: ScrubRequest): void {
    const { context, runner } = this.#shell;
    orderScrub(context, request);
    if (runner.isFrozen) runner.interrupt(false);
  }

  /**
   * Ends what this node copies or compares, as soon as the window under way is done (sync_action). idle: what must be done
   * begins anew; frozen: nothing does until the next word. A check that is ended does not go on by itself.
   */
  setSyncAction(action: "idle" | "frozen"): void {
    const { context, runner } = this.#shell;
    endScrub(context, `an operator said ${action}`);
    if (runner.isFrozen !== (action === "frozen")) {
      const text = action === "frozen" ? "copies nothing until an operator says idle" : "copies again";
      context.history.add("info", "ACTION", `this node ${text}`, { action });
    }
    runner.interrupt(action === "frozen");
  }

  /**
   * readonly: no client may write, and what one node uses alone is not copied either. E_HELD while a client could.
   * read-auto: so until the first write.
   */
  async setAccess(access: Access): Promise<void> {
    const { context, runner } = this.#shell;
    await context.safeMode.setAccess(access);
    if (!context.safeMode.mayCopy) runner.interrupt(runner.isFrozen);
  }

  /** Milliseconds; see `SafeMode`. */
  setSafeModeDelay(ms: number): void {
    this.#shell.context.safeMode.delayMs = ms;
  }

  /** What a front end of this node's data plane would have: transfer memory and block size. */
  seat(): Promise<SeatAnswer> {
    return this.#shell.context.engine.send({ type: "querySeat" });
  }

  /** Serves the array through a front end; the port for TCP (0 otherwise). */
  async attach(frontEnd: ArrayExport): Promise<number> {
    const { engine } = this.#shell.context;
    const { context } = this.#shell;
    const readOnly = frontEnd.readOnly || context.safeMode.access === "readonly";
    const before = context.exported;
    // At once: from now on the array must not shrink below its clients.
    context.exported = readOnly ? "read-only" : "writable";
    try {
      return (await engine.send({ type: "attach", frontEnd: { ...frontEnd, readOnly } })).port;
    } catch (error) {
      context.exported = before;
      throw error;
    }
  }

  async detach(): Promise<void> {
    await this.#shell.context.engine.send({ type: "detach" });
    this.#shell.context.exported = "no";
  }

  /** Another size, number of raid_disks or bitmap chunk, on all nodes or on none; see `growByCommand`. */
  grow(request: GrowRequest): Promise<Grown> {
    return growByCommand(this.#shell.context, request);
  }

  /** What `grow` would do, and what would keep it from doing it as far as this node knows. */
  planGrow(request: GrowRequest): Promise<Grown> {
    return planGrow(this.#shell.context, request);
  }

  /** Another kind of bitmap, or none; see `switchBitmap`. */
  switchBitmap(wish: BitmapWish): Promise<BitmapSwitched> {
    return switchBitmap(this.#shell.context, wish);
  }

  planSwitch(wish: BitmapWish): BitmapSwitched {
    return planSwitch(this.#shell.context, wish);
  }

  /** Another number of nodes that may use the array at once; see `changeSlots`. */
  changeSlots(slots: number): Promise<SlotsChanged> {
    return changeSlots(this.#shell.context, slots);
  }

  planSlots(slots: number): SlotsChanged {
    return planSlots(this.#shell.context, slots);
  }

  /** Clears at once every bit that may be cleared. */
  async flushBitmap(): Promise<void> {
    await this.#shell.context.engine.send({ type: "flushBitmap" });
  }

  /**
   * Resolves when nothing is being resynced or recovered in the cluster as far as this node knows. E_CANCELLED by
   * `signal`, E_ARRAY_NOT_ACTIVE when the node's life ends.
   */
  async waitIdle(signal?: AbortSignal): Promise<void> {
    const { env } = this.#shell.context;
    while (!isIdle(this.#shell)) {
      if (signal?.aborted) throw new MdError("E_CANCELLED", "the wait was given up");
      if (this.#end !== null) throw new MdError("E_ARRAY_NOT_ACTIVE", "the array is no longer active on this node");
      await sleep(env.clock, IDLE_POLL_MS, signal);
    }
  }

  /** Clean leave: hands over what is left to resync. Idempotent. */
  async stop(): Promise<void> {
    if (this.#end !== null && this.#end.type !== "stopped") return;
    await this.#leave();
  }

  /** From owning our slot to serving IO. */
  async #enter(): Promise<void> {
    const { context, runner } = this.#shell;
    // First of all: every sender waits for us by now, and so may those whose slots we are about to look at.
    context.bus.listen();
    await probeSlots(context);
    await rewriteMetadata(context);
    context.dispatch({ type: "joined" });
    for (const { slot } of context.node.members) {
      if (slot !== this.slot) void askPeer(context, slot);
    }
    runner.start();
    context.safeMode.start();
    const { array } = context;
    const text = `"${array.name}" is assembled in slot ${this.slot} with ${array.members.length} members`;
    this.#history.add("info", "START", text, { slot: this.slot, events: array.events });
  }

  #onEnd(how: "fenced" | "failed", reason: string): void {
    if (this.#end !== null) return;
    if (how === "failed") {
      this.#history.add("error", "FAILED", `this node drops out of the array: ${reason}`);
      // What it knows is not enough to serve anything, nor to give anything back: the others take it for dead.
      this.#shell.context.lockspace.abandon();
      this.#shell.context.dispatch({ type: "leave" });
    }
    const what = how === "failed" ? "this node has dropped out" : "this node was declared dead";
    this.#die(new MdError("E_NOT_JOINED", `${what}: ${reason}`), { type: how, reason });
  }

  /** Nothing may be written any more, not even to leave in order; in the data plane the lease has ended already. */
  #die(error: MdError, end: NodeEnd): void {
    const { context, runner } = this.#shell;
    context.writeLease.end();
    context.bus.break(error);
    void runner.stop();
    void context.safeMode.stop();
    context.engine.send({ type: "stop" }).catch(ignoreExpected);
    context.engine.end(error);
    void closeAll(context.devices.values());
    this.#finish(end);
  }

  #leave(): Promise<void> {
    if (this.#leaving === null) {
      const { context, runner } = this.#shell;
      context.dispatch({ type: "leave" });
      this.#leaving = leaveArray(context, runner).then(() => this.#finish({ type: "stopped" }));
    }
    return this.#leaving;
  }

  #finish(end: NodeEnd): void {
    if (this.#end !== null) return;
    this.#end = end;
    this.#shell.stopPolling();
    if (end.type === "stopped") this.#history.add("info", "STOP", "this node has left the array");
    this.#resolveEnded(end);
  }
}
