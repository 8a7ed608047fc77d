import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type SectorRange, sector, sectorRange } from "../../src/base/units.ts";
import { idleResync, type ResyncEffect, type ResyncEvent, stepResync } from "../../src/resync/resync-machine.ts";
import { nextRetryDelay } from "../../src/resync/retry-delay.ts";
import {
  firstWindow,
  largestWindow,
  nextWindowSize,
  smallestWindow,
  windowLimit,
} from "../../src/resync/window-size.ts";

interface Disk {
  readonly work: readonly SectorRange[];
  readonly msPerSector: number;
  readonly failAt?: number;
  readonly unreadableAt?: number;
  readonly skipsUnreadable?: boolean;
  readonly grid?: number;
  readonly stopAfter?: number;
}

/** Carries a pass out against a list of ranges that need copying. */
function run({ work, msPerSector, failAt, unreadableAt, skipsUnreadable = true, grid = 1, stopAfter }: Disk): {
  log: ResyncEffect[];
  outcome: string;
} {
  const log: ResyncEffect[] = [];
  let state = idleResync;
  const total = work.reduce((sum, { lo, hi }) => sum + hi - lo, 0);
  const events: ResyncEvent[] = [{ type: "start", from: sector(0), total, skipsUnreadable, grid }];
  for (let steps = 0; steps < 100_000; steps++) {
    if (steps === stopAfter) [state] = stepResync(state, { type: "stop" });
    const event = events.shift();
    if (event === undefined) throw new Error("stuck");
    const [next, effects] = stepResync(state, event);
    state = next;
    for (const effect of effects) {
      log.push(effect);
      if (effect.type === "ended") return { log, outcome: effect.outcome };
      if (effect.type === "announce") events.push({ type: "announced", ms: 1 });
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
  it("26.4, 27.5, 27.21: copies exactly what needs it, each window announced just before, and withdraws the last one", () => {
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
        const limit = Math.max(smallestWindow, Math.min(largestWindow, copied / 400));
        for (const { lo, hi } of windows(log, "announce")) expect(hi - lo).toBeLessThanOrEqual(Math.ceil(limit));
        expect(log.filter(({ type }) => type === "withdraw")).toHaveLength(copied > 0 ? 1 : 0);
      }),
    );
  });

  it("27.3: finds chunk 0, alone or with others", () => {
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
  const sizeAfter = (
    size: number,
    ms: number,
    { announceMs = 2, times = 20, limit = largestWindow as number } = {},
  ): number => {
    let next = size;
    for (let i = 0; i < times; i++)
      next = nextWindowSize(next, { sectors: next, announceMs, copyMs: next * ms }, limit);
    return next;
  };

  it("K5: is so that announcing and copying take 20 ms, from 64 KiB to 32 MiB", () => {
    // 100 MB/s.
    expect((sizeAfter(firstWindow, 512 / 100_000) * 512) / 1e6).toBeCloseTo(1.8, 1);
    // 8 MB/s, where a fixed window of 32 MiB makes a writer wait for 4 s.
    expect((sizeAfter(firstWindow, 512 / 8000) * 512) / 1e3).toBeCloseTo(144, 0);
    expect(sizeAfter(firstWindow, 1e-7)).toBe(largestWindow);
    expect(sizeAfter(largestWindow, 1)).toBe(smallestWindow);
  });

  it("grows by a factor of two at most, and shrinks at once", () => {
    expect(sizeAfter(firstWindow, 1e-7, { times: 1 })).toBe(firstWindow * 2);
    expect(sizeAfter(largestWindow, 1, { times: 1 })).toBe(smallestWindow);
  });

  it("copies for as long as announcing takes, however slowly the lock server answers", () => {
    expect((sizeAfter(firstWindow, 512 / 100_000, { announceMs: 16 }) * 512) / 1e6).toBeCloseTo(1.6, 1);
    expect((sizeAfter(firstWindow, 512 / 100_000, { announceMs: 100 }) * 512) / 1e6).toBeCloseTo(10, 1);
  });

  it("is no larger than a four-hundredth of the work, if that is not too small", () => {
    expect(windowLimit(400_000)).toBe(1000);
    expect(windowLimit(10)).toBe(smallestWindow);
    expect(windowLimit(2 ** 40)).toBe(largestWindow);
    expect(sizeAfter(firstWindow, 1e-7, { limit: 1000 })).toBe(1000);
  });

  it("learns nothing from a window without a copy", () => {
    expect(nextWindowSize(firstWindow, { sectors: 0, announceMs: 1, copyMs: 0.1 }, largestWindow)).toBe(firstWindow);
  });
});
