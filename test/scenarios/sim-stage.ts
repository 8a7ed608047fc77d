import { MdError } from "../../src/base/md-error.ts";
import { SECTOR_SIZE, sector } from "../../src/base/units.ts";
import type { ClusterNode } from "../../src/cluster/cluster-node.ts";
import { arrayInfo } from "../../src/daemon/array-info.ts";
import { ArraySession } from "../../src/daemon/array-session.ts";
import type { ArrayInfo } from "../../src/daemon/control-api.ts";
import { dirtyChunks } from "../../src/sim/checkers/healed.ts";
import { inSyncDisks } from "../../src/sim/disk-superblocks.ts";
import { catchUnhandled } from "../../src/sim/settle.ts";
import { SIM_CLUSTER } from "../../src/sim/sim-array.ts";
import type { SimDisk } from "../../src/sim/sim-disk.ts";
import type { SimEvent } from "../../src/sim/sim-event.ts";
import type { SimNode } from "../../src/sim/sim-node.ts";
import { Simulation } from "../../src/sim/simulation.ts";
import {
  type Command,
  type CreateCommand,
  type DiskImage,
  type DiskName,
  type GrowChange,
  type ManageOperation,
  type NodeName,
  type Outcome,
  SLOW_KIB,
  type Stage,
} from "./stage.ts";
import { Story } from "./story.ts";

const NODES: readonly NodeName[] = ["n1", "n2", "n3"];
const DISKS: readonly DiskName[] = ["d0", "d1", "d2", "d3", "d4"];
/** Sectors: many windows of a resync. No multiple of a chunk. */
const ARRAY_SECTORS = 6144 - 37;
const LEASE_MS = 1000;
const SLOTS = 4;
const MOMENT_MS = 20;
/** Virtual: what does not happen by then never does. */
const PATIENCE_MS = 120_000;

const done: Outcome = { code: null, text: "" };

/** The real code of nodes in a simulated world, where every run of a scenario is the same run. */
export class SimStage implements Stage {
  #simulation: Simulation | null = null;
  readonly #sessions = new Map<ClusterNode, ArraySession>();
  readonly #story = new Story();
  readonly #events: SimEvent[] = [];
  readonly #stopCatching: () => void;
  readonly #unhandled: unknown[] = [];
  readonly #waiting = new Set<() => boolean>();
  #going: Promise<unknown> | null = null;

  constructor() {
    this.#stopCatching = catchUnhandled((error) => this.#unhandled.push(error));
  }

  async command(node: NodeName, command: Command): Promise<Outcome> {
    switch (command.verb) {
      case "create":
        await this.#create(command);
        return this.#start(node);
      case "assemble":
        return this.#start(node);
      case "grow":
        return this.#ask(node, (cluster) => grow(cluster, command.change));
      case "stop": {
        const host = this.#host(node);
        host.stop();
        await this.#until(`${node} has stopped`, () => host.isDown);
        return done;
      }
      case "manage":
        return this.#ask(node, (cluster) => manage(cluster, command.ops));
      case "wait":
        return this.#ask(node, (cluster) => cluster.waitIdle());
      case "limit":
        return this.#ask(node, async (cluster) => cluster.limitSync(command.kib ?? 0));
      default:
        return command satisfies never;
    }
  }

  async kill(node: NodeName): Promise<void> {
    this.#host(node).kill("killed");
    await this.moment();
  }

  async pause(node: NodeName): Promise<void> {
    this.#host(node).process?.pause();
  }

  async resume(node: NodeName): Promise<void> {
    this.#host(node).process?.resume();
  }

