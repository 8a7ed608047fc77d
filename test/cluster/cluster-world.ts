import { createArray, planCreate } from "../../src/array/create-array.ts";
import type { BitmapKind } from "../../src/array/md-array.ts";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import { sector } from "../../src/base/units.ts";
import {
  type ClusterNodeDeps,
  type ClusterNodeOptions,
  defaultClusterNodeOptions,
} from "../../src/cluster/cluster-deps.ts";
import { ClusterNode } from "../../src/cluster/cluster-node.ts";
import type { LockCall, LockReply, LockspaceId } from "../../src/dlm/lock-call.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { MOST_SLOTS } from "../../src/dlm/lockspace.ts";
import { joinLockspace } from "../../src/dlm/lockspace-client.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { SyncTurns } from "../../src/resync/sync-turns.ts";
import { sameUuid } from "../../src/superblock/uuid.ts";
import { createRequest } from "../array/example.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { FakeEngine } from "../support/fake-engine.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { SharedDisks } from "../support/shared-disks.ts";

export const LEASE_MS = 1000;
export const CHUNK_SECTORS = 128;

/** A host's way to the lock server; it can be cut. */
class Link implements LockMaster {
  readonly about = "link";
  cut = false;
  readonly #master: MemoryLockMaster;

  constructor(master: MemoryLockMaster) {
    this.#master = master;
  }

  call(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    return this.cut ? new Promise(() => {}) : this.#master.call(lockspace, call);
  }

  watch(...args: Parameters<LockMaster["watch"]>): ReturnType<LockMaster["watch"]> {
    const [lockspace, member, deliver] = args;
    return this.#master.watch(lockspace, member, (events) => {
      if (!this.cut) deliver(events);
    });
  }

  onReachable(): { stop(): void } {
    return this.#master.onReachable();
  }

  async close(): Promise<void> {}
}

export interface TestNode {
  readonly name: string;
  readonly node: ClusterNode;
  readonly engine: FakeEngine;
  readonly link: Link;
  dead: boolean;
}

/** Hosts with shared disks, one lock server and a clock that the test moves. */
export class ClusterWorld {
  readonly clock = new FakeClock();
  readonly disks = new SharedDisks();
  readonly master = new MemoryLockMaster();
  readonly members: string[];
  readonly dataOffset: number;
  /** Data planes start when this is fulfilled: until then a node that joins hears no message. */
  engineGate: Promise<void> = Promise.resolve();
  #seed = 1;

  private constructor(members: string[], dataOffset: number) {
    this.members = members;
    this.dataOffset = dataOffset;
  }

  static async create(
    change: {
      readonly mirrors?: number;
      readonly spares?: number;
      readonly sectors?: number;
      readonly clean?: boolean;
      readonly bitmap?: BitmapKind;
      readonly slots?: number;
      /** A RAID10 in chunks of 4 KiB, with `near` copies of each: one on each member. */
      readonly level?: 1 | 10;
      readonly near?: number;
      /** Of all members. */
      readonly devFlags?: number;
      /** Sectors that the array uses of each member; all that there are. */
      readonly memberSize?: number;
    } = {},
  ): Promise<ClusterWorld> {
    const { mirrors = 2, spares = 0, sectors = 8192, clean = true } = change;
    const paths = Array.from({ length: mirrors + spares }, (_, i) => `/dev/d${i}`);
    const request = createRequest(paths.slice(0, mirrors).map(() => sectors));
    const array = planCreate({
      ...request,
      ...(change.level === 10 ? { level: 10, layout: 0x100 | (change.near ?? mirrors), stripeBytes: 4096 } : {}),
      members: request.members.map((device) =>
        device === null ? null : { ...device, devFlags: change.devFlags ?? 0 },
      ),
      memberSize: change.memberSize === undefined ? null : sector(change.memberSize),
      chunkBytes: CHUNK_SECTORS * 512,
      ...(change.bitmap === undefined ? {} : { bitmap: change.bitmap }),
      ...(change.slots === undefined ? {} : { slots: change.slots }),
      assumeClean: clean && change.bitmap !== undefined,
      spares: paths.slice(mirrors).map((path, i) => ({
        path,
        size: sector(sectors),
        deviceUuid: new Uint8Array(16).fill(0x80 + i),
      })),
    });
    const world = new ClusterWorld(paths, array.members[0]?.dataOffset ?? 0);
    for (const path of paths) world.disks.add(path, sectors);
    const devices = new Map(paths.map((path, number) => [number, world.disks.open(path, "setup")]));
    await createArray(array, devices);
    if (clean && array.bitmap.kind !== "none") {
      // As if slot 0's first resync had been done.
      const { layout, offset } = array.bitmap;
      for (const path of paths) {
        const at = (8 + offset) * 512 + 256;
        world.disks.bytes(path).fill(0, at, at + layout.slotSectors * 512 - 256);
      }
    }
    return world;
  }

