import { afterEach, describe, expect, it, vi } from "vitest";
import type { ArrayStatus } from "../../src/cluster/array-status.ts";
import type { ClusterNode } from "../../src/cluster/cluster-node.ts";
import { RangeLock } from "../../src/engine/range-lock.ts";
import type { ScrubReport } from "../../src/resync/scrub.ts";
import { SuspendList } from "../../src/resync/suspend-list.ts";
import { withSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import type { SimNode } from "../../src/sim/sim-node.ts";
import type { Simulation } from "../../src/sim/simulation.ts";
import { expectOk } from "./expect-ok.ts";
import { foundIn } from "./planted.ts";

const calm: Partial<Scenario> = { nodes: 3, spares: 0, faults: ["crash"], shortTransfers: 0, drift: 0, contention: 0 };

afterEach(() => {
  vi.restoreAllMocks();
});

const everything = { from: null, to: null, source: null } as const;

/** Has a node carry something out; what it throws, or null. */
async function command(simulation: Simulation, on: SimNode, act: (node: ClusterNode) => void): Promise<unknown> {
  let outcome: unknown = "not carried out";
  const { node, process } = on;
  if (node === null || process === null) throw new Error(`${on.name} is down`);
  simulation.world.schedule(0, process.control, () => {
    try {
      act(node);
      outcome = null;
    } catch (error) {
      outcome = error;
    }
  });
  await simulation.world.run(simulation.world.now + 100, () => outcome !== "not carried out");
  return outcome;
}

const statusOf = ({ node }: SimNode): ArrayStatus | null => node?.status() ?? null;

async function report(simulation: Simulation, on: SimNode, withinMs = 30_000): Promise<ScrubReport> {
  const ended = () => statusOf(on)?.scrub?.endedAt != null;
  await simulation.world.run(simulation.world.now + withinMs, () => ended() || simulation.failed, 5);
  const { scrub } = statusOf(on) ?? {};
  if (scrub == null) throw new Error(`there is no report: ${simulation.world.violations.join()}`);
  return scrub;
}

/** Nodes that serve, and nobody asks for anything. */
async function serving(simulation: Simulation): Promise<readonly [SimNode, SimNode, SimNode]> {
  simulation.begin();
  simulation.stopAsking();
  simulation.letGo();
  await simulation.untilAllServe();
  await simulation.untilRest();
  const [first, second, third] = simulation.nodes;
  if (first === undefined || second === undefined || third === undefined) throw new Error("three nodes are needed");
  return [first, second, third];
}

function rot({ array }: Simulation, disk: number, arraySector: number): void {
  array.disks[disk]?.rot(array.geometry.sectorOn(disk, arraySector));
}

const rangesOf = ({ ranges }: ScrubReport) => ranges.map(({ lo, hi, kind, members }) => [lo, hi, kind, members]);

describe("a check of three members on three nodes", () => {
  it("finds just the sectors that rotted, and a repair heals them by majority", async () => {
    const verdict = await withSimulation(7, { ...calm, level: 1, members: 3, size: 480 }, async (simulation) => {
      const [first, second] = await serving(simulation);
      rot(simulation, 1, 100);
      rot(simulation, 1, 101);
      rot(simulation, 2, 470);

      expect(await command(simulation, first, (node) => node.scrub({ ...everything, action: "check" }))).toBe(null);
      const found = await report(simulation, first);
      expect(found).toMatchObject({ state: "finished", mismatched: 128 + 96 });
      expect(rangesOf(found)).toEqual([
        [100, 102, "differs", [1]],
        [470, 471, "differs", [2]],
      ]);

      expect(await command(simulation, second, (node) => node.scrub({ ...everything, action: "repair" }))).toBe(null);
      expect(rangesOf(await report(simulation, second))).toEqual([
        [100, 102, "repaired", [1]],
        [470, 471, "repaired", [2]],
      ]);
      await command(simulation, first, (node) => node.scrub({ ...everything, action: "check" }));
      expect(await report(simulation, first)).toMatchObject({ state: "finished", mismatched: 0, ranges: [] });
      // Nobody is missing: neither has touched bits or superblocks.
      expect(statusOf(first)?.bitmap).toMatchObject({ dirty: 0, needed: 0 });
    });
    expectOk(verdict);
  });

  it("sees no mismatch in what all nodes write meanwhile, and a write waits for its window only", async () => {
    let compared = 0;
    for (const seed of [1, 2]) {
      const verdict = await withSimulation(
        seed,
        { ...calm, level: 1, members: 3, size: 480, think: [1, 30], burst: 5, longest: 24 },
        async (simulation) => {
          simulation.begin();
          await simulation.untilAllServe();
          const [first, second] = simulation.nodes;
          if (first === undefined || second === undefined) return;
          for (let round = 0; round < 2; round++) {
            await command(simulation, first, (node) => node.scrub({ ...everything, action: "check" }));
            await command(simulation, second, (node) => node.scrub({ ...everything, action: "repair" }));
            for (const node of [first, second]) {
              const { state, mismatched } = await report(simulation, node);
              expect([state, mismatched]).toEqual(["finished", 0]);
              compared++;
            }
          }
          await simulation.healAndJudge();
        },
      );
      expectOk(verdict);
    }
    expect(compared).toBe(8);
  });

  it("leaves the reads of others balanced; a repair does not", async () => {
    const slow = { ...calm, level: 1, members: 3, size: 480, syncSpeedMax: 60 } as const;
    const verdict = await withSimulation(14, slow, async (simulation) => {
      const [first, second] = await serving(simulation);
      const seen: Record<string, Set<string>> = { check: new Set(), repair: new Set() };
      for (const action of ["check", "repair"] as const) {
        await command(simulation, first, (node) => node.scrub({ ...everything, action }));
        const ended = () => statusOf(first)?.scrub?.endedAt != null;
        await simulation.world.run(
          simulation.world.now + 60_000,
          () => {
            const { slots = [], readBalance = "first" } = statusOf(second) ?? {};
            if (slots.some(({ window }) => window !== null)) seen[action]?.add(readBalance);
            return ended();
          },
          1,
        );
        await simulation.untilRest();
      }
      expect(seen).toEqual({ check: new Set(["balanced"]), repair: new Set(["first"]) });
    });
    expectOk(verdict);
  });

  it("ends with its node, and leaves nothing suspended at the others", async () => {
    const slow = { ...calm, level: 1, members: 3, size: 480, syncSpeedMax: 40 } as const;
    const verdict = await withSimulation(11, slow, async (simulation) => {
      const [first, second, third] = await serving(simulation);
      await command(simulation, first, (node) => node.scrub({ ...everything, action: "check" }));
      const inWindow = () => statusOf(second)?.slots.some(({ window }) => window !== null) === true;
      await simulation.world.run(simulation.world.now + 10_000, inWindow, 1);
      expect(inWindow()).toBe(true);
      first.kill("test");
      const isOver = (node: SimNode) => {
        const { slots = [], sync = null } = statusOf(node) ?? {};
        return sync === null && slots.every(({ window, state }) => window === null && state !== "recovering");
      };
      await simulation.world.run(simulation.world.now + 20_000, () => isOver(second) && isOver(third), 20);
      expect([isOver(second), isOver(third)]).toEqual([true, true]);
      simulation.keepUp();
      await simulation.healAndJudge();
    });
    expectOk(verdict);
  });

  it("lets a resync go first, and goes on where it was", async () => {
    const slow = { ...calm, level: 1, members: 3, size: 480, syncSpeedMax: 60 } as const;
    const verdict = await withSimulation(12, slow, async (simulation) => {
      const [first, second, third] = await serving(simulation);
      await command(simulation, first, (node) => node.scrub({ ...everything, action: "check" }));
      await simulation.world.run(simulation.world.now + 10_000, () => (statusOf(first)?.scrub?.reached ?? 0) > 0, 1);
      // A member comes back on another node, while the check is under way.
      const path = simulation.array.disks[2]?.path ?? "";
      await command(simulation, second, (node) => void node.failMember(2).then(() => node.removeMember(2)));
      await simulation.world.run(simulation.world.now + 2000, () => statusOf(third)?.members.length === 3, 5);
      await simulation.world.run(simulation.world.now + 500);
      await command(simulation, second, (node) => void node.addMember(path).catch(() => {}));
      const before = statusOf(first)?.scrub;
      expect(before?.state).toBe("running");
      const isFilled = () => statusOf(third)?.health === "UUU";
      let reachedThen = -1;
      await simulation.world.run(simulation.world.now + 60_000, () => {
        if (isFilled() && reachedThen === -1) reachedThen = statusOf(first)?.scrub?.reached ?? 0;
        return isFilled();
      });
      expect(statusOf(first)?.scrub?.state).toBe("running");
      expect(await report(simulation, first, 60_000)).toMatchObject({ state: "finished", mismatched: 0 });
      expect(reachedThen).toBeGreaterThan(0);
      await simulation.healAndJudge();
    });
    expectOk(verdict);
  });

  it("ends at an operator's word, within a window; frozen keeps anything from beginning", async () => {
    const slow = { ...calm, level: 1, members: 3, size: 480, syncSpeedMax: 40 } as const;
    const verdict = await withSimulation(13, slow, async (simulation) => {
      const [first] = await serving(simulation);
      const check = (node: ClusterNode): void => node.scrub({ ...everything, action: "check" });
      await command(simulation, first, check);
      await simulation.world.run(simulation.world.now + 10_000, () => (statusOf(first)?.scrub?.reached ?? 0) > 0, 1);
      expect(await command(simulation, first, check)).toMatchObject({ code: "E_SYNC_RUNNING" });
      await command(simulation, first, (node) => node.setSyncAction("idle"));
      expect(statusOf(first)?.scrub).toMatchObject({ state: "stopped", why: "an operator said idle" });
      await simulation.world.run(simulation.world.now + 5000, () => statusOf(first)?.sync === null, 5);
      expect(statusOf(first)?.sync).toBe(null);

      await command(simulation, first, (node) => node.setSyncAction("frozen"));
      expect(statusOf(first)?.isFrozen).toBe(true);
      await command(simulation, first, (node) => node.setSyncAction("idle"));
      await command(simulation, first, (node) => node.scrub({ ...everything, from: 200 as never, action: "check" }));
      expect(await report(simulation, first)).toMatchObject({ from: 128, to: 480, state: "finished" });
    });
    expectOk(verdict);
  });
});

describe("a repair of two copies", () => {
  it("is refused until the source is named, which then is what all have", async () => {
    const verdict = await withSimulation(21, { ...calm, level: 1, members: 2, size: 300 }, async (simulation) => {
      const [first] = await serving(simulation);
      rot(simulation, 0, 50);
      const repair = (source: number | null) => (node: ClusterNode) =>
        node.scrub({ ...everything, action: "repair", source });
      expect(await command(simulation, first, repair(null))).toMatchObject({ code: "E_CONFIRM" });
      expect(await command(simulation, first, repair(7))).toMatchObject({ code: "E_MEMBER_NOT_FOUND" });
      expect(statusOf(first)?.scrub).toBe(null);
      expect(await command(simulation, first, repair(1))).toBe(null);
      expect(rangesOf(await report(simulation, first))).toEqual([[50, 51, "repaired", [0]]]);
      simulation.array.disks[0]?.rotten.clear();
      await simulation.healAndJudge();
    });
    expectOk(verdict);
  });
});

describe("a repair while a member is missing", () => {
  it("is given to it by the bitmap when it comes back", async () => {
    const scenario = { ...calm, level: 1, members: 3, size: 480 } as const;
    const verdict = await withSimulation(22, scenario, async (simulation) => {
      const [first, second] = await serving(simulation);
      const path = simulation.array.disks[2]?.path ?? "";
      for (const disk of [1, 2]) rot(simulation, disk, 300);
      await command(simulation, second, (node) => void node.failMember(2).then(() => node.removeMember(2)));
      await simulation.world.run(simulation.world.now + 5000, () => statusOf(first)?.members.length === 2, 5);
      await command(simulation, first, (node) => node.scrub({ ...everything, action: "repair", source: 0 }));
      expect(rangesOf(await report(simulation, first))).toEqual([[300, 301, "repaired", [1]]]);
      let outcome: unknown = null;
      await command(simulation, second, (node) => {
        node.addMember(path, "re-add").then(
          () => (outcome = "added"),
          (error) => (outcome = error),
        );
      });
      await simulation.world.run(simulation.world.now + 20_000, () => statusOf(first)?.health === "UUU", 5);
      expect([outcome, statusOf(first)?.health]).toEqual(["added", "UUU"]);
      await command(simulation, first, (node) => node.scrub({ ...everything, action: "check" }));
      expect(await report(simulation, first)).toMatchObject({ state: "finished", mismatched: 0, ranges: [] });
      await simulation.healAndJudge();
    });
    expectOk(verdict);
  });
});

describe("RAID10 near", () => {
  it.each([
    ["n2 of four", 2, 4, 1],
    ["n3 of five", 3, 5, null],
  ] as const)("%s is checked and repaired", async (_, near, members, source) => {
    const verdict = await withSimulation(31, { ...calm, level: 10, near, members, size: 300 }, async (simulation) => {
      const [first] = await serving(simulation);
      rot(simulation, 0, 3);
      await command(simulation, first, (node) => node.scrub({ ...everything, action: "check" }));
      const found = await report(simulation, first);
      expect(found.ranges.map(({ lo, hi }) => [lo, hi])).toEqual([[3, 4]]);
      await command(simulation, first, (node) => node.scrub({ ...everything, action: "repair", source }));
      if (near === 2) expect(statusOf(first)?.scrub?.action).toBe("repair");
      expect(rangesOf(await report(simulation, first))).toEqual([[3, 4, "repaired", [0]]]);
      await simulation.healAndJudge();
    });
    expectOk(verdict);
  });
});

describe("a planted bug is caught", () => {
  const busy: Partial<Scenario> = { nodes: 3, level: 1, members: 3, faults: ["jumpWall"], contention: 0 };
  const under = (action: "check" | "repair") => async (simulation: Simulation) => {
    simulation.begin();
    await simulation.untilAllServe();
    for (let round = 0; round < 20 && !simulation.failed; round++) {
      for (const node of simulation.nodes) {
        if (statusOf(node)?.scrub?.state === "running" || node.node === null) continue;
        await command(simulation, node, (one) => one.scrub({ ...everything, action }));
      }
      await simulation.world.run(simulation.world.now + 300, () => simulation.failed);
    }
  };

  it("no false mismatch: others write on in the window of a check", async () => {
    vi.spyOn(SuspendList.prototype, "blocks").mockReturnValue(false);
    expect(await foundIn(busy, {}, under("check"))).toMatch(/which n\d\.\d+ copies|tells of a mismatch in sector \d+/);
  });

  it("no false mismatch: the node's own writes go on in what it compares", async () => {
    vi.spyOn(RangeLock.prototype, "lock").mockReturnValue(true);
    vi.spyOn(RangeLock.prototype, "unlock").mockReturnValue();
    expect(await foundIn({ ...busy, nodes: 1 }, {}, under("check"))).toMatch(/tells of a mismatch in sector \d+/);
  });

  it("nothing newer is overwritten: a repair does not wait for writes", async () => {
    vi.spyOn(RangeLock.prototype, "lock").mockReturnValue(true);
    vi.spyOn(RangeLock.prototype, "unlock").mockReturnValue();
    const found = await foundIn({ ...busy, nodes: 1 }, {}, under("repair"));
    expect(found).toMatch(/tells of a mismatch|may differ between mirrors|is acknowledged/);
  });
});
