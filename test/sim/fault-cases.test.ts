import { describe, expect, it } from "vitest";
import type { ClusterNode } from "../../src/cluster/cluster-node.ts";
import { dirtyChunks } from "../../src/sim/checkers/healed.ts";
import { durableSuperblock, inSyncDisks } from "../../src/sim/disk-superblocks.ts";
import { withSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import type { SimDisk } from "../../src/sim/sim-disk.ts";
import type { SimEvent } from "../../src/sim/sim-event.ts";
import type { SimNode } from "../../src/sim/sim-node.ts";
import type { Simulation } from "../../src/sim/simulation.ts";
import { expectOk } from "./expect-ok.ts";

const LEASE_MS = 1000;

/** A quiet world: what breaks is what the test breaks. */
const calm: Partial<Scenario> = {
  members: 2,
  spares: 0,
  size: 500,
  chunkSectors: 16,
  leaseMs: LEASE_MS,
  faults: ["crash"],
  burst: 4,
  think: [2, 40],
  shortTransfers: 0,
  drift: 0,
};

const seeds = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

/** Runs a case with several seeds; it starts with all nodes serving, at rest, with clean bitmaps. */
async function check(
  count: number,
  fixed: Partial<Scenario>,
  use: (simulation: Simulation, events: SimEvent[]) => Promise<void>,
): Promise<void> {
  for (const seed of seeds(count)) {
    const verdict = await withSimulation(seed, { ...calm, ...fixed }, async (simulation) => {
      const events: SimEvent[] = [];
      simulation.begin();
      simulation.stopAsking();
      await simulation.untilAllServe();
      await simulation.untilRest();
      simulation.world.observe((event) => events.push(event));
      if (!simulation.failed) await use(simulation, events);
    });
    expectOk(verdict);
  }
}

const wait = (simulation: Simulation, ms: number): Promise<boolean> => simulation.world.run(simulation.world.now + ms);

const nodeAt = (simulation: Simulation, index: number): SimNode => {
  const node = simulation.nodes[index];
  if (node === undefined) throw new RangeError(`there is no node ${index}`);
  return node;
};

const diskAt = (simulation: Simulation, index: number): SimDisk => {
  const disk = simulation.array.disks[index];
  if (disk === undefined) throw new RangeError(`there is no disk ${index}`);
  return disk;
};

/** Chunks with a bit in any slot, on any mirror. */
function dirtyAnywhere({ array: { geometry, disks } }: Simulation): Set<number> {
  const dirty = new Set<number>();
  for (const disk of disks) {
    for (let slot = 0; slot < geometry.slots; slot++) {
      for (const chunk of dirtyChunks(geometry, disk, slot)) dirty.add(chunk);
    }
  }
  return dirty;
}

const copiedSectors = (events: readonly SimEvent[]): number =>
  events.reduce((sum, event) => sum + (event.type === "copied" ? event.sectors : 0), 0);

describe("F01: the only node is killed under load and started again", () => {
  it("loses nothing, makes the mirrors equal, and copies dirty chunks only", async () => {
    await check(10, { nodes: 1 }, async (simulation, events) => {
      simulation.resumeAsking();
      await wait(simulation, 400);
      nodeAt(simulation, 0).kill("killed");
      await wait(simulation, 5);
      const dirty = dirtyAnywhere(simulation).size;
      simulation.stopAsking();
      await simulation.healAndJudge();
      expect(copiedSectors(events)).toBeGreaterThan(0);
      expect(copiedSectors(events)).toBeLessThanOrEqual(dirty * simulation.array.geometry.chunkSectors);
      expect(dirty).toBeLessThan(simulation.array.geometry.chunks);
    });
  });
});

describe("F02: one of several nodes is killed under load on all", () => {
  it.each([2, 3, 4])("of %i: the survivors take its bitmap over within the lease and two seconds", async (nodes) => {
    await check(5, { nodes }, async (simulation, events) => {
      simulation.resumeAsking();
      await wait(simulation, 300);
      simulation.letGo();
      const victim = nodeAt(simulation, simulation.world.random.integer(0, nodes));
      const others = simulation.nodes.filter((node) => node !== victim);
      victim.kill("killed");
      const killedAt = simulation.world.now;
      const isOver = (): boolean =>
        others.every(({ node }) => {
          const { slots = [], sync = null } = node?.status() ?? {};
          return sync === null && slots.length > 0 && slots.every(({ state }) => state !== "recovering");
        }) && events.some(({ type }) => type === "evicted");
      await simulation.world.run(killedAt + LEASE_MS + 2000, isOver);
      if (!simulation.failed) expect(isOver()).toBe(true);
      const answered = simulation.workload.answered;
      await wait(simulation, 300);
      expect(simulation.workload.answered).toBeGreaterThan(answered);
      simulation.keepUp();
      await simulation.healAndJudge();
    });
  });

  it("also by survivors that have never written anything (K3)", async () => {
    await check(5, { nodes: 3 }, async (simulation) => {
      const victim = nodeAt(simulation, 1);
      const range = { lo: 37, hi: 99 };
      let answers = 0;
      for (let i = 0; i < 20; i++) {
        const { port } = victim;
        if (port !== null) simulation.workload.write(port, range.lo + i, range.hi + i, { fua: false }, () => answers++);
        await wait(simulation, 3);
      }
      simulation.letGo();
      victim.kill("killed");
      await wait(simulation, LEASE_MS + 2000);
      expect(answers).toBeGreaterThan(0);
      expect(dirtyAnywhere(simulation).size).toBe(0);
      simulation.keepUp();
      await simulation.healAndJudge();
    });
  });
});

describe("F05: a node is stopped for longer than its lease with writes in flight, and goes on", () => {
  it("writes nothing after the takeover, and is told that it is dead", async () => {
    await check(6, { nodes: 3 }, async (simulation, events) => {
      simulation.resumeAsking();
      await wait(simulation, 200 + simulation.world.random.between(0, 200));
      const victim = nodeAt(simulation, 0);
      const { process } = victim;
      process?.pause();
      await wait(simulation, LEASE_MS * 2.5);
      expect(events.some((event) => event.type === "evicted" && event.life === process?.life)).toBe(true);
      process?.resume();
      await wait(simulation, 500);
      expect(process?.ended).toBe(true);
      await simulation.healAndJudge();
    });
  });

  it("also when only its control plane hangs: the data plane stops by itself", async () => {
    await check(6, { nodes: 2 }, async (simulation) => {
      simulation.resumeAsking();
      await wait(simulation, 200);
      const { process } = nodeAt(simulation, 0);
      process?.pause("control");
      await wait(simulation, LEASE_MS * 2.5);
      process?.resume();
      await wait(simulation, 500);
      expect(process?.ended).toBe(true);
      await simulation.healAndJudge();
    });
  });

  it("pauses shorter than the lease cost nobody its membership (F06)", async () => {
    await check(6, { nodes: 3 }, async (simulation, events) => {
      simulation.resumeAsking();
      for (let i = 0; i < 6; i++) {
        const { process } = nodeAt(simulation, i % 3);
        process?.pause();
        await wait(simulation, simulation.world.random.between(50, LEASE_MS * 0.45));
        process?.resume();
        await wait(simulation, 200);
      }
      expect(events.filter(({ type }) => type === "evicted")).toEqual([]);
      await simulation.healAndJudge();
    });
  });
});

describe("F07: clocks that lie", () => {
  it("wall clocks that jump an hour in either direction cost nobody its membership, and no write its place", async () => {
    await check(6, { nodes: 3 }, async (simulation, events) => {
      simulation.resumeAsking();
      for (const [i, hours] of [1, -1, -2, 3].entries()) {
        for (const { process } of simulation.nodes) process?.clock.jumpWall(hours * (i + 1) * 3_600_000);
        await wait(simulation, LEASE_MS * 0.7);
      }
      expect(events.filter(({ type }) => type === "evicted")).toEqual([]);
      await simulation.healAndJudge();
    });
  });

  it("clocks that run ten per cent apart let nobody write past its lease", async () => {
    await check(6, { nodes: 3, drift: 0.1 }, async (simulation, events) => {
      simulation.resumeAsking();
      await wait(simulation, 300);
      const victim = nodeAt(simulation, 0);
      const life = victim.process?.life;
      victim.cutLink();
      await wait(simulation, LEASE_MS * 2);
      expect(events.some((event) => event.type === "evicted" && event.life === life)).toBe(true);
      victim.healLink();
      await simulation.healAndJudge();
    });
  });
});

describe("F08: a control plane that starves past the time to renew", () => {
  it("stops no write too late: the data plane looks at the lease itself", async () => {
    await check(6, { nodes: 3 }, async (simulation, events) => {
      simulation.resumeAsking();
      await wait(simulation, 200 + simulation.world.random.between(0, 200));
      const { process } = nodeAt(simulation, 0);
      process?.pause("control");
      const from = events.length;
      await wait(simulation, LEASE_MS * 2.5);
      const late = events
        .slice(from)
        .filter((event) => event.type === "write_submitted" && event.life === process?.life && !event.leaseHolds);
      expect(late).toEqual([]);
      expect(events.some((event) => event.type === "evicted" && event.life === process?.life)).toBe(true);
      process?.resume();
      await simulation.healAndJudge();
    });
  });
});

describe("F11: a write error on one mirror", () => {
  it("fails the mirror on all nodes before the write is acknowledged; event counters differ", async () => {
    await check(10, { nodes: 3 }, async (simulation, events) => {
      const { geometry, disks } = simulation.array;
      const bad = diskAt(simulation, simulation.world.random.integer(0, 2));
      bad.bad = [{ lo: geometry.dataAt + 100, hi: geometry.dataAt + 104, read: false, write: true }];
      const { port } = nodeAt(simulation, 1);
      let answer: number | null = null;
      if (port !== null) {
        simulation.workload.write(port, 96, 120, { fua: false }, (errno) => {
          answer = errno;
        });
      }
      await simulation.world.run(simulation.world.now + 5000, () => answer !== null);
      if (simulation.failed) return;
      expect(answer).toBe(0);
      for (const { node } of simulation.nodes) {
        const view = node?.status().members.find(({ path }) => path === bad.path);
        expect(view?.state).toBe("faulty");
      }
      expect(events.some((event) => event.type === "disk_error")).toBe(true);
      const eventsOf = (disk: SimDisk | undefined): number =>
        disk === undefined ? Number.NaN : (durableSuperblock(disk, geometry)?.events ?? Number.NaN);
      const good = disks.find((disk) => disk !== bad);
      expect(eventsOf(good)).toBeGreaterThan(eventsOf(bad));
      await simulation.healAndJudge();
    });
  });
});

describe("a node that loses a mirror and dies before anybody hears of it", () => {
  it.each([
    [0, 2],
    [1, 2],
    [0, 3],
    [2, 3],
  ])("leaves bits on the others only: they are found (mirror %i of %i fails)", async (broken, members) => {
    await check(3, { nodes: 2, members, reads: 0.3 }, async (simulation) => {
      const writer = nodeAt(simulation, 0);
      const bad = diskAt(simulation, broken);
      writer.cutLink();
      bad.bad = [{ lo: 0, hi: bad.sectors, read: false, write: true }];
      for (let i = 0; i < 12; i++) {
        const lo = simulation.world.random.integer(0, simulation.array.geometry.size - 9);
        if (writer.port !== null) simulation.workload.write(writer.port, lo, lo + 8, { fua: false });
        await wait(simulation, 5);
      }
      writer.kill("killed");
      bad.bad = [];
      simulation.resumeAsking();
      await wait(simulation, LEASE_MS * 3);
      await simulation.healAndJudge();
    });
  });
});

describe("F13: a mirror dies, writes go on, it comes back with old data, and everything restarts", () => {
  it("is never read and never a source; adding it again brings it up to date", async () => {
    await check(8, { nodes: 2 }, async (simulation) => {
      const bad = diskAt(simulation, simulation.world.random.integer(0, 2));
      simulation.resumeAsking();
      await wait(simulation, 200);
      bad.dead = true;
      await wait(simulation, 800);
      bad.dead = false;
      simulation.faults.powerCut();
      await simulation.untilAllServe();
      await wait(simulation, 500);
      expect(inSyncDisks(simulation.array.disks, simulation.array.geometry)).not.toContain(bad);
      await simulation.healAndJudge();
      expect(inSyncDisks(simulation.array.disks, simulation.array.geometry)).toContain(bad);
    });
  });
});

describe("F22: power cut at every single write of metadata", () => {
  /** What an operator does with one member, and the nodes around it. Ends early when the power is gone. */
  const script = async (simulation: Simulation): Promise<readonly string[]> => {
    const outcomes: string[] = [];
    const { world, workload } = simulation;
    const on = async (act: (node: ClusterNode) => Promise<unknown>): Promise<void> => {
      const { node, process } = nodeAt(simulation, 0);
      if (node === null || process === null) return;
      let over = false;
      world.schedule(0, process.control, () => {
        void act(node)
          .then(
            () => outcomes.push("done"),
            (error: unknown) => outcomes.push(String(error)),
          )
          .then(() => {
            over = true;
          });
      });
      await world.run(world.now + 3000, () => over || process.ended);
    };
    const { port } = nodeAt(simulation, 0);
    if (port !== null) workload.write(port, 10, 30, { fua: true });
    await wait(simulation, 10);
    await on((node) => node.failMember(1));
    if (port !== null) workload.write(port, 100, 120, { fua: false });
    await wait(simulation, 10);
    await on((node) => node.removeMember(1));
    await on((node) => node.addMember(diskAt(simulation, 1).path));
    await wait(simulation, 300);
    nodeAt(simulation, 0).stop();
    await wait(simulation, 200);
    return outcomes;
  };

  /** Cuts the power at the `at`th landing of metadata after the beginning; how many landings there were. */
  const run = async (nodes: number, at: number): Promise<number> => {
    let landings = 0;
    const small: Partial<Scenario> = { ...calm, nodes, size: 200, chunkSectors: 64, longest: 24 };
    const verdict = await withSimulation(77, small, async (simulation) => {
      const { world } = simulation;
      world.observe((event) => {
        if (event.type !== "write_landed" || event.area === "data") return;
        landings++;
        if (landings === at) world.schedule(0, null, () => simulation.faults.powerCut());
      });
      simulation.begin();
      simulation.stopAsking();
      await simulation.untilAllServe();
      const outcomes = await script(simulation);
      if (at < 0) expect(outcomes).toEqual(["done", "done", "done"]);
      await simulation.healAndJudge();
    });
    expectOk(verdict);
    return landings;
  };

  it.each([1, 2])("of a script of %i nodes: assemble, write, fail, remove, add, stop", async (nodes) => {
    const landings = await run(nodes, -1);
    expect(landings).toBeGreaterThan(30);
    // The tail is the healing, which every run has.
    for (let at = 1; at <= landings; at++) await run(nodes, at);
  });
});

describe("F23: power cut under load", () => {
  it.each([1, 2, 3])("of %i nodes: what was flushed is there, mirrors are equal after the resync", async (nodes) => {
    await check(6, { nodes, flushes: 0.15, fua: 0.2 }, async (simulation) => {
      for (let cut = 0; cut < 3; cut++) {
        simulation.resumeAsking();
        await wait(simulation, simulation.world.random.between(20, 1500));
        simulation.faults.powerCut();
        await simulation.untilAllServe();
      }
      await simulation.healAndJudge();
    });
  });

  it("also during the resync and the takeovers after another one (F24)", async () => {
    await check(6, { nodes: 2 }, async (simulation) => {
      simulation.resumeAsking();
      await wait(simulation, 300);
      for (let cut = 0; cut < 10; cut++) {
        simulation.faults.powerCut();
        await wait(simulation, simulation.world.random.between(10, 1500));
      }
      await simulation.healAndJudge();
    });
  });
});

describe("F25: the write-intent rule", () => {
  it("holds at every instant of a heavy load of small chunks, with lazy clearing between the writes", async () => {
    await check(
      4,
      { nodes: 3, chunkSectors: 8, burst: 6, think: [1, 300], flushes: 0.1 },
      async (simulation, events) => {
        simulation.resumeAsking();
        await wait(simulation, 6000);
        const bitmapWrites = events.filter((event) => event.type === "write_landed" && event.area === "bitmap").length;
        expect(bitmapWrites).toBeGreaterThan(50);
        await simulation.healAndJudge();
      },
    );
  });
});

describe("F28: writes of one node into the window that another resyncs", () => {
  it("wait until the window is over, with messages delayed and wake-ups lost and doubled", async () => {
    let waited = 0;
    await check(8, { nodes: 3, size: 800, longest: 24 }, async (simulation, events) => {
      const { world } = simulation;
      // Bits for a long resync, by a node that dies.
      const { port } = nodeAt(simulation, 0);
      for (let lo = 0; port !== null && lo + 16 <= simulation.array.geometry.size; lo += 16) {
        simulation.workload.write(port, lo, lo + 8, { fua: false });
        await wait(simulation, 1.5);
      }
      nodeAt(simulation, 0).kill("killed");
      for (const disk of simulation.array.disks) disk.slowness = 10;
      simulation.resumeAsking();
      for (let i = 0; i < 200; i++) {
        await wait(simulation, 10);
        for (const { node } of simulation.nodes) waited += node?.shared.read("waitingOnSuspend") ?? 0;
      }
      expect(events.some(({ type }) => type === "copying")).toBe(true);
      expect(world.violations).toEqual([]);
      await simulation.healAndJudge();
    });
    expect(waited).toBeGreaterThan(0);
  });
});

describe("F35: what a node still has to repair, handed over to one that stalls (BITMAP_NEEDS_SYNC)", () => {
  it.each([
    ["for less than a lease: it waits, and the bits go on with the other", 0.4],
    ["for longer than a lease: it waits no longer than that, and the bits stay", 2.5],
  ])("%s", async (_what, leases) => {
    await check(1, { nodes: 2 }, async (simulation, events) => {
      const [stalled, leaver] = [nodeAt(simulation, 0), nodeAt(simulation, 1)];
      const life = leaver.process?.life;
      const hasLeft = (): boolean => events.some((event) => event.type === "life_ended" && event.life === life);
      diskAt(simulation, 1).dead = true;
      let answer: number | null = null;
      if (leaver.port !== null) {
        simulation.workload.write(leaver.port, 96, 120, { fua: false }, (errno) => {
          answer = errno;
        });
      }
      await simulation.world.run(simulation.world.now + 5000, () => answer !== null);
      await wait(simulation, 200);
      const missed = dirtyAnywhere(simulation);
      expect([answer, missed.size > 0]).toEqual([0, true]);
      simulation.letGo();
      stalled.process?.pause();
      leaver.stop();
      await wait(simulation, LEASE_MS * 0.4);
      expect(hasLeft()).toBe(false);
      await wait(simulation, LEASE_MS * (leases - 0.4));
      stalled.process?.resume();
      const isOut = leases > 1;
      await simulation.world.run(simulation.world.now + 10_000, () => hasLeft() && stalled.isDown === isOut);
      await wait(simulation, 500);
      expect([hasLeft(), stalled.isDown]).toEqual([true, isOut]);
      for (const chunk of missed) expect(dirtyAnywhere(simulation)).toContain(chunk);
      diskAt(simulation, 1).dead = false;
      simulation.keepUp();
      await simulation.healAndJudge();
    });
  });
});

describe("a write that lost a mirror, and waits for all nodes to know", () => {
  it("is there after another node's resync has copied the stale mirror over it", async () => {
    await check(12, { nodes: 3 }, async (simulation, events) => {
      const { world, array, workload } = simulation;
      const lo = 160;
      const [dying, writer] = [nodeAt(simulation, 0), nodeAt(simulation, 1)];
      // Bits in the chunks around, for a resync by whoever takes them over.
      for (let i = 0; i < 8 && dying.port !== null; i++) {
        workload.write(dying.port, lo - 32 + i * 8, lo - 24 + i * 8, { fua: false });
        await wait(simulation, 3);
      }
      simulation.letGo();
      dying.kill("killed");
      // When the third one has the token, to announce a window perhaps: the write's failure has to wait for it.
      const turn = world.random.integer(1, 5);
      const other = nodeAt(simulation, 2).process?.life;
      const evictedAt = (): number => events.findIndex(({ type }) => type === "evicted");
      const turnsOfOther = (): number =>
        events.slice(evictedAt()).filter((event) => event.type === "token_held" && event.life === other).length;
      await world.run(world.now + 3000, () => evictedAt() >= 0 && turnsOfOther() >= turn);
      diskAt(simulation, 0).bad = [
        { lo: array.geometry.dataAt + lo, hi: array.geometry.dataAt + lo + 8, read: false, write: true },
      ];
      let answered = false;
      if (writer.port !== null) {
        workload.write(writer.port, lo, lo + 8, { fua: false }, () => {
          answered = true;
        });
      }
      await world.run(world.now + 5000, () => answered);
      simulation.keepUp();
      await simulation.healAndJudge();
    });
  });
});

describe("defects that the kernel's md-cluster was seen to have", () => {
  it("K1: adding a member again brings back the writes of all nodes", async () => {
    await check(6, { nodes: 2 }, async (simulation) => {
      const bad = diskAt(simulation, 1);
      bad.dead = true;
      simulation.resumeAsking();
      await wait(simulation, 1000);
      simulation.stopAsking();
      bad.dead = false;
      await wait(simulation, 500);
      await simulation.addBack(bad.path);
      await simulation.healAndJudge();
    });
  });

  it.each([
    [0, 1],
    [1, 0],
  ])("K2: both nodes crash dirty, node %i returns first: all slots are repaired", async (first, second) => {
    await check(6, { nodes: 2 }, async (simulation) => {
      simulation.resumeAsking();
      await wait(simulation, 300);
      simulation.letGo();
      simulation.faults.powerCut();
      simulation.stopAsking();
      nodeAt(simulation, first).start();
      await simulation.world.run(simulation.world.now + 10_000, () => nodeAt(simulation, first).port !== null);
      await wait(simulation, 5000);
      expect(dirtyAnywhere(simulation).size).toBe(0);
      nodeAt(simulation, second).start();
      simulation.keepUp();
      await simulation.healAndJudge();
    });
  });
});

describe("a device that two operators add at the same moment", () => {
  it("becomes one member, not two", async () => {
    await check(5, { nodes: 2 }, async (simulation) => {
      const { world } = simulation;
      const bad = diskAt(simulation, 1);
      bad.dead = true;
      simulation.resumeAsking();
      await wait(simulation, 500);
      simulation.stopAsking();
      bad.dead = false;
      await wait(simulation, 100);
      const outcomes: string[] = [];
      const { node: remover, process } = nodeAt(simulation, 0);
      if (process !== null) world.schedule(0, process.control, () => void remover?.removeMember(1));
      await wait(simulation, 200);
      for (const simulated of simulation.nodes) {
        const { node, process } = simulated;
        for (let twice = 0; node !== null && process !== null && twice < 2; twice++) {
          world.schedule(0, process.control, () => {
            void node.addMember(bad.path).then(
              () => outcomes.push("added"),
              (error: unknown) => outcomes.push(String(error)),
            );
          });
        }
      }
      await world.run(world.now + 5000, () => outcomes.length === 4);
      expect(outcomes.filter((outcome) => outcome === "added")).toHaveLength(1);
      await simulation.healAndJudge();
    });
  });
});

describe("F22: a member dies and cannot be flushed before superblocks are written", () => {
  it("leaves no good copy two events behind another member, at no instant", async () => {
    await check(4, { nodes: 2, members: 3, spares: 1 }, async (simulation) => {
      const { array, world } = simulation;
      const [bad, good, failed, spare] = array.disks;
      if (bad === undefined || good === undefined || failed === undefined || spare === undefined)
        throw new RangeError("there is no disk");
      let widest = 0;
      world.observe(({ type }) => {
        if (type !== "flushed") return;
        const events = [good, spare].map((disk) => durableSuperblock(disk, array.geometry)?.events ?? Number.NaN);
        widest = Math.max(widest, Math.max(...events) - Math.min(...events));
      });
      // Nobody writes data: the first to notice is who fails another member.
      bad.dead = true;
      const { node, process } = nodeAt(simulation, 1);
      if (node === null || process === null) throw new Error("the node is down");
      world.schedule(0, process.control, () => void node.failMember(2));
      await wait(simulation, 500);
      expect(inSyncDisks(array.disks, array.geometry)).not.toContain(bad);
      expect(widest).toBe(1);
      await simulation.healAndJudge();
    });
  });
});
