import { describe, expect, it } from "vitest";
import { runSimulation } from "../../src/sim/run-simulation.ts";
import { expectOk } from "./expect-ok.ts";

describe("a simulated cluster with a RAID10 is whole again after any mix of faults", () => {
  it.each([
    [0, 4, 2],
    [1, 3, 3],
    [2, 2, 2],
    [3, 5, 2],
    [5, 3, 2],
  ])("seed %i: %i members, %i near copies", async (seed, members, near) => {
    const verdict = await runSimulation({
      seed,
      nodes: 2 + (seed % 2),
      steps: 2000,
      scenario: { level: 10, members, near },
    });
    expectOk(verdict);
    expect(verdict.answered).toBeGreaterThan(0);
  });
});
