import { AssertionError } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { type ClusterNodeDeps, defaultClusterNodeOptions } from "../cluster/cluster-deps.ts";
import { ClusterNode } from "../cluster/cluster-node.ts";
import { MOST_SLOTS } from "../dlm/lockspace.ts";
import { joinLockspace } from "../dlm/lockspace-client.ts";
import type { MismatchRange } from "../resync/scrub.ts";
import { SyncTurns } from "../resync/sync-turns.ts";
import { ChannelWitness } from "./channel-witness.ts";
import { judgeRequests } from "./checkers/at-rest.ts";
import { visibleSuperblock } from "./disk-superblocks.ts";
import type { Direction, LinkTiming } from "./lock-link.ts";
import { observeListener, observeLockspace } from "./observed-lockspace.ts";
import type { SaidMessages } from "./said-messages.ts";
import { SIM_CLUSTER, type SimArray } from "./sim-array.ts";
import { SimBlockDevice } from "./sim-block-device.ts";
import type { ClockFaults } from "./sim-clock.ts";
import { startSimEngine } from "./sim-engine.ts";
import type { SimFrontEnd } from "./sim-front-end.ts";
import type { SimLockServer } from "./sim-lock-server.ts";
import { SimProcess } from "./sim-process.ts";
import type { World } from "./world.ts";
import type { Wrappers } from "./wrappers.ts";

export interface SimNodeOptions {
  readonly leaseMs: number;
  readonly clock: ClockFaults;
  readonly link?: LinkTiming;
  /** Sectors of the longest request. */
  readonly longest: number;
  readonly shortTransfers: number;
  readonly zeroes: boolean;
  /** KiB/s, 0 for no limit. */
  readonly syncSpeedMax: number;
  /** Milliseconds; 0: never. */
  readonly ioTimeoutMs: number;
  readonly slowIoMs: number;
  /** What all nodes say. */
  readonly messages: SaidMessages;
  readonly wrappers: Wrappers;
}

/** One host: lives of the real node code, one after another, over simulated parts. */
export class SimNode {
  readonly name: string;
  readonly #world: World;
  readonly #server: SimLockServer;
  readonly #array: SimArray;
  readonly #options: SimNodeOptions;
  #lives = 0;
  process: SimProcess | null = null;
  /** Null until it serves IO. */
  node: ClusterNode | null = null;
  #frontEnd: SimFrontEnd | null = null;
  /** Commands that its data plane has not answered. */
  #unanswered: () => number = () => 0;
  /** It was drained: nobody starts it before this time. */
  #awayUntil = 0;
  /** Its link is cut: the next life finds it so. */
  #linkDown: Direction | null = null;

  constructor(world: World, name: string, server: SimLockServer, array: SimArray, options: SimNodeOptions) {
    this.#world = world;
    this.name = name;
    this.#server = server;
    this.#array = array;
    this.#options = options;
  }

