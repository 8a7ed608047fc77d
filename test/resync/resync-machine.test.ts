import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type SectorRange, sector, sectorRange } from "../../src/base/units.ts";
import { idleResync, type ResyncEffect, type ResyncEvent, stepResync } from "../../src/resync/resync-machine.ts";
import { nextRetryDelay } from "../../src/resync/retry-delay.ts";
import {
  firstWindow,
  largestWindow,
  mostUncleared,
  nextWindowSize,
  partSize,
  passGrain,
  sharedWindowMs,
  smallestWindow,
} from "../../src/resync/window-size.ts";

interface Disk {
  readonly work: readonly SectorRange[];
  readonly msPerSector: number;
  readonly failAt?: number;
  readonly unreadableAt?: number;
  readonly skipsUnreadable?: boolean;
  readonly grid?: number;
  readonly ahead?: number;
  readonly stopAfter?: number;
  /** Steps after which another node comes, or goes. */
  readonly company?: readonly number[];
  /** Alone from the start. */
  readonly alone?: boolean;
  /** Sectors after which something is to be done with nothing in flight. */
  readonly restEvery?: number;
}

const END = 2 ** 40;
const LONGEST = 4096;

/** Carries a pass out against a list of ranges that need copying; at most one copy ends a step. */
function run(disk: Disk): { log: ResyncEffect[]; outcome: string } {
  const { work, msPerSector, failAt, unreadableAt, skipsUnreadable = true, grid = 1, ahead = 3 } = disk;
  const log: ResyncEffect[] = [];
  let state = idleResync;
  let alone = disk.alone ?? false;
  let copied = 0;
  const order = {
    from: sector(0),
    end: sector(END),
    longest: LONGEST,
    widest: largestWindow,
    skipsUnreadable,
    grid,
    ahead,
  };
  const parts: SectorRange[] = [];
  let next: ResyncEvent | null = { type: "start", order, alone };
  for (let steps = 0; steps < 100_000; steps++) {
    if (steps === disk.stopAfter) [state] = stepResync(state, { type: "stop" });
    if (disk.company?.includes(steps)) alone = !alone;
    [state] = stepResync(state, { type: "company", alone });
    const event: ResyncEvent = next ?? ended(parts.shift());
    next = null;
    const [after, effects] = stepResync(state, event);
    state = after;
    for (const effect of effects) {
      log.push(effect);
      if (effect.type === "ended") return { log, outcome: effect.outcome };
      if (effect.type === "announce") next = { type: "announced", ms: 1 };
      if (effect.type === "withdraw") next = { type: "withdrawn" };
      if (effect.type === "rest") next = { type: "rested", withdrawn: !alone };
      if (effect.type === "copy") parts.push(effect.part);
      if (effect.type === "scan") {
        const found = work.find(({ hi }) => hi > effect.from);
        const range = found === undefined ? null : sectorRange(Math.max(found.lo, effect.from), found.hi);
        next = { type: "scanned", range };
      }
    }
    if (next !== null && parts.length > 0) throw new Error(`${next.type} while a part is at work`);
    if (parts.length > ahead) throw new Error(`${parts.length} parts at work`);
  }
  throw new Error("no end");

  function ended(part: SectorRange | undefined): ResyncEvent {
    if (part === undefined) throw new Error("stuck");
    const { lo, hi } = part;
    const sectors = hi - lo;
    const covers = (at: number | undefined): boolean => at !== undefined && lo <= at && at < hi;
    const outcome = covers(failAt) ? "failed" : covers(unreadableAt) ? "unreadable" : "copied";
    const { restEvery = Number.POSITIVE_INFINITY } = disk;
    const rest = Math.floor(copied / restEvery) < Math.floor((copied + sectors) / restEvery);
    copied += sectors;
    return { type: "copied", sectors, outcome, ms: sectors * msPerSector, rest };
  }
}

const windows = (log: readonly ResyncEffect[]): SectorRange[] =>
  log.flatMap((effect) => (effect.type === "announce" ? [effect.window] : []));
const parts = (log: readonly ResyncEffect[]): SectorRange[] =>
  log.flatMap((effect) => (effect.type === "copy" ? [effect.part] : []));

/** Every part lies in the window that was announced last, and nothing is announced or withdrawn while one is at work. */
function expectBehindWindows(log: readonly ResyncEffect[], keeps = false): void {
  let window: SectorRange | null = null;
  const outside: SectorRange[] = [];
  for (const effect of log) {
    if (effect.type === "announce") window = effect.window;
    if (effect.type === "withdraw" || (effect.type === "rest" && !keeps)) window = null;
    if (effect.type !== "copy") continue;
    const { lo, hi } = effect.part;
    if (window === null || lo < window.lo || hi > window.hi) outside.push(effect.part);
  }
  expect(outside).toEqual([]);
}

