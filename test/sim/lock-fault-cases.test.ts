import { describe, expect, it } from "vitest";
import type { DlmScenario } from "../../src/sim/dlm-scenario.ts";
import { runDlmSimulation } from "../../src/sim/dlm-simulation.ts";
import { badLink } from "../../src/sim/lock-link.ts";

const LEASE_MS = 1000;

/** Judged by all checkers of the DLM: no two holders in conflict under a lease, value blocks linearizable, and so on. */
async function check(scenario: Partial<DlmScenario>): Promise<void> {
  let conversions = 0;
  for (let seed = 1; seed <= 8; seed++) {
    const verdict = await runDlmSimulation({ seed, steps: 3000, scenario: { leaseMs: LEASE_MS, ...scenario } });
    expect(verdict.violations, `seed ${seed}\n${verdict.trace(40).join("\n")}`).toEqual([]);
    conversions += verdict.conversions;
  }
  expect(conversions).toBeGreaterThan(100);
}

describe("fault cases of the DLM, simulated", () => {
  it("F07: clocks that drift by ten per cent and jump by an hour", async () => {
    await check({ drift: 0.1, faults: ["jumpWall", "pauseLong", "cutLong"], pace: [100, 800] });
  });

  it("F29: the lock server cannot be reached, for less and for more than a lease, in one direction or both", async () => {
    await check({ faults: ["cutShort", "cutLong", "cutRequests", "cutReplies"], pace: [100, 800] });
  });

  it("F30: the lock server comes back empty, or with an older state", async () => {
    await check({ faults: ["restartLockServer", "rollBackLockServer", "crash"], pace: [300, 2000] });
  });

  it("F31: a replica that lacks the last grants takes over, and one node does not know", async () => {
    await check({ faults: ["splitLockServer", "pauseShort"], pace: [300, 2000] });
  });

  it("F33: messages lost, doubled, and so late that their sender is dead", async () => {
    await check({ link: badLink(LEASE_MS), faults: ["crash", "pauseLong"], pace: [300, 2000] });
  });
});