  async look(node: NodeName): Promise<ArrayInfo | null> {
    const cluster = this.#host(node).node;
    if (cluster === null) return null;
    const session = this.#sessions.get(cluster) ?? new ArraySession(cluster, { queueDepth: 0, folder: "", ublk: null });
    this.#sessions.set(cluster, session);
    const info = arrayInfo(session, { nodes: [], examination: null, frozen: null });
    return info.bitmap === null ? info : { ...info, bitmap: { ...info.bitmap, unionDirty: this.#dirtyChunks() } };
  }

  async moment(): Promise<void> {
    await this.#run(MOMENT_MS);
  }

  async write(node: NodeName, lo: number, hi: number): Promise<void> {
    const { port } = this.#host(node);
    let errno: number | null = null;
    const answered = (result: number): void => {
      errno = result;
    };
    for (let at = lo; port !== null && at < hi; at += this.#sim.scenario.longest) {
      errno = null;
      this.#sim.workload.write(port, at, Math.min(hi, at + this.#sim.scenario.longest), { fua: false }, answered);
      await this.#until(`a write of ${node} is answered`, () => errno !== null);
      if (errno !== 0) throw new Error(`a write of ${node} failed with ${errno}`);
    }
  }

  /** The workload of the simulator; all nodes that serve IO take part. */
  async load(_nodes: readonly NodeName[], on: boolean): Promise<void> {
    if (on) this.#sim.resumeAsking();
    else this.#sim.stopAsking();
    const before = this.#sim.workload.answered;
    if (on) await this.#until("writes are acknowledged", () => this.#sim.workload.answered > before + 50);
    else
      await this.#until("all requests are answered", () => this.#sim.nodes.every(({ port }) => port?.isIdle ?? true));
  }

  /** What a read should have given, the content model knows: it reports a violation. */
  async misread(node: NodeName): Promise<readonly string[]> {
    const { workload, scenario } = this.#sim;
    const size = this.#host(node).node?.status().size ?? 0;
    for (let lo = 0; lo < size; lo += scenario.longest) {
      const { port } = this.#host(node);
      let answered = false;
      if (port === null) return [`${node} does not serve the array`];
      workload.read(port, lo, Math.min(size, lo + scenario.longest), () => {
        answered = true;
      });
      await this.#until(`a read of ${node} is answered`, () => answered);
    }
    return [];
  }

  async images(): Promise<readonly DiskImage[]> {
    return this.#sim.array.disks.map((disk) => ({ disk: nameOf(disk), bytes: bytesOf(disk) }));
  }

  complaints(provoked: readonly string[]): readonly string[] {
    return this.#events.flatMap((event) =>
      event.type === "log" && event.level === "error" && !provoked.some((word) => event.text.includes(word))
        ? [`${event.life}: ${event.text}`]
        : [],
    );
  }

  story(): readonly string[] {
    return this.#story.take();
  }

  async close(): Promise<void> {
    this.#stopCatching();
  }

  get #sim(): Simulation {
    if (this.#simulation === null) throw new Error("no array was created");
    return this.#simulation;
  }

  #host(name: NodeName): SimNode {
    const node = this.#sim.nodes.find((one) => one.name === name);
    if (node === undefined) throw new Error(`there is no node ${name}`);
    return node;
  }

