import { describe, expect, it } from "vitest";
import { realClock } from "../../src/env/real-env.ts";
import { suspendClock } from "../../src/env/suspend-clock.ts";

const HOUR = 3_600_000;

/** A machine that can sleep, and whose wall clock anybody may set. */
class Machine {
  monotonic = 5000;
  slept = 0;
  wallOffset = 1_700_000_000_000;
  looks = 0;
  readonly now = suspendClock({
    monotonic: () => this.monotonic,
    wall: () => this.monotonic + this.slept + this.wallOffset,
    sinceBoot: () => {
      this.looks++;
      return Math.floor((this.monotonic + this.slept) / 10) * 10;
    },
  });

  pass(ms: number): void {
    this.monotonic += ms;
  }

  sleep(ms: number): void {
    this.slept += ms;
  }
}

describe("the clock of leases", () => {
  it("goes on while the machine is suspended", () => {
    const machine = new Machine();
    const before = machine.now();
    machine.pass(100);
    machine.sleep(60_000);
    expect(machine.now() - before).toBe(60_100);
    machine.pass(7);
    machine.sleep(30_000);
    expect(machine.now() - before).toBe(90_107);
  });

  it("takes no notice of a wall clock that jumps an hour, in either direction (F07)", () => {
    const machine = new Machine();
    const before = machine.now();
    for (const jump of [HOUR, -HOUR, -HOUR, HOUR]) {
      machine.wallOffset += jump;
      machine.pass(10);
      machine.now();
    }
    expect(machine.now() - before).toBe(40);
  });

  it("finds a suspension that a jump of the wall clock hides in part", () => {
    const machine = new Machine();
    const before = machine.now();
    machine.sleep(60_000);
    machine.wallOffset -= 2 * 60_000;
    expect(machine.now() - before).toBe(60_000);
  });

  it("never goes back", () => {
    const machine = new Machine();
    machine.sleep(10_000);
    const before = machine.now();
    machine.slept = 0;
    expect(machine.now()).toBeGreaterThanOrEqual(before);
  });

  it("is not moved by a thread that stands still between two readings, whichever they are", () => {
    for (let stall = 0; stall < 8; stall++) {
      const machine = new Machine();
      let readings = 0;
      const read = (value: () => number): number => {
        const told = value();
        if (readings++ === stall) machine.pass(60);
        return told;
      };
      const now = suspendClock({
        monotonic: () => read(() => machine.monotonic),
        wall: () => read(() => machine.monotonic + machine.wallOffset),
        sinceBoot: () => read(() => Math.floor(machine.monotonic / 10) * 10),
      });
      for (let n = 0; n < 5; n++) now();
      expect(now(), `after reading ${stall}`).toBe(machine.monotonic);
    }
  });

  it("is the same for threads that began at other times", () => {
    const machine = new Machine();
    const source = {
      monotonic: () => machine.monotonic,
      wall: () => machine.monotonic + machine.slept + machine.wallOffset,
      sinceBoot: () => Math.floor((machine.monotonic + machine.slept) / 10) * 10,
    };
    machine.now();
    machine.sleep(1234);
    machine.pass(3);
    const later = suspendClock(source);
    expect(later()).toBe(machine.now());
  });

  it("costs a look at the dear clock only when something has happened", () => {
    const machine = new Machine();
    for (let i = 0; i < 1000; i++) {
      machine.pass(1);
      machine.now();
    }
    expect(machine.looks).toBe(1);
  });

  it("is the real one's, too", () => {
    const before = realClock.now();
    expect(realClock.now()).toBeGreaterThanOrEqual(before);
    expect(realClock.now() - before).toBeLessThan(60_000);
  });
});
