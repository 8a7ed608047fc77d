import { expect, it } from "vitest";
import { faultKinds } from "../../src/sim/faults.ts";
import { runSimulation } from "../../src/sim/run-simulation.ts";

it("a seed decides everything: it happens in the same way each time", async () => {
  const scenario = { drawnFrom: faultKinds };
  for (const seed of [3, 14, 27, 39]) {
    const once = await runSimulation({ seed, scenario });
    const again = await runSimulation({ seed, scenario });
    expect(again.hash).toBe(once.hash);
    expect(again.steps).toBe(once.steps);
    expect((await runSimulation({ seed: seed + 1, scenario })).hash).not.toBe(once.hash);
  }
});

it("a run that names the faults that its seed draws is the same run: what is shrunk keeps its world", async () => {
  for (const seed of [5, 8]) {
    const { hash, scenario } = await runSimulation({ seed, scenario: { drawnFrom: faultKinds } });
    const { faults, nodes } = scenario;
    expect((await runSimulation({ seed, nodes, scenario: { faults } })).hash).toBe(hash);
  }
});