  async #create(command: CreateCommand): Promise<void> {
    const { level, near, disks, spares, assumeClean, name, sizeKib, chunkKib } = command;
    const used = disks.length + spares.length;
    this.#simulation = await Simulation.create(
      1,
      {
        level,
        near,
        nodes: NODES.length,
        members: disks.length,
        spares: spares.length,
        blanks: DISKS.length - used,
        assumeClean,
        arrayName: `any:${name ?? "md0"}`,
        size: ARRAY_SECTORS,
        ...(sizeKib === null ? {} : { used: sizeKib * 2 }),
        ...(chunkKib === null ? {} : { stripeBytes: chunkKib * 1024 }),
        chunkSectors: 128,
        leaseMs: LEASE_MS,
        faults: [],
        drift: 0,
        shortTransfers: 0,
        zeroing: false,
        longest: 64,
        burst: 3,
        think: [5, 50],
        syncSpeedMax: SLOW_KIB,
      },
      this.#story.wrappers,
    );
    const { world } = this.#simulation;
    world.observe((event) => {
      this.#story.observe(event);
      if (event.type === "log") this.#events.push(event);
    });
    this.#simulation.attend();
    this.#simulation.stopAsking();
  }

  async #start(name: NodeName): Promise<Outcome> {
    const host = this.#host(name);
    host.start();
    const { process } = host;
    await this.#until(`${name} serves the array`, () => host.port !== null || process?.ended === true);
    return host.port === null ? { code: "E_NOT_JOINED", text: `${name} could not start` } : done;
  }

  /** Has a node do something in its control plane. */
  async #ask(name: NodeName, action: (node: ClusterNode) => Promise<void>): Promise<Outcome> {
    const { node, process } = this.#host(name);
    if (node === null || process === null)
      return { code: "E_ARRAY_NOT_ACTIVE", text: `md0 is not assembled on ${name}` };
    let outcome: Outcome | null = null;
    this.#sim.world.schedule(0, process.control, () => {
      void action(node).then(
        () => {
          outcome = done;
        },
        (error: unknown) => {
          if (!(error instanceof MdError)) throw error;
          outcome = { code: error.code, text: error.message };
        },
      );
    });
    await this.#until(`${name} answers`, () => outcome !== null || process.ended);
    return outcome ?? { code: "E_DAEMON", text: `${name} died meanwhile` };
  }

  /** Chunks with a bit in any slot, as any copy has it. */
  #dirtyChunks(): number {
    const { disks, geometry } = this.#sim.array;
    const dirty = new Set<number>();
    for (const disk of inSyncDisks(disks, geometry)) {
      for (let slot = 0; slot < geometry.slots; slot++) {
        for (const chunk of dirtyChunks(geometry, disk, slot)) dirty.add(chunk);
      }
    }
    return dirty.size;
  }

  async #run(ms: number): Promise<void> {
    let over = false;
    this.#sim.world.schedule(ms, null, () => {
      over = true;
    });
    await this.#until("time passes", () => over);
  }

  /** Several may wait for something at once; the world goes on as one. */
  async #until(what: string, isSo: () => boolean): Promise<void> {
    const { world } = this.#sim;
    const end = world.now + PATIENCE_MS;
    this.#waiting.add(isSo);
    try {
      while (!isSo()) {
        if (world.now >= end) throw new Error(`it does not happen that ${what}\n${world.trace.tail(40).join("\n")}`);
        this.#going ??= world
          .run(end, () => [...this.#waiting].some((one) => one()))
          .finally(() => {
            this.#going = null;
          });
        await this.#going;
        this.#check();
      }
    } finally {
      this.#waiting.delete(isSo);
    }
  }

  #check(): void {
    const { violations, trace } = this.#sim.world;
    const [first = this.#unhandled[0]] = violations;
    if (first !== undefined) throw new Error(`${String(first)}\n${trace.tail(60).join("\n")}`);
  }
}

async function grow(node: ClusterNode, change: GrowChange): Promise<void> {
  if ("bitmap" in change) {
    await node.switchBitmap({ kind: change.bitmap, slots: SLOTS, clusterName: SIM_CLUSTER });
    return;
  }
  if ("add" in change && change.add !== undefined) await node.addMember(`/sim/${change.add}`, "add");
  const nothing = { size: null, raidDisks: null, chunkBytes: null, stripeSectors: null, assumeClean: false };
  if ("chunkKib" in change) await node.grow({ ...nothing, stripeSectors: change.chunkKib * 2 });
  else if ("raidDevices" in change) await node.grow({ ...nothing, raidDisks: change.raidDevices });
  else await node.grow({ ...nothing, size: change.sizeKib === "max" ? "max" : sector(change.sizeKib * 2) });
}

async function manage(node: ClusterNode, ops: readonly ManageOperation[]): Promise<void> {
  const numberOf = (disk: DiskName): number => {
    const member = node.status().members.find(({ path }) => path === `/sim/${disk}`);
    if (member === undefined) throw new MdError("E_MEMBER_NOT_FOUND", `${disk} is not a member of md0`);
    return member.number;
  };
  for (const { op, disk, with: spare } of ops) {
    const path = `/sim/${disk}`;
    if (op === "add" || op === "re-add" || op === "add-spare") {
      await node.addMember(path, op);
      continue;
    }
    if (op === "fail") await node.failMember(numberOf(disk));
    else if (op === "remove") await node.removeMember(numberOf(disk));
    else await node.replaceMember(numberOf(disk), spare === undefined ? null : numberOf(spare));
  }
}

const nameOf = ({ path }: SimDisk): DiskName => {
  const name = DISKS.find((disk) => path.endsWith(disk));
  if (name === undefined) throw new Error(`there is no disk ${path}`);
  return name;
};

function bytesOf(disk: SimDisk): Uint8Array {
  const bytes = new Uint8Array(disk.sectors * SECTOR_SIZE);
  disk.versions.read(0, bytes);
  return bytes;
}
