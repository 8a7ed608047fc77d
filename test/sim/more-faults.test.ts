import { describe, expect, it } from "vitest";
import { faultTexts } from "../../src/cli/options/fault-kinds.ts";
import { runDlmSimulation } from "../../src/sim/dlm-simulation.ts";
import { type FaultKind, faultKinds } from "../../src/sim/faults.ts";
import { runSimulation } from "../../src/sim/run-simulation.ts";
import type { SimEvent } from "../../src/sim/sim-event.ts";
import { expectOk } from "./expect-ok.ts";

/** By kind: what is said when it happens. */
const kinds: readonly (readonly [FaultKind, RegExp])[] = [
  ["slowNode", /is slow for/],
  ["skewClock", /clock runs/],
  ["restart", /started again at once/],
  ["badNotices", /notices are lost, doubled or late/],
  ["badCalls", /calls are lost, doubled or late/],
  ["drain", /is drained/],
  ["growSize", /is to grow/],
  ["lateDisk", /answers up to/],
];

/** Few requests, so that much time passes. */
const calm = { burst: 1, think: [50, 400], pace: [50, 500] } as const;

describe("a simulated cluster is whole again after a crash and", () => {
  it.each(kinds)("%s", async (kind, text) => {
    let happened = 0;
    for (const seed of [60_000, 60_001]) {
      const verdict = await runSimulation({ seed, nodes: 3, scenario: { ...calm, faults: [kind, kind, "crash"] } });
      expectOk(verdict);
      happened += verdict.faults.filter((fault) => text.test(fault)).length;
    }
    expect(happened).toBeGreaterThan(0);
  });
});

it("lock managers live with clocks that change their rate, restarts, and bad spells of their links", async () => {
  let conversions = 0;
  for (let seed = 1; seed <= 8; seed++) {
    const faults = ["skewClock", "slowNode", "restart", "badNotices", "badCalls"] as const;
    const verdict = await runDlmSimulation({ seed, steps: 3000, scenario: { faults } });
    expect(verdict.violations, `seed ${seed}\n${verdict.trace(40).join("\n")}`).toEqual([]);
    conversions += verdict.conversions;
  }
  expect(conversions).toBeGreaterThan(100);
});

it("an array that is to grow while nodes die does so, on all of them", async () => {
  let grown = 0;
  for (const seed of [305, 309, 313]) {
    const scenario = { ...calm, pace: [100, 800], faults: ["growSize", "growSize", "crash"] } as const;
    const verdict = await runSimulation({ seed, scenario });
    expectOk(verdict);
    const told = verdict.events(500).map(({ event }) => event);
    grown += told.filter((event) => typeof event === "object" && isCapacity(event)).length;
  }
  expect(grown).toBeGreaterThan(0);
});

const isCapacity = (event: SimEvent): boolean =>
  event.type === "message_begun" && event.message.type === "change_capacity";

it("the help of simulate names every kind", () => {
  expect(Object.keys(faultTexts).sort()).toEqual([...faultKinds].sort());
});

it("bitmaps of two pages: writes cross from one to the other while nodes die", async () => {
  const scenario = { size: 31_200, chunkSectors: 1, longest: 64, burst: 6, think: [1, 30], faults: ["crash"] } as const;
  const verdict = await runSimulation({ seed: 1, nodes: 2, steps: 2000, scenario });
  expectOk(verdict);
  expect(verdict.answered).toBeGreaterThan(100);
}, 180_000);
