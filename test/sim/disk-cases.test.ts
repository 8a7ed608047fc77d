import { describe, expect, it } from "vitest";
import { inSyncDisks } from "../../src/sim/disk-superblocks.ts";
import { withSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import type { SimDisk } from "../../src/sim/sim-disk.ts";
import type { Simulation } from "../../src/sim/simulation.ts";
import { expectOk } from "./expect-ok.ts";

/** Cases of members, with a whole cluster around them. */

const calm: Partial<Scenario> = {
  nodes: 2,
  members: 2,
  spares: 0,
  size: 400,
  chunkSectors: 16,
  leaseMs: 1000,
  faults: ["crash"],
  burst: 2,
  think: [2, 40],
  shortTransfers: 0,
  drift: 0,
};

/** With all nodes serving, at rest. */
async function check(
  seeds: number,
  fixed: Partial<Scenario>,
  use: (simulation: Simulation) => Promise<void>,
): Promise<void> {
  for (let seed = 1; seed <= seeds; seed++) {
    const verdict = await withSimulation(seed, { ...calm, ...fixed }, async (simulation) => {
      simulation.begin();
      simulation.stopAsking();
      await simulation.untilAllServe();
      await simulation.untilRest();
      if (!simulation.failed) await use(simulation);
    });
    expectOk(verdict);
  }
}

const wait = (simulation: Simulation, ms: number): Promise<boolean> => simulation.world.run(simulation.world.now + ms);

function disksOf({ array }: Simulation): readonly [SimDisk, SimDisk] {
  const [first, second] = array.disks;
  if (first === undefined || second === undefined) throw new RangeError("there are no two disks");
  return [first, second];
}

/** What a request of the node is answered: its errno. */
async function ask(
  simulation: Simulation,
  node: number,
  request: "read" | "write",
  lo: number,
  hi: number,
): Promise<number | null> {
  const port = simulation.nodes[node]?.port ?? null;
  let answer: number | null = null;
  const done = (errno: number): void => {
    answer = errno;
  };
  if (port !== null && request === "write") simulation.workload.write(port, lo, hi, { fua: false }, done);
  if (port !== null && request === "read") simulation.workload.read(port, lo, hi, done);
  await simulation.world.run(simulation.world.now + 5000, () => answer !== null);
  return answer;
}

describe("F12: write errors on the last good mirror", () => {
  it("are told to the client; the mirror stays, reads go on, and writes elsewhere", async () => {
    await check(4, {}, async (simulation) => {
      const [first, second] = disksOf(simulation);
      const { dataAt } = simulation.array.geometry;
      simulation.workload.errorsAllowed = true;
      first.dead = true;
      expect(await ask(simulation, 0, "write", 10, 20)).toBe(0);
      second.bad = [{ lo: dataAt + 100, hi: dataAt + 108, read: false, write: true }];
      expect(await ask(simulation, 1, "write", 96, 112)).toBe(5);
      for (const { node } of simulation.nodes) {
        const members = node?.status().members ?? [];
        expect(members.find(({ path }) => path === first.path)?.state).toBe("faulty");
        expect(members.find(({ path }) => path === second.path)?.state).toBe("in_sync");
      }
      expect(await ask(simulation, 0, "write", 200, 210)).toBe(0);
      expect(await ask(simulation, 1, "read", 200, 210)).toBe(0);
      await simulation.healAndJudge();
    });
  });
});

describe("F14: two mirrors, each stale in turn", () => {
  it("the array does not start with the older one alone; with both it is the newer one that counts", async () => {
    await check(4, { nodes: 1 }, async (simulation) => {
      const [first, second] = disksOf(simulation);
      first.dead = true;
      expect(await ask(simulation, 0, "write", 10, 20)).toBe(0);
      simulation.letGo();
      simulation.faults.powerCut();
      first.dead = false;
      second.dead = true;
      const [node] = simulation.nodes;
      node?.start();
      await wait(simulation, 3000);
      expect(node?.port ?? null).toBe(null);
      second.dead = false;
      simulation.keepUp();
      await simulation.untilAllServe();
      expect(inSyncDisks(simulation.array.disks, simulation.array.geometry)).toEqual([second]);
      expect(await ask(simulation, 0, "read", 10, 20)).toBe(0);
      await simulation.healAndJudge();
    });
  });
});

describe("F16: a sector that no mirror can read", () => {
  it("is an error of every read that wants it and of no other; no mirror fails; a write makes it readable again", async () => {
    await check(4, {}, async (simulation) => {
      simulation.workload.errorsAllowed = true;
      const { dataAt } = simulation.array.geometry;
      for (const disk of disksOf(simulation)) {
        disk.bad = [{ lo: dataAt + 104, hi: dataAt + 105, read: true, write: false }];
      }
      for (const node of [0, 1]) {
        expect(await ask(simulation, node, "read", 100, 108)).toBe(5);
        expect(await ask(simulation, node, "read", 96, 104)).toBe(0);
        expect(await ask(simulation, node, "read", 105, 112)).toBe(0);
      }
      expect(inSyncDisks(simulation.array.disks, simulation.array.geometry)).toHaveLength(2);
      expect(await ask(simulation, 1, "write", 100, 108)).toBe(0);
      expect(await ask(simulation, 0, "read", 100, 108)).toBe(0);
      await simulation.healAndJudge();
    });
  });
});

describe("F19: a mirror that says that it has flushed and has not, and a power cut", () => {
  it("what it has lost is copied from the other one, since the bits are on that one", async () => {
    await check(8, { nodes: 1 }, async (simulation) => {
      const [first] = disksOf(simulation);
      const { versions } = first;
      const { flush, makeDurable } = versions;
      versions.flush = () => {};
      versions.makeDurable = () => {};
      expect(await ask(simulation, 0, "write", 10, 20)).toBe(0);
      expect(await ask(simulation, 0, "write", 150, 170)).toBe(0);
      simulation.faults.powerCut();
      Object.assign(versions, { flush, makeDurable });
      await simulation.untilAllServe();
      await simulation.healAndJudge();
    });
  });
});

describe("F17: a mirror that is fifty times slower", () => {
  it("costs time and nothing else: nobody is declared dead, no mirror fails", async () => {
    await check(3, { nodes: 2 }, async (simulation) => {
      const [first] = disksOf(simulation);
      const lives = simulation.nodes.map(({ process }) => process?.life);
      first.slowness = 50;
      simulation.resumeAsking();
      await wait(simulation, 3000);
      simulation.stopAsking();
      expect(simulation.nodes.map(({ process }) => process?.life)).toEqual(lives);
      expect(inSyncDisks(simulation.array.disks, simulation.array.geometry)).toHaveLength(2);
      await simulation.healAndJudge();
    });
  });
});

describe("F17: a mirror that hangs", () => {
  const times = { nodes: 3, ioTimeoutMs: 400, slowIoMs: 50 };

  it("is taken out of the array after the timeout, and everything goes on without it", async () => {
    await check(8, times, async (simulation) => {
      const [first] = disksOf(simulation);
      await wait(simulation, 200);
      first.hang();
      const since = simulation.world.now;
      const written = await Promise.all(
        [0, 1, 2].map((node) => ask(simulation, node, "write", 10 * node, 10 * node + 8)),
      );
      expect(written).toEqual([0, 0, 0]);
      // What the data plane waits for, and then what a control plane does that reads its superblock.
      expect(simulation.world.now - since).toBeLessThan(3 * times.ioTimeoutMs);
      expect(inSyncDisks(simulation.array.disks.slice(1), simulation.array.geometry)).toHaveLength(1);
      for (const node of [0, 1, 2]) expect(await ask(simulation, node, "read", 0, 30)).toBe(0);
      simulation.resumeAsking();
      await wait(simulation, 1000);
      simulation.stopAsking();
      first.goOn();
      await simulation.healAndJudge();
    });
  });

  it("holds no read that another can serve, and stays a mirror if it answers in time", async () => {
    await check(9, times, async (simulation) => {
      const [first] = disksOf(simulation);
      await wait(simulation, 200);
      first.hang();
      const since = simulation.world.now;
      for (let at = 0; at < 100; at += 10) expect(await ask(simulation, 0, "read", at, at + 8)).toBe(0);
      expect(simulation.world.now - since).toBeLessThan(3 * times.slowIoMs);
      first.goOn();
      await wait(simulation, 100);
      expect(inSyncDisks(simulation.array.disks, simulation.array.geometry)).toHaveLength(2);
      await simulation.healAndJudge();
    });
  });

  it("is waited for if it is the last copy", async () => {
    await check(10, times, async (simulation) => {
      const [first, second] = disksOf(simulation);
      second.dead = true;
      expect(await ask(simulation, 0, "write", 10, 20)).toBe(0);
      first.hang();
      const late = ask(simulation, 0, "write", 30, 40);
      await wait(simulation, 5 * times.ioTimeoutMs);
      first.goOn();
      expect(await late).toBe(0);
      second.dead = false;
      await simulation.healAndJudge();
    });
  });
});
