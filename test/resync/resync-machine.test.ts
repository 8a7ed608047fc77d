import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type SectorRange, sector, sectorRange } from "../../src/base/units.ts";
import { idleResync, type ResyncEffect, type ResyncEvent, stepResync } from "../../src/resync/resync-machine.ts";
import { nextRetryDelay } from "../../src/resync/retry-delay.ts";
import { firstWindow, largestWindow, nextWindowSize, smallestWindow } from "../../src/resync/window-size.ts";

interface Disk {
  readonly work: readonly SectorRange[];
  readonly msPerSector: number;
  readonly failAt?: number;
  readonly unreadableAt?: number;
  readonly skipsUnreadable?: boolean;
  readonly stopAfter?: number;
}

/** Carries a pass out against a list of ranges that need copying. */
function run({ work, msPerSector, failAt, unreadableAt, skipsUnreadable = true, stopAfter }: Disk): {
  log: ResyncEffect[];
  outcome: string;
} {
  const log: ResyncEffect[] = [];
  let state = idleResync;
  const events: ResyncEvent[] = [{ type: "start", from: sector(0), skipsUnreadable }];
  for (let steps = 0; steps < 100_000; steps++) {
    if (steps === stopAfter) [state] = stepResync(state, { type: "stop" });
    const event = events.shift();
    if (event === undefined) throw new Error("stuck");
    const [next, effects] = stepResync(state, event);
    state = next;
    for (const effect of effects) {
      log.push(effect);
      if (effect.type === "ended") return { log, outcome: effect.outcome };
      if (effect.type === "announce") events.push({ type: "announced" });
      if (effect.type === "withdraw") events.push({ type: "withdrawn" });
      if (effect.type === "scan") {
        const found = work.find(({ hi }) => hi > effect.from);
        const range = found === undefined ? null : sectorRange(Math.max(found.lo, effect.from), found.hi);
        events.push({ type: "scanned", range });
      }
      if (effect.type === "copy") {
        const sectors = effect.window.hi - effect.window.lo;
        const { lo, hi } = effect.window;
        const covers = (at: number | undefined): boolean => at !== undefined && lo <= at && at < hi;
        const outcome = covers(failAt) ? "failed" : covers(unreadableAt) ? "unreadable" : "copied";
        events.push({ type: "copied", sectors, outcome, ms: sectors * msPerSector });
      }
    }
  }
  throw new Error("no end");
}

const windows = (log: readonly ResyncEffect[], type: "announce" | "copy"): SectorRange[] =>
  log.flatMap((effect) => (effect.type === type ? [effect.window] : []));

describe("resync pass", () => {
  it("copies exactly what needs it, each window announced just before, and withdraws the last one", () => {
    const ranges = fc
      .array(fc.tuple(fc.nat(100_000), fc.integer({ min: 1, max: 200_000 })), { maxLength: 8 })
      .map((gaps) => {
        let at = 0;
        return gaps.map(([gap, length]) => {
          const lo = at + gap;
          at = lo + length;
          return sectorRange(lo, at);
        });
      });
    fc.assert(
      fc.property(ranges, fc.double({ min: 0.0001, max: 1, noNaN: true }), (work, msPerSector) => {
        const { log, outcome } = run({ work, msPerSector });
        expect(outcome).toBe("finished");
        expect(windows(log, "copy")).toEqual(windows(log, "announce"));
        const copied = windows(log, "copy").reduce((sum, { lo, hi }) => sum + hi - lo, 0);
        expect(copied).toBe(work.reduce((sum, { lo, hi }) => sum + hi - lo, 0));
        for (const { lo, hi } of windows(log, "announce")) expect(hi - lo).toBeLessThanOrEqual(largestWindow);
        expect(log.filter(({ type }) => type === "withdraw")).toHaveLength(copied > 0 ? 1 : 0);
      }),
    );
  });

  it("finds chunk 0, alone or with others", () => {
    expect(windows(run({ work: [sectorRange(0, 8)], msPerSector: 1 }).log, "copy")).toEqual([{ lo: 0, hi: 8 }]);
  });

  it("ends at a failed copy, with the window withdrawn", () => {
    const { log, outcome } = run({ work: [sectorRange(0, 100_000)], msPerSector: 0.001, failAt: 50_000 });
    expect(outcome).toBe("failed");
    expect(log.at(-2)).toEqual({ type: "withdraw" });
  });

  it("copies everything else when a sector cannot be read, and says that it is not complete", () => {
    const work = [sectorRange(0, 100_000), sectorRange(200_000, 300_000)];
    const whole = run({ work, msPerSector: 0.001 });
    const { log, outcome } = run({ work, msPerSector: 0.001, unreadableAt: 50_000 });
    expect(outcome).toBe("incomplete");
    expect(windows(log, "copy")).toEqual(windows(whole.log, "copy"));
    expect(log.at(-2)).toEqual({ type: "withdraw" });
  });

  it("does not go behind a sector that cannot be read when it fills a member", () => {
    const work = [sectorRange(0, 100_000)];
    const { log, outcome } = run({ work, msPerSector: 0.001, unreadableAt: 50_000, skipsUnreadable: false });
    expect(outcome).toBe("incomplete");
    expect(log.at(-2)).toEqual({ type: "withdraw" });
    for (const effect of log) if (effect.type === "advance") expect(effect.to).toBeLessThanOrEqual(50_000);
    expect(windows(log, "copy").at(-1)?.hi).toBeGreaterThan(50_000);
  });

  it("stops after the window under way", () => {
    for (let stopAfter = 1; stopAfter < 12; stopAfter++) {
      const { log, outcome } = run({ work: [sectorRange(0, 1_000_000)], msPerSector: 0.001, stopAfter });
      expect(outcome).toBe("stopped");
      expect(windows(log, "announce").length).toBeLessThanOrEqual(stopAfter + 1);
    }
  });
});

describe("the wait before another try", () => {
  it("doubles from 5 s to 10 min", () => {
    const waits: number[] = [];
    for (let ms = 0, i = 0; i < 9; i++) {
      ms = nextRetryDelay(ms);
      waits.push(ms / 1000);
    }
    expect(waits).toEqual([5, 10, 20, 40, 80, 160, 320, 600, 600]);
  });
});

describe("window size", () => {
  it("starts at 4 MiB and follows the speed of the disks, between 1 and 32 MiB", () => {
    expect(firstWindow * 512).toBe(4 * 2 ** 20);
    // 8 MB/s, where a fixed window of 32 MiB makes a writer wait for 4 s.
    let size: number = firstWindow;
    for (let i = 0; i < 10; i++) size = nextWindowSize(size, size, (size * 512) / 8000);
    expect(size * 512).toBeGreaterThan(1.5e6);
    expect(size * 512).toBeLessThan(1.7e6);
    for (let i = 0; i < 10; i++) size = nextWindowSize(size, size, (size * 512) / 2_000_000);
    expect(size).toBe(largestWindow);
    for (let i = 0; i < 10; i++) size = nextWindowSize(size, size, 60_000);
    expect(size).toBe(smallestWindow);
  });

  it("learns nothing from a window without a copy", () => {
    expect(nextWindowSize(firstWindow, 0, 0.1)).toBe(firstWindow);
  });
});