const longest = (among: readonly SectorRange[]): number => Math.max(0, ...among.map(({ lo, hi }) => hi - lo));

/** What was copied, joined. */
function joined(log: readonly ResyncEffect[]): SectorRange[] {
  const result: SectorRange[] = [];
  for (const part of parts(log)) {
    const last = result.at(-1);
    if (last?.hi === part.lo) result[result.length - 1] = sectorRange(last.lo, part.hi);
    else result.push(part);
  }
  return result;
}

const rangesOf = (gaps: readonly (readonly [number, number])[]): SectorRange[] => {
  let at = 0;
  return gaps.map(([gap, length]) => {
    const lo = at + gap;
    at = lo + length;
    return sectorRange(lo, at);
  });
};
const ranges = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 200_000 })), { maxLength: 8 })
  .map(rangesOf);
const speeds = fc.double({ min: 0.0001, max: 1, noNaN: true });

describe("resync pass", () => {
  it("26.4, 27.5, 27.21: copies exactly what needs it, behind windows that are announced before, and withdraws the last one", () => {
    fc.assert(
      fc.property(ranges, speeds, (work, msPerSector) => {
        const { log, outcome } = run({ work, msPerSector });
        expect(outcome).toBe("finished");
        expect(joined(log)).toEqual(work);
        expectBehindWindows(log);
        const total = work.reduce((sum, { lo, hi }) => sum + hi - lo, 0);
        expect(longest(parts(log))).toBeLessThanOrEqual(LONGEST);
        expect(longest(windows(log))).toBeLessThanOrEqual(largestWindow);
        expect(log.filter(({ type }) => type === "withdraw")).toHaveLength(total > 0 ? 1 : 0);
      }),
    );
  });

  it("tells how far it is in order, and nothing twice", () => {
    fc.assert(
      fc.property(ranges, speeds, (work, msPerSector) => {
        const { log } = run({ work, msPerSector });
        const reached = log.flatMap((effect) => (effect.type === "advance" ? [effect.to] : []));
        expect(reached).toEqual(parts(log).map(({ hi }) => hi));
      }),
    );
  });

  it("asks for parts ahead, of a window that takes 16 ms", () => {
    const { log } = run({ work: [sectorRange(0, 4_000_000)], msPerSector: 512 / 100_000 });
    const late = windows(log).slice(10, -1);
    for (const { lo, hi } of late) expect((hi - lo) * (512 / 100_000) + 1).toBeCloseTo(16, 0);
    // Each is cut, and the second and third are asked for with the first.
    const firsts = log.map(({ type }) => type).join(" ");
    expect(firsts).toContain("announce copy copy copy advance copy advance advance advance announce");
  });

  it("announces to nobody but once, and copies the same", () => {
    fc.assert(
      fc.property(ranges, speeds, (work, msPerSector) => {
        const { log, outcome } = run({ work, msPerSector, alone: true });
        expect(outcome).toBe("finished");
        expect(joined(log)).toEqual(work);
        expectBehindWindows(log);
        expect(windows(log)).toHaveLength(work.length > 0 ? 1 : 0);
        expect(windows(log)[0]?.hi ?? END).toBe(END);
      }),
    );
  });

  it("has no window for nobody any more once another node is there, and one again when it is gone", () => {
    const steps = fc.array(fc.nat(60), { maxLength: 6 });
    fc.assert(
      fc.property(ranges, speeds, steps, (work, msPerSector, company) => {
        const { log, outcome } = run({ work, msPerSector, company, alone: true });
        expect(outcome).toBe("finished");
        expect(joined(log)).toEqual(work);
        expectBehindWindows(log);
      }),
    );
    const { log } = run({ work: [sectorRange(0, 4_000_000)], msPerSector: 0.005, alone: true, company: [20] });
    const [whole, ...small] = windows(log);
    expect(whole?.hi).toBe(END);
    // No more than what was at work is copied behind it.
    expect(small[0]?.lo).toBe(parts(log)[parts(log).findIndex(({ lo }) => lo === small[0]?.lo)]?.lo);
    expect(log.findIndex(({ type }, i) => type === "announce" && i > 2)).toBeLessThan(2 * 20 + 5);
    for (const { lo, hi } of small) expect((hi - lo) * 0.005).toBeLessThanOrEqual(sharedWindowMs);
  });

  it("rests with nothing in flight and nothing announced", () => {
    fc.assert(
      fc.property(ranges, speeds, fc.boolean(), (work, msPerSector, alone) => {
        const { log, outcome } = run({ work, msPerSector, alone, restEvery: 50_000 });
        expect(outcome).toBe("finished");
        expect(joined(log)).toEqual(work);
        expectBehindWindows(log, alone);
        if (alone) expect(windows(log).length).toBeLessThanOrEqual(1);
        const total = work.reduce((sum, { lo, hi }) => sum + hi - lo, 0);
        if (total > 100_000) expect(log.some(({ type }) => type === "rest")).toBe(true);
      }),
    );
  });

  it("27.3: finds chunk 0, alone or with others", () => {
    expect(parts(run({ work: [sectorRange(0, 8)], msPerSector: 1 }).log)).toEqual([{ lo: 0, hi: 8 }]);
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
    expect(parts(log)).toEqual(parts(whole.log));
    expect(log.at(-2)).toEqual({ type: "withdraw" });
  });

  it("does not go behind a sector that cannot be read when it fills a member", () => {
    const work = [sectorRange(0, 100_000)];
    const { log, outcome } = run({ work, msPerSector: 0.001, unreadableAt: 50_000, skipsUnreadable: false });
    expect(outcome).toBe("incomplete");
    expect(log.at(-2)).toEqual({ type: "withdraw" });
    for (const effect of log) if (effect.type === "advance") expect(effect.to).toBeLessThanOrEqual(50_000);
    expect(parts(log).at(-1)?.hi).toBeGreaterThan(50_000);
  });

  it.each([false, true])("stops after the parts under way (alone: %s)", (alone) => {
    for (let stopAfter = 1; stopAfter < 40; stopAfter++) {
      const { log, outcome } = run({ work: [sectorRange(0, 1_000_000)], msPerSector: 0.001, stopAfter, alone });
      expect(outcome).toBe("stopped");
      expect(parts(log).length).toBeLessThanOrEqual(stopAfter + 3);
      expect(log.filter(({ type }) => type === "advance")).toHaveLength(parts(log).length);
    }
  });

  it("compares one part after the other, on the grid", () => {
    const { log } = run({ work: [sectorRange(0, 1_000_000)], msPerSector: 0.001, grid: 128, ahead: 1 });
    expect(joined(log)).toEqual([{ lo: 0, hi: 1_000_000 }]);
    for (const { hi } of parts(log).slice(0, -1)) expect(hi % 128).toBe(0);
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
  const aim = { widest: largestWindow, targetMs: sharedWindowMs };

  const sizeAfter = (size: number, ms: number, { announceMs = 2, times = 20 } = {}): number => {
    let next = size;
    for (let i = 0; i < times; i++) next = nextWindowSize(next, { sectors: next, announceMs, copyMs: next * ms }, aim);
    return next;
  };

  it("K5: is so that announcing and copying take 16 ms, from 64 KiB to 32 MiB", () => {
    // 100 MB/s.
    expect((sizeAfter(firstWindow, 512 / 100_000) * 512) / 1e6).toBeCloseTo(1.4, 1);
    // 8 MB/s, where a fixed window of 32 MiB makes a writer wait for 4 s.
    expect((sizeAfter(firstWindow, 512 / 8000) * 512) / 1e3).toBeCloseTo(111, 0);
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

  it("is copied in parts, where more than one may be at work", () => {
    expect(partSize(largestWindow, 3)).toBe(largestWindow / 4);
    expect(partSize(smallestWindow, 3)).toBe(smallestWindow);
    expect(partSize(largestWindow, 1)).toBe(largestWindow);
  });

  it("takes no more than a hundredth of the work twice, of which a fourth may have ended since bits were cleared", () => {
    expect([passGrain(400_000, 8), mostUncleared(400_000, 8)]).toEqual([1000, 4000]);
    expect([passGrain(10, 8), mostUncleared(10, 8)]).toEqual([smallestWindow, 2 * smallestWindow]);
    // A large chunk has one bit.
    expect([passGrain(400_000, 50_000), mostUncleared(400_000, 50_000)]).toEqual([50_000, 100_000]);
    expect(passGrain(2 ** 40, 8)).toBe(largestWindow);
  });

  it("ends between blocks of 4 KiB, whatever was measured", () => {
    for (let copyMs = 1; copyMs < 40; copyMs += 0.7) {
      const size = nextWindowSize(
        firstWindow,
        { sectors: 512, announceMs: 0.3, copyMs },
        { ...aim, widest: mostUncleared(1_234_567, 8) },
      );
      expect([size % 8, partSize(size, 3) % 8, passGrain(1_234_567 + size, 8) % 8], `after ${copyMs} ms`).toEqual([
        0, 0, 0,
      ]);
    }
  });

  it("learns nothing from a window without a copy", () => {
    expect(nextWindowSize(firstWindow, { sectors: 0, announceMs: 1, copyMs: 0.1 }, aim)).toBe(firstWindow);
  });
});
