import { beforeEach, describe, expect, it } from "vitest";
import { GuardDuty, type GuardVerdict } from "../../src/daemon/guard-duty.ts";
import { SharedBlock } from "../../src/engine/shared-block.ts";

const EVERY_MS = 100;
const STILL_MS = 1000;
const WATCHDOG_MS = 2000;

describe("the guard's duty", () => {
  let duty: GuardDuty;
  let block: SharedBlock;
  let now: number;
  let beats: number;

  const begin = (usesPill = false): void => {
    duty = new GuardDuty({ stillMs: STILL_MS, watchdogMs: WATCHDOG_MS, usesPill });
    block = new SharedBlock();
    now = 50_000;
    beats = 0;
  };
  beforeEach(() => begin());

  /** Looks as often as it does for `ms`; `each` happens before each look. The first verdict that is not "well", or the last. */
  function pass(ms: number, each: () => void = () => {}): GuardVerdict {
    let verdict: GuardVerdict = { type: "well", pet: false };
    for (const end = now + ms; now < end; ) {
      now += EVERY_MS;
      each();
      verdict = duty.look(now, EVERY_MS, beats, [block]);
      if (verdict.type === "kill") break;
    }
    return verdict;
  }
  const alive = (): void => {
    beats++;
  };

  it("ends a process whose control plane does not come round (F08)", () => {
    expect(pass(STILL_MS, alive).type).toBe("well");
    const verdict = pass(2 * STILL_MS);
    expect(verdict).toEqual({ type: "kill", why: "the control plane has not come round for 1000 ms" });
  });

  it("ends no process whose data plane begins a turn while it is looked at, after a long rest", () => {
    let readings = 0;
    /** A turn begins right after the first reading of each look. */
    class Busy extends SharedBlock {
      override get turnBegan(): number {
        return readings++ === 0 ? 0 : now;
      }
    }
    block = new Busy();
    const verdict = pass(10 * STILL_MS, () => {
      alive();
      readings = 0;
    });
    expect(verdict.type).toBe("well");
  });

  it("ends a process whose data plane hangs in a turn, and none that rests", () => {
    block.turnBegan = 0;
    expect(pass(10 * STILL_MS, alive).type).toBe("well");
    block.turnBegan = now;
    expect(pass(10 * STILL_MS, alive)).toMatchObject({ type: "kill", why: /in one turn/ });
  });

  it("does not mind turns that follow each other", () => {
    const verdict = pass(10 * STILL_MS, () => {
      alive();
      block.turnBegan = now;
    });
    expect(verdict.type).toBe("well");
  });

  it("blames nobody for the time in which the whole process was stopped (F06)", () => {
    block.setLease(now + 60_000);
    block.turnBegan = now;
    pass(STILL_MS / 2, alive);
    now += 60_000;
    expect(duty.look(now, EVERY_MS, beats, [block]).type).toBe("well");
    block.turnBegan = 0;
    expect(pass(STILL_MS / 2).type).toBe("well");
  });

  it("pets the watchdog while the lease holds", () => {
    block.setLease(now + 60_000);
    block.operations = 5;
    expect(pass(500, alive)).toEqual({ type: "well", pet: true });
  });

  it("does not pet it once the lease is over and something may still be on its way to a member", () => {
    block.setLease(now);
    block.operations = 1;
    expect(pass(500, alive)).toEqual({ type: "well", pet: false });
    block.operations = 0;
    expect(pass(500, alive)).toEqual({ type: "well", pet: true });
  });

  it("does not pet it while a turn goes on that began under the lease: it may write yet", () => {
    block.setLease(now + 50);
    block.turnBegan = now;
    expect(pass(500, alive)).toEqual({ type: "well", pet: false });
    block.turnBegan = now;
    expect(pass(500, alive)).toEqual({ type: "well", pet: true });
  });

  it("lets a lock server be away for as long as it likes when nothing is written", () => {
    block.setLease(now);
    expect(pass(100_000, alive)).toEqual({ type: "well", pet: true });
  });

  it("does not pet it when the pill cannot be read, though the lease holds", () => {
    begin(true);
    block.setLease(now + 600_000);
    block.pillClearAt = now;
    expect(pass(WATCHDOG_MS / 2, alive)).toEqual({ type: "well", pet: true });
    expect(pass(200, alive)).toEqual({ type: "well", pet: false });
    block.pillClearAt = now;
    expect(pass(200, alive)).toEqual({ type: "well", pet: true });
  });

  it("pets nothing where there is no watchdog", () => {
    duty = new GuardDuty({ stillMs: STILL_MS, watchdogMs: null, usesPill: false });
    block.setLease(now + 60_000);
    expect(pass(500, alive)).toEqual({ type: "well", pet: false });
  });

  it("looks at all arrays: one that is not safe is enough", () => {
    const other = new SharedBlock();
    block.setLease(now + 60_000);
    other.operations = 1;
    now += EVERY_MS;
    expect(duty.look(now, EVERY_MS, ++beats, [block, other])).toEqual({ type: "well", pet: false });
    now += EVERY_MS;
    expect(duty.look(now, EVERY_MS, ++beats, [block])).toEqual({ type: "well", pet: true });
  });
});
