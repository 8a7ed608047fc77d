import { afterEach, describe, expect, it, vi } from "vitest";
import { ResyncAnnouncer } from "../../src/cluster/resync-announcer.ts";
import { RangeLock } from "../../src/engine/range-lock.ts";
import { RewritePath } from "../../src/engine/rewrite-path.ts";
import { runSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import { foundIn } from "./planted.ts";

/** Much is read, and much of it cannot be. */
const unreadable: Partial<Scenario> = {
  nodes: 3,
  members: 3,
  faults: ["readErrors", "repairDisk"],
  pace: [20, 200],
  reads: 0.5,
};

afterEach(() => {
  vi.restoreAllMocks();
});

describe("F15: blocks that cannot be read, on several nodes at once", () => {
  it("are rewritten while all write, and nothing is lost", async () => {
    const begun = vi.spyOn(RewritePath.prototype, "begin");
    for (let seed = 1; seed <= 4; seed++) {
      const verdict = await runSimulation({ seed, steps: 6000, scenario: unreadable });
      expect(verdict.violations).toEqual([]);
    }
    expect(begun.mock.calls.length).toBeGreaterThan(10);
  });
});

// Each with a bug planted that the checkers must see.
describe("a rewrite that races with a write is caught", () => {
  it("of another node: nobody was told to keep away", async () => {
    vi.spyOn(ResyncAnnouncer.prototype, "show").mockResolvedValue();
    expect(await foundIn(unreadable, {})).toMatch(/which n\d\.\d+ copies|suspends nothing/);
  });

  it("of this node: it does not hold its range", async () => {
    const { begin } = RewritePath.prototype;
    const { lock } = RangeLock.prototype;
    let isRewrite = false;
    vi.spyOn(RewritePath.prototype, "begin").mockImplementation(function (this: RewritePath, ...args) {
      isRewrite = true;
      begin.apply(this, args);
      isRewrite = false;
    });
    vi.spyOn(RangeLock.prototype, "lock").mockImplementation(function (this: RangeLock, holder, lo, hi) {
      // Where nobody is.
      return isRewrite ? lock.call(this, holder, 1e9, 1e9 + 1) : lock.call(this, holder, lo, hi);
    });
    // All write to a few blocks, all the time.
    const crowded = {
      ...unreadable,
      nodes: 1,
      size: 128,
      longest: 64,
      burst: 8,
      think: [1, 4],
      pace: [5, 40],
    } as const;
    expect(await foundIn(crowded, {})).toMatch(/may differ between mirrors|is acknowledged, but|possible are/);
  });
});
