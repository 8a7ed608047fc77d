import { afterEach, describe, expect, it, vi } from "vitest";
import { BadBlocks } from "../../src/engine/bad-blocks.ts";
import { runSimulation, withSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import type { Simulation } from "../../src/sim/simulation.ts";
import { expectOk } from "./expect-ok.ts";
import { foundIn } from "./planted.ts";

/** Nothing breaks but what the test breaks. */
const one: Partial<Scenario> = {
  nodes: 1,
  members: 2,
  spares: 0,
  size: 200,
  bitmap: "internal",
  badBlockLog: true,
  faults: [],
  chunkSectors: 16,
  longest: 24,
  burst: 5,
  think: [1, 15],
  reads: 0.4,
};
const ROUNDS = 10;

/** Again and again blocks of one member do not take writes; the power fails, or the host dies, and they do again. */
async function wear(simulation: Simulation): Promise<void> {
  const { world, array, faults, nodes } = simulation;
  const { dataAt, memberSize } = array.geometry;
  const disk = array.disks[1];
  if (disk === undefined) throw new RangeError("no second member");
  simulation.begin();
  for (let round = 0; round < ROUNDS && !simulation.failed; round++) {
    await simulation.untilAllServe();
    const lo = dataAt + ((round * 37) % (memberSize - 24));
    disk.bad = [{ lo, hi: lo + 8 + round, read: false, write: true }];
    await world.run(world.now + 60 + 7 * round);
    world.schedule(0, null, () => {
      if (round % 3 === 0) nodes[0]?.kill("killed");
      else faults.powerCut();
      disk.bad = [];
    });
    await world.run(world.now + 100);
  }
  await simulation.healAndJudge();
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("members with bad-block logs that wear out while the power fails", () => {
  it.each<readonly [seed: number, what: string, Partial<Scenario>]>([
    [1, "a mirror", {}],
    [2, "a mirror", {}],
    [3, "a mirror of three", { members: 3 }],
    [4, "a mirror without bitmap", { bitmap: "none" }],
    [5, "RAID10", { level: 10, layout: "n2", members: 3 }],
    [6, "RAID10 with offset copies", { level: 10, layout: "o2", members: 3 }],
  ])("seed %i, %s: nothing is lost, nothing recorded is read, and writes make blocks good", async (seed, _, change) => {
    const recorded = vi.spyOn(BadBlocks.prototype, "record");
    const healed = vi.spyOn(BadBlocks.prototype, "heal");
    expectOk(await withSimulation(seed, { ...one, ...change }, wear));
    expect(recorded.mock.results.some(({ value }) => value === true)).toBe(true);
    expect(healed.mock.results.some(({ value }) => value === true)).toBe(true);
  });

  it("and read errors, checks and repairs besides", async () => {
    const faults = ["writeErrors", "readErrors", "repairDisk", "crash", "powerCut", "syncAction"] as const;
    for (const seed of [1, 2, 3]) {
      expectOk(await runSimulation({ seed, steps: 2500, scenario: { ...one, faults, pace: [20, 200] } }));
    }
  });
});

// Each with a bug planted that the checkers must see.
describe("bad blocks that are not taken seriously are caught", () => {
  it("read all the same", async () => {
    vi.spyOn(BadBlocks.prototype, "isBad").mockReturnValue(false);
    expect(await foundIn(one, {}, wear)).toMatch(/which is recorded as bad|possible are|may read/);
  });

  it("answered before their record is durable", async () => {
    vi.spyOn(BadBlocks.prototype, "isDurable").mockReturnValue(true);
    expect(await foundIn(one, {}, wear)).toMatch(/is acknowledged, but|possible are/);
  });
});
