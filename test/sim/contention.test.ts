import { expect, it } from "vitest";
import type { IoRing } from "../../src/blockdev/io-ring.ts";
import { withSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import { expectOk } from "./expect-ok.ts";
import { changed, foundIn } from "./planted.ts";

const crowded: Partial<Scenario> = {
  nodes: 3,
  faults: ["jumpWall"],
  contention: 0.8,
  size: 128,
  chunkSectors: 8,
  longest: 8,
  burst: 6,
  think: [1, 10],
};

// docs/decisions/0023: what is promised to those who write to one block from two nodes at once, and what is not.
it("copies of what two nodes wrote at once hold one of the writes each, perhaps not the same", async () => {
  let contested = 0;
  let differing = 0;
  for (let seed = 0; seed < 6; seed++) {
    const verdict = await withSimulation(seed, crowded, async (simulation) => {
      const { world, array, content, faults } = simulation;
      simulation.begin();
      faults.start();
      const end = world.steps + 2000;
      await world.run(world.now + 120_000, () => world.steps >= end);
      if (!simulation.failed) await simulation.healAndJudge();
      const [first, second] = array.disks;
      for (let at = 0; at < array.geometry.size && first !== undefined && second !== undefined; at++) {
        if (!content.isContested(at)) continue;
        contested++;
        if (!first.versions.equals(second.versions, array.geometry.dataAt + at)) differing++;
      }
    });
    expectOk(verdict);
  }
  expect(contested).toBeGreaterThan(0);
  // Else the exception would stand for nothing.
  expect(differing).toBeGreaterThan(0);
}, 120_000);

it("a copy that holds neither of them is found", async () => {
  let writes = 0;
  const ring = (original: IoRing): IoRing =>
    changed(original, {
      write: (device, at, sectors, buffer, flags, tag) => {
        const isLost = sectors === 1 && ++writes % 5 === 0;
        // It lands where nobody looks.
        original.write(device, isLost ? (0 as typeof at) : at, sectors, buffer, flags, tag);
      },
    });
  const found = await foundIn(crowded, { ring });
  expect(found).toMatch(/may differ between mirrors|is acknowledged, but|holds/);
});