  /** What is left to do in its data plane; nothing when it rests. */
  get pending(): readonly string[] {
    const { node, process } = this;
    return node === null || process === null ? [] : judgeRequests(process.life, node.shared, this.#unanswered());
  }

  get isDown(): boolean {
    return this.process === null;
  }

  /** Where its clients put their requests; null while it serves none. */
  get port(): SimFrontEnd | null {
    return this.node === null ? null : this.#frontEnd;
  }

  start(): void {
    if (this.process !== null) return;
    const { clock, link } = this.#options;
    const life = `${this.name}.${++this.#lives}`;
    const process = new SimProcess(this.#world, life, this.#server, this.#array.disks, {
      clock,
      ...(link === undefined ? {} : { link }),
    });
    if (this.#linkDown !== null) process.link.cut(this.#linkDown);
    this.process = process;
    this.#world.schedule(0, process.control, () => void this.#live(process));
  }

  /** As SIGKILL. */
  kill(why: string): void {
    this.process?.kill(why);
    this.#gone();
  }

  /** A clean stop: the process ends when the node has left the array. */
  stop(): void {
    const { process, node } = this;
    if (process === null || node === null) return;
    this.#world.schedule(0, process.control, () => void node.stop());
  }

  /** A clean stop; the host is wanted for something else for a while. */
  drain(ms: number): void {
    this.#awayUntil = this.#world.now + ms;
    this.stop();
  }

  /** It was drained, and is not wanted back yet. */
  get isAway(): boolean {
    return this.#world.now < this.#awayUntil;
  }

  comeBack(): void {
    this.#awayUntil = 0;
  }

  /** Nothing keeps it from copying any more. */
  thaw(): void {
    const { node, process } = this;
    if (node === null || process === null) return;
    // One that stands still may be told later what it was told before.
    this.#world.schedule(0, process.control, () => {
      if (node.status().isFrozen) node.setSyncAction("idle");
    });
  }

  cutLink(direction: Direction = "both"): void {
    this.#linkDown = direction;
    this.process?.link.cut(direction);
  }

  healLink(): void {
    this.#linkDown = null;
    this.process?.link.heal();
  }

  async #live(process: SimProcess): Promise<void> {
    try {
      const node = await ClusterNode.start(this.#deps(process));
      if (this.process !== process) return;
      this.node = node;
      node.onEvent(({ code, fields }) => {
        if (code !== "MISMATCH") return;
        this.#world.emit({
          type: "mismatch",
          life: process.life,
          ranges: fields["ranges"] as readonly MismatchRange[],
        });
      });
      this.#world.emit({ type: "log", life: process.life, level: "info", text: `serves IO as slot ${node.slot}` });
      this.#world.tell({ type: "serving", life: process.life });
      const end = await node.ended;
      this.#end(process, end.type === "stopped" ? "stopped" : `${end.type}: ${end.reason}`);
    } catch (error) {
      if (error instanceof AssertionError || !(error instanceof MdError)) {
        const trace = error instanceof Error ? error.stack : String(error);
        this.#world.violation(`${process.life} contradicts itself: ${trace}`);
      }
      const why = error instanceof MdError ? (error.why ?? "") : "";
      this.#end(process, `cannot start: ${String(error)} ${why}`);
    }
  }

  #end(process: SimProcess, why: string): void {
    process.kill(why);
    if (this.process === process) this.#gone();
  }

  #gone(): void {
    this.process = null;
    this.node = null;
    this.#frontEnd = null;
  }

  #deps(process: SimProcess): ClusterNodeDeps {
    const world = this.#world;
    const { life, link } = process;
    const { wrappers, messages } = this.#options;
    const channel = new ChannelWitness(world, life, messages);
    const env = { ...process.env, log: channel.listenTo(process.env.log) };
    const { disks, geometry } = this.#array;
    return {
      env,
      nodeName: this.name,
      memberPaths: disks.filter((disk) => visibleSuperblock(disk, geometry) !== null).map(({ path }) => path),
      joinLockspace: async ({ name, maxMembers, listener, lease }) => {
        const sink = wrappers.lease?.(lease) ?? lease;
        const lockspace = await joinLockspace({
          master: link,
          name,
          cluster: SIM_CLUSTER,
          node: this.name,
          slots: MOST_SLOTS,
          limit: maxMembers,
          lease: { leaseMs: this.#options.leaseMs },
          env,
          listener: observeListener(listener, world, life),
          leaseSink: (deadline, readUntil) => {
            process.leaseDeadline = deadline;
            process.tellLease();
            sink(deadline, readUntil);
          },
        });
        world.emit({ type: "joined", life, slot: lockspace.slot });
        const observed = observeLockspace(wrappers.lockService?.(lockspace) ?? lockspace, world, life, channel);
        return wrappers.lockspace?.(observed) ?? observed;
      },
      startEngine: async (config, shared) => {
        const { engine, frontEnd, unanswered } = await startSimEngine(config, shared, {
          world,
          process,
          disks,
          longest: this.#options.longest,
          shortTransfers: this.#options.shortTransfers,
          zeroes: this.#options.zeroes,
          wrappers,
        });
        this.#frontEnd = frontEnd;
        this.#unanswered = unanswered;
        return engine;
      },
      openDevice: (path, { readOnly }) => {
        const disk = disks.find((one) => one.path === path);
        if (disk === undefined) return Promise.reject(new MdError("E_NO_DEVICE", `${path} does not exist`));
        const device = new SimBlockDevice(disk, process.controlUser, { readOnly });
        return Promise.resolve(wrappers.device?.(device) ?? device);
      },
      diskOf: (path) => path,
      syncTurns: new SyncTurns(),
      findDevice: (deviceUuid) => {
        const found = disks.find((disk) => {
          const superblock = visibleSuperblock(disk, geometry);
          return superblock?.deviceUuid.every((byte, i) => byte === deviceUuid[i]) ?? false;
        });
        return Promise.resolve(found?.path ?? null);
      },
      options: {
        ...defaultClusterNodeOptions,
        syncSpeedMax: this.#options.syncSpeedMax,
        ioTimeoutMs: this.#options.ioTimeoutMs,
        slowIoMs: this.#options.slowIoMs,
        queueDepth: 32,
        arenaBytes: 2 << 20,
        confirmMs: this.#options.leaseMs / 2,
        pillEveryMs: this.#options.leaseMs / 10,
      },
    };
  }
}
