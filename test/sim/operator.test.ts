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
  expect(moved).toBeGreaterThan(3);
});
