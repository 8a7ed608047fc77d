import { beforeEach, describe, expect, it } from "vitest";
import { type Deferred, deferred } from "../../src/base/deferred.ts";
import { LeaseGate } from "../../src/cluster/lease-gate.ts";
import { SharedBlock } from "../../src/engine/shared-block.ts";
import { FakeClock } from "../support/fake-clock.ts";

describe("a lease that comes back after it was over", () => {
  let clock: FakeClock;
  let shared: SharedBlock;
  let gate: LeaseGate;
  let asked: number;
  let answer: Deferred<boolean>;
  const holds = (): boolean => shared.leaseHolds(clock.now());
  const within = (ms: number): [number, number] => [clock.now() + ms, clock.now() + ms];

  beforeEach(async () => {
    clock = new FakeClock();
    shared = new SharedBlock();
    gate = new LeaseGate(shared, clock);
    asked = 0;
    answer = deferred();
    gate.set(...within(100));
    gate.askFirst(() => {
      asked++;
      return answer.promise;
    });
    await clock.advance(50);
    gate.set(...within(100));
    expect([holds(), asked]).toEqual([true, 0]);
    await clock.advance(200);
    expect(holds()).toBe(false);
  });

  it("counts once the members say nothing against us, with the latest end", async () => {
    gate.set(...within(100));
    await clock.advance(50);
    gate.set(...within(300));
    expect([holds(), asked]).toEqual([false, 1]);
    answer.resolve(true);
    await clock.advance(200);
    expect(holds()).toBe(true);
  });

  it("never counts when they say that we were taken over", async () => {
    gate.set(...within(1000));
    answer.resolve(false);
    await clock.advance(10);
    expect([holds(), asked]).toEqual([false, 1]);
  });

  it("is given up at once when it ends while they are asked", async () => {
    gate.set(...within(1000));
    gate.set(0, 0);
    answer.resolve(true);
    await clock.advance(10);
    expect(holds()).toBe(false);
  });

  it("is asked about also when the host has slept and gave it up by itself", async () => {
    gate.set(0, 0);
    gate.set(...within(1000));
    expect([holds(), asked]).toEqual([false, 1]);
    answer.resolve(true);
    await clock.advance(10);
    expect(holds()).toBe(true);
  });

  it("does not count for an answer to an older question", async () => {
    const first = answer;
    gate.set(...within(1000));
    gate.set(0, 0);
    answer = deferred();
    gate.set(...within(1000));
    expect(asked).toBe(2);
    first.resolve(true);
    await clock.advance(10);
    expect(holds()).toBe(false);
    answer.resolve(true);
    await clock.advance(10);
    expect(holds()).toBe(true);
  });
});
