import { describe, expect, it } from "vitest";
import type { BitmapKind } from "../../src/array/md-array.ts";
import type { ClusterNode } from "../../src/cluster/cluster-node.ts";
import { durableSuperblock, inSyncDisks } from "../../src/sim/disk-superblocks.ts";
import { faultKinds } from "../../src/sim/faults.ts";
import { runSimulation, withSimulation } from "../../src/sim/run-simulation.ts";
import type { Simulation } from "../../src/sim/simulation.ts";
import { Feature, hasFeature, type Superblock } from "../../src/superblock/superblock.ts";
import { expectOk } from "./expect-ok.ts";

/** An array with far copies keeps its size. */
const withoutGrow = faultKinds.filter((kind) => kind !== "growSize");

describe("a simulated RAID10 of one node is whole again after any mix of faults", () => {
  it.each<readonly [seed: number, layout: string, members: number, bitmap: BitmapKind]>([
    [0, "f2", 4, "none"],
    [1, "o2", 5, "internal"],
    [2, "f3", 5, "internal"],
    [3, "o3", 4, "none"],
    [4, "n2f2", 5, "internal"],
    [6, "f2", 3, "internal"],
    [8, "o2", 3, "internal"],
    [9, "n2", 5, "none"],
  ])("seed %i: %s on %i members, bitmap %s", async (seed, layout, members, bitmap) => {
    const scenario = { level: 10, layout, members, bitmap, drawnFrom: withoutGrow } as const;
    const verdict = await runSimulation({ seed, nodes: 1, steps: 2000, scenario });
    expectOk(verdict);
    expect(verdict.answered).toBeGreaterThan(0);
  });
});

/** The sectors of a member that are filled, as a superblock says. */
const filledTo = (superblock: Superblock | null): number =>
  superblock !== null && hasFeature(superblock, Feature.recoveryOffset) ? Number(superblock.recoveryOffset) : 0;

describe("a rebuild of one node's RAID10 whose node dies in the middle", () => {
  const command = async (simulation: Simulation, act: (node: ClusterNode) => Promise<unknown>): Promise<void> => {
    const { node = null, process = null } = simulation.nodes[0] ?? {};
    if (node === null || process === null) throw new Error("nobody is there to do it");
    let outcome: unknown = null;
    const settled = (result: unknown) => () => {
      outcome = result;
    };
    simulation.world.schedule(0, process.control, () => {
      void act(node).then(settled("done"), (error: unknown) => settled(error)());
    });
    await simulation.world.run(simulation.world.now + 5000, () => outcome !== null);
    expect(outcome).toBe("done");
  };

  it.each([
    ["n2", 1],
    ["o2", 1],
    ["o3", 1],
    ["f2", 1],
    ["f2", 2],
    ["f3", 1],
    ["f3", 3],
    ["n2f2", 2],
  ])("%s goes on where it was, in section %i: what the superblock says is filled is", async (layout, section) => {
    const size = {
      members: layout === "n2f2" ? 5 : 4,
      size: 1440,
      blanks: 1,
      spares: 0,
      chunkSectors: 16,
      stripeBytes: 4096,
    };
    const quiet = { faults: ["crash"], shortTransfers: 0, drift: 0, syncSpeedMax: 40 } as const;
    const scenario = { level: 10, layout, bitmap: "internal", nodes: 1, longest: 64, ...size, ...quiet } as const;
    const verdict = await withSimulation(5, scenario, async (simulation) => {
      const { world, workload, array } = simulation;
      const { geometry } = array;
      const [disk] = array.disks.slice(-1);
      const node = simulation.nodes[0];
      if (disk === undefined || node === undefined) throw new Error("no node, no disk");
      simulation.begin();
      simulation.stopAsking();
      await simulation.untilAllServe();
      let asked = 0;
      for (let at = 0; at < geometry.size && node.port !== null; at += 64, asked++) {
        workload.write(node.port, at, Math.min(geometry.size, at + 64), { fua: true }, () => asked--);
      }
      await world.run(world.now + 5000, () => asked === 0);
      // No bit is left: what is copied later is copied to fill the member.
      await simulation.untilRest();
      await command(simulation, (one) => one.failMember(1));
      await command(simulation, (one) => one.removeMember(1));
      await command(simulation, (one) => one.addMember(disk.path, "add"));
      const mark = (): number => filledTo(durableSuperblock(disk, geometry));
      const sections = geometry.personality.fillPasses ?? 1;
      const least = Math.floor(((section - 1) * geometry.memberSize) / sections);
      expect(await world.run(world.now + 60_000, () => mark() > least)).toBe(true);
      const before = mark();
      let lowest = geometry.memberSize;
      world.observe((event) => {
        if (event.type !== "write_landed" || event.disk !== disk.path || event.area !== "data") return;
        lowest = Math.min(lowest, event.lo - geometry.dataAt);
      });
      node.kill("killed");
      await simulation.untilAllServe();
      expect(await world.run(world.now + 60_000, () => inSyncDisks(array.disks, geometry).includes(disk))).toBe(true);
      expect(before).toBeLessThan(geometry.memberSize);
      expect(lowest).toBeGreaterThanOrEqual(before - 8 * geometry.personality.raidDisks);
      await simulation.healAndJudge();
    });
    expectOk(verdict);
  });
});