  /** By host. */
  readonly #syncTurns = new Map<string, SyncTurns>();

  /** Among the arrays of one host; what this world has is one of them. */
  turnsOf(host: string): SyncTurns {
    const turns = this.#syncTurns.get(host) ?? new SyncTurns();
    this.#syncTurns.set(host, turns);
    return turns;
  }

  /** Begins to assemble the array on a host; the clock must be moved for it to come to an end. */
  begin(name: string, paths: readonly string[], options: Partial<ClusterNodeOptions> = {}): Promise<TestNode> {
    const link = new Link(this.master);
    let engine: FakeEngine | null = null;
    const env = { clock: this.clock, random: new SeededRandom(this.#seed++), log: silentLogger };
    const deps: ClusterNodeDeps = {
      env,
      nodeName: name,
      memberPaths: paths,
      joinLockspace: ({ name: lockspace, maxMembers, listener, lease }) =>
        joinLockspace({
          master: link,
          name: lockspace,
          cluster: "alpha",
          node: name,
          slots: MOST_SLOTS,
          limit: maxMembers,
          lease: { leaseMs: LEASE_MS },
          env,
          listener,
          leaseSink: lease,
        }),
      startEngine: async (config, shared) => {
        await this.engineGate;
        engine = new FakeEngine(name, this.disks, config, shared, () => this.clock.now());
        return engine;
      },
      openDevice: async (path) => this.disks.open(path, name),
      findDevice: async (uuid) => this.#find(uuid, name),
      diskOf: (path) => path,
      syncTurns: this.turnsOf(name),
      // These devices always answer.
      options: { ...defaultClusterNodeOptions, ioTimeoutMs: 0, slowIoMs: 0, ...options },
    };
    return ClusterNode.start(deps).then((node) => {
      if (engine === null) throw new Error("no engine was started");
      return { name, node, engine, link, dead: false };
    });
  }

  async start(
    name: string,
    paths: readonly string[] = this.members,
    options: Partial<ClusterNodeOptions> = {},
  ): Promise<TestNode> {
    return this.wait(this.begin(name, paths, options));
  }

  /** Moves the clock until `promise` has settled. */
  async wait<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let done = false;
    const mark = (): void => {
      done = true;
    };
    promise.then(mark, mark);
    for (let passed = 0; !done; passed += 10) {
      if (passed > limitMs) throw new Error("nothing came of it");
      await this.clock.advance(10);
    }
    return promise;
  }

  /** Until `condition` holds. */
  async until(condition: () => boolean, limitMs = 60_000): Promise<void> {
    for (let passed = 0; !condition(); passed += 10) {
      if (passed > limitMs) throw new Error("the condition never held");
      await this.clock.advance(10);
    }
  }

  /** From one moment to the next nothing of it reaches anybody: neither the lock server nor the disks. */
  kill(victim: TestNode): void {
    victim.dead = true;
    victim.link.cut = true;
    victim.engine.stopped = true;
    for (const path of this.disks.paths) this.disks.failWrites(path, victim.name);
  }

  idle(...nodes: TestNode[]): Promise<void> {
    return this.wait(Promise.all(nodes.map(({ node }) => node.waitIdle())).then(() => {}));
  }

  /** First byte of data sector `at` on each member. */
  copies(at: number, paths: readonly string[] = this.members): number[] {
    return paths.map((path) => this.disks.data(path, this.dataOffset + at, 1)[0] ?? -1);
  }

  async #find(uuid: Uint8Array, host: string): Promise<string | null> {
    for (const path of this.disks.paths) {
      if (!this.disks.isVisible(path, host)) continue;
      const superblock = await readSuperblock(this.disks.open(path, host)).catch(() => null);
      if (superblock !== null && sameUuid(superblock.deviceUuid, uuid)) return path;
    }
    return null;
  }
}
