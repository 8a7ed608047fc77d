import { describe, it } from "vitest";
import { lockFaultKinds } from "../../src/sim/node-faults.ts";
import { runSimulation } from "../../src/sim/run-simulation.ts";
import { expectOk } from "./expect-ok.ts";

describe("a simulated cluster whose lock server is hurt while nodes die", () => {
  it.each(lockFaultKinds)("by %s", async (kind) => {
    for (const seed of [1, 2]) {
      expectOk(await runSimulation({ seed, nodes: 2 + seed, steps: 3000, scenario: { faults: [kind, "crash"] } }));
    }
  });
});
