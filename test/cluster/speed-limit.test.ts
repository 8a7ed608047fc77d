import { describe, expect, it } from "vitest";
import { SpeedLimit } from "../../src/cluster/speed-limit.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";

const MIB = 2048;

describe("the limit of a resync's speed", () => {
  /** Waits for a mebibyte that took no time; tells whether it has ended. */
  const waiting = (limit: SpeedLimit, clock: FakeClock, signal = new AbortController().signal): (() => boolean) => {
    let ended = false;
    void limit.wait(MIB, clock.now(), signal).then(() => {
      ended = true;
    });
    return () => ended;
  };

  it("makes a copy take as long as the limit says, the time it took itself included", async () => {
    const clock = new FakeClock();
    const limit = new SpeedLimit(clock, 512);
    const beganAt = clock.now();
    await clock.advance(1500);
    let ended = false;
    void limit.wait(MIB, beganAt, new AbortController().signal).then(() => {
      ended = true;
    });
    await clock.advance(499);
    expect(ended).toBe(false);
    await clock.advance(1);
    expect(ended).toBe(true);
  });

  it("is none at 0", async () => {
    const clock = new FakeClock();
    const ended = waiting(new SpeedLimit(clock, 0), clock);
    await settle();
    expect(ended()).toBe(true);
  });

  it("holds for who waits already, when it is raised and when it is lowered", async () => {
    const clock = new FakeClock();
    const limit = new SpeedLimit(clock, 1024);
    const ended = waiting(limit, clock);
    limit.change(256);
    await clock.advance(2000);
    expect(ended()).toBe(false);
    limit.change(0);
    await settle();
    expect(ended()).toBe(true);
  });

  it("keeps nobody who is told to stop", async () => {
    const clock = new FakeClock();
    const stop = new AbortController();
    const ended = waiting(new SpeedLimit(clock, 1), clock, stop.signal);
    stop.abort();
    await settle();
    expect(ended()).toBe(true);
  });
});
