import { expect, it } from "vitest";
import { runSimulation } from "../../src/sim/run-simulation.ts";
import { expectOk } from "./expect-ok.ts";

it("members that operators take out and want back are whole again, whoever dies meanwhile", async () => {
  let moved = 0;
  for (const seed of [40_000, 40_001, 40_002, 40_003]) {
    const faults = ["moveMember", "crash", "powerCut"] as const;
    const verdict = await runSimulation({ seed, scenario: { faults, pace: [150, 700] } });
    expectOk(verdict);
    moved += verdict.faults.filter((fault) => fault.includes("wanted back")).length;
  }
  expect(moved).toBeGreaterThan(0);
});

it.each([
  ["RAID1", 1],
  ["RAID10", 10],
] as const)("members of a %s are replaced while nodes die and disks fail, and nothing is lost", async (_, level) => {
  let replaced = 0;
  for (const seed of [41_000, 41_001, 41_002, 41_003]) {
    const faults = ["replaceMember", "replaceMember", "crash", "powerCut", "writeErrors", "repairDisk"] as const;
    const members = level === 1 ? 2 : 4;
    const scenario = { level, near: 2, members, spares: 1, faults, pace: [60, 300] } as const;
    const verdict = await runSimulation({ seed, scenario });
    expectOk(verdict);
    replaced += verdict.faults.filter((fault) => fault.includes("is to be replaced")).length;
  }
  expect(replaced).toBeGreaterThan(0);
});

it("checks and repairs at any time tell of nothing that nobody spoilt, whoever dies or fails meanwhile", async () => {
  let begun = 0;
  for (const seed of [42_000, 42_001, 42_002, 42_003]) {
    const faults = ["syncAction", "syncAction", "crash", "powerCut", "writeErrors", "repairDisk"] as const;
    const verdict = await runSimulation({ seed, scenario: { faults, pace: [50, 250] } });
    expectOk(verdict);
    begun += verdict.faults.filter((fault) => /sync_action: (check|repair)/.test(fault)).length;
  }
  expect(begun).toBeGreaterThan(0);
});
