import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addProgress, type ResyncProgress, reportProgress, startProgress } from "../../src/resync/resync-progress.ts";

/** One sample a second at `sectorsPerSecond`. */
function runFor(progress: ResyncProgress, from: number, seconds: number, sectorsPerSecond: number): ResyncProgress {
  let next = progress;
  for (let i = 1; i <= seconds; i++) next = addProgress(next, from + i * 1000, sectorsPerSecond);
  return next;
}

describe("resync progress", () => {
  it("truncates the percentage: only the last sector makes it 100", () => {
    const almost = addProgress(startProgress(0, 100_000), 1000, 99_999);
    expect(reportProgress(almost, 1000).permille).toBe(999);
    expect(reportProgress(addProgress(almost, 2000, 1), 2000).permille).toBe(1000);
    expect(reportProgress(startProgress(0, 0), 0).permille).toBe(1000);
  });

  it("gives no speed before five seconds, then the mean of the last thirty", () => {
    const early = runFor(startProgress(0, 1e9), 0, 4, 1000);
    expect(reportProgress(early, 4000)).toMatchObject({ speed: null, eta: null });
    const fast = runFor(startProgress(0, 1e9), 0, 60, 1000);
    const slow = runFor(fast, 60_000, 30, 100);
    expect(reportProgress(slow, 90_000).speed).toBeCloseTo(100, 5);
    expect(reportProgress(runFor(fast, 60_000, 15, 0), 75_000).speed).toBeCloseTo(500, 5);
  });

  it("gives the time left as a range of the last minute's speeds", () => {
    const steady = runFor(startProgress(0, 60_000), 0, 30, 1000);
    expect(reportProgress(steady, 30_000).eta).toEqual([30, 30]);
    const mixed = runFor(steady, 30_000, 20, 500);
    const [soonest, latest] = reportProgress(mixed, 50_000).eta ?? [0, 0];
    expect([soonest, latest]).toEqual([20, 40]);
  });

  it("tells since when nothing moves, and gives no time left then", () => {
    const stalled = runFor(startProgress(0, 1e6), 0, 10, 1000);
    expect(reportProgress(stalled, 52_000)).toMatchObject({ stalledFor: 42, eta: null });
  });

  it("never goes back nor beyond 100, whatever comes", () => {
    const step = fc.tuple(fc.nat(5000), fc.nat(50_000));
    fc.assert(
      fc.property(fc.array(step), fc.nat(500_000), (steps, total) => {
        let now = 0;
        let progress = startProgress(0, total);
        for (const [ms, sectors] of steps) {
          now += ms;
          progress = addProgress(progress, now, sectors);
          const { permille, speed, eta } = reportProgress(progress, now);
          expect(permille).toBeGreaterThanOrEqual(0);
          expect(permille).toBeLessThanOrEqual(1000);
          for (const number of [speed ?? 0, ...(eta ?? [])]) expect(Number.isFinite(number) && number >= 0).toBe(true);
          expect(progress.samples.length).toBeLessThan(130);
        }
      }),
    );
  });
});
