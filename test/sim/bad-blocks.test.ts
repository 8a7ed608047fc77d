import { afterEach, describe, expect, it, vi } from "vitest";
import { BadBlocks } from "../../src/engine/bad-blocks.ts";
import { runSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import { expectOk } from "./expect-ok.ts";
import { foundIn } from "./planted.ts";

/** Much cannot be written or read, and the power fails. */
const worn: Partial<Scenario> = {
  nodes: 1,
  bitmap: "internal",
  badBlockLog: true,
  faults: ["writeErrors", "readErrors", "repairDisk", "crash", "powerCut", "syncAction"],
  pace: [20, 200],
  reads: 0.5,
};

afterEach(() => {
  vi.restoreAllMocks();
});

describe("an array with bad-block logs, whose members wear out while the power fails", () => {
  it("loses nothing, and reads nothing that is recorded", { timeout: 120_000 }, async () => {
    const recorded = vi.spyOn(BadBlocks.prototype, "record");
    const healed = vi.spyOn(BadBlocks.prototype, "heal");
    const rows: readonly (readonly [number, Partial<Scenario>])[] = [
      ...Array.from({ length: 4 }, (_, i) => [i + 1, {}] as const),
      ...Array.from({ length: 2 }, (_, i) => [i + 20, { bitmap: "none" }] as const),
      ...Array.from({ length: 2 }, (_, i) => [i + 40, { level: 10, layout: i % 2 === 0 ? "n2" : "o2" }] as const),
    ];
    for (const [seed, change] of rows) {
      expectOk(await runSimulation({ seed, steps: 3000, scenario: { ...worn, ...change } }));
    }
    expect(recorded.mock.results.filter(({ value }) => value === true).length).toBeGreaterThan(20);
    expect(healed.mock.results.filter(({ value }) => value === true).length).toBeGreaterThan(1);
  });
});

// Each with a bug planted that the checkers must see.
describe("bad blocks that are not taken seriously are caught", () => {
  it("read all the same", async () => {
    vi.spyOn(BadBlocks.prototype, "isBad").mockReturnValue(false);
    expect(await foundIn(worn, {})).toMatch(/which is recorded as bad|possible are|may read/);
  });

  it("answered before their record is durable", async () => {
    vi.spyOn(BadBlocks.prototype, "isDurable").mockReturnValue(true);
    expect(await foundIn(worn, {})).toMatch(/is acknowledged, but|possible are/);
  });
});
