import { beforeEach, describe, expect, it } from "vitest";
import { distrustAfter, inFlightBound, stopAfter } from "../../src/dlm/lease.ts";
import { LeaseKeeper } from "../../src/dlm/lease-keeper.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { envOf } from "../support/lockspace-node.ts";

const lease = { leaseMs: 10_000 };

describe("a node's lease", () => {
  let clock: FakeClock;
  let keeper: LeaseKeeper;
  let until: readonly [number, number] | null;
  let told: boolean[];
  let lost: number[];

  beforeEach(() => {
    clock = new FakeClock();
    until = null;
    told = [];
    lost = [];
    keeper = new LeaseKeeper({
      lease,
      env: envOf(clock),
      lockspace: "array",
      sink: (...both) => {
        until = both;
      },
      onReachable: (reachable) => told.push(reachable),
      onLost: () => lost.push(clock.now()),
    });
  });

  it("says once when it is lost", async () => {
    keeper.acknowledged(keeper.stamp(), false);
    for (let look = 0; look < 9; look++) {
      await clock.advance(1000);
      keeper.look();
    }
    expect(lost).toEqual([stopAfter(lease)]);
  });

  it("counts from when the acknowledged renewal was sent, whichever answer comes first", async () => {
    const first = keeper.stamp();
    await clock.advance(300);
    const second = keeper.stamp();
    await clock.advance(500);
    keeper.acknowledged(second, false);
    expect(until).toEqual([300 + stopAfter(lease), 300 + distrustAfter(lease)]);
    keeper.acknowledged(first, false);
    expect([keeper.renewedAt, keeper.roundTripMs]).toEqual([300, 500]);
  });

  it("is extended while the members report, but not revived once it is over", async () => {
    keeper.acknowledged(keeper.stamp(), false);
    await clock.advance(5900);
    const last = keeper.stamp();
    keeper.acknowledged(last, true);
    expect(keeper.renewedAt).toBe(5900);
    await clock.advance(6000);
    keeper.acknowledged(keeper.stamp(), true);
    expect(keeper.renewedAt).toBe(5900);
    keeper.acknowledged(keeper.stamp(), false);
    expect(keeper.renewedAt).toBe(11_900);
  });

  it("is not begun while the members report", () => {
    keeper.acknowledged(keeper.stamp(), true);
    expect(until).toBeNull();
  });

  it("is over when the host was suspended, until the next renewal that was sent after that", async () => {
    keeper.acknowledged(keeper.stamp(), false);
    await clock.advance(900);
    const before = keeper.stamp();
    clock.suspend(501);
    keeper.look();
    expect([until, told]).toEqual([[0, 0], [false]]);
    keeper.acknowledged(before, false);
    expect(until).toEqual([0, 0]);
    keeper.acknowledged(keeper.stamp(), true);
    expect(until).toEqual([0, 0]);
    keeper.acknowledged(keeper.stamp(), false);
    expect([until, told]).toEqual([
      [900 + stopAfter(lease), 900 + distrustAfter(lease)],
      [false, true],
    ]);
  });

  it("bears what its margin pays for", async () => {
    keeper.acknowledged(keeper.stamp(), false);
    clock.suspend(500);
    await clock.advance(1000);
    keeper.look();
    expect(until).toEqual([stopAfter(lease), distrustAfter(lease)]);
  });

  it("does not take a thread that stood still for a suspended host", () => {
    // Between the two clocks that are read for one stamp.
    const { now } = clock;
    let reads = 0;
    clock.now = () => now.call(clock) + (reads++ === 0 ? 0 : 2000);
    clock.sinceBoot = () => now.call(clock) + 2000;
    keeper.acknowledged(keeper.stamp(), false);
    keeper.look();
    expect(until).not.toEqual([0, 0]);
  });

  it("has ended for good when it was left", () => {
    keeper.acknowledged(keeper.stamp(), false);
    keeper.end();
    keeper.acknowledged({ at: 10, sinceBoot: 10 }, false);
    expect(until).toEqual([0, 0]);
  });

  it("leaves time for writes in flight, with clocks that run apart, at every length", () => {
    for (const leaseMs of [1000, 10_000, 60_000]) {
      const bound = inFlightBound({ leaseMs });
      const worst = ((stopAfter({ leaseMs }) + bound) * 1.001) / 0.999;
      expect(worst).toBeLessThan(leaseMs);
      expect(bound).toBeGreaterThan(leaseMs / 3);
      // Ten per cent wrong.
      expect(inFlightBound({ leaseMs }, 0.1)).toBeGreaterThan(leaseMs / 6);
    }
  });
});
