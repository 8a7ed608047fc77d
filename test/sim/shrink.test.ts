import { describe, expect, it } from "vitest";
import { sharesOf } from "../../src/cli/commands/simulate-workers.ts";
import { DEFAULT_STEPS, type SimulationOptions } from "../../src/sim/run-simulation.ts";
import { type Run, shrink } from "../../src/sim/shrink.ts";
import type { Verdict } from "../../src/sim/simulation.ts";
import { transcriptOf } from "../../src/sim/transcript.ts";

/** A bug that needs 700 events, two nodes, crashes, and the third fault. */
const run: Run = ({ seed, steps = 0, nodes = 0, scenario = {} }: SimulationOptions) => {
  const { faults = [], without = [] } = scenario;
  const ok = steps < 700 || nodes < 2 || !faults.includes("crash") || without.includes(2);
  const verdict: Partial<Verdict> = { seed, ok, injected: 5 };
  return Promise.resolve(verdict as Verdict);
};

const failed = {
  ...{ seed: 1, ok: false, injected: 5 },
  scenario: { nodes: 4, faults: ["stop", "crash", "powerCut"], without: [] },
} as unknown as Verdict;

describe("a failing run is shrunk", () => {
  it("to what the failure needs", async () => {
    const { shrunk, runs } = await shrink(failed, DEFAULT_STEPS, 200, run);
    expect(shrunk).toMatchObject({ nodes: 2, faults: ["crash"] });
    expect([...shrunk.without].sort()).toEqual([0, 1, 3, 4]);
    expect(shrunk.steps).toBeGreaterThanOrEqual(700);
    expect(shrunk.steps).toBeLessThan(760);
    expect(runs).toBeLessThan(100);
  });

  it("within its budget, to something that still fails", async () => {
    const { shrunk, runs } = await shrink(failed, DEFAULT_STEPS, 3, run);
    expect(runs).toBe(3);
    expect(shrunk.steps).toBeLessThan(DEFAULT_STEPS);
    expect(shrunk.steps).toBeGreaterThanOrEqual(700);
  });
});

describe("a transcript", () => {
  it("reads as what was done to the cluster, and what it did then", () => {
    const text = transcriptOf("seed 1", [
      { at: 1, event: { type: "request", life: "n1.1", id: 7, op: "write", lo: 3, hi: 5, fua: true } },
      { at: 2, event: { type: "log", life: "n1.1", level: "trace", text: "token EX" } },
      { at: 3, event: { type: "fault", what: "n1 is killed" } },
      { at: 3, event: { type: "life_ended", life: "n1.1", why: "killed" } },
    ]);
    const story = [
      ...["# seed 1", "1.000 n1.1 is asked to write [3, 5) with FUA (#7)", ""],
      ...["n1 is killed", "----", "3.000 n1.1 ends: killed", ""],
    ];
    expect(text).toBe(story.join("\n"));
  });
});

describe("seeds are shared out", () => {
  it("without a gap or an overlap, to all workers, in shares that are not long", () => {
    for (const [count, workers] of [
      [1, 4],
      [7, 2],
      [1003, 3],
      [100_000, 2],
    ] as const) {
      const shares = sharesOf({ first: 10, count }, workers);
      let at = 10;
      for (const share of shares) {
        expect(share.first).toBe(at);
        expect(share.count).toBeLessThanOrEqual(250);
        at += share.count;
      }
      expect(at).toBe(10 + count);
      expect(shares.length).toBeGreaterThanOrEqual(Math.min(count, workers));
    }
  });
});
