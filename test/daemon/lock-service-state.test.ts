import { describe, expect, it } from "vitest";
import { LockServiceState } from "../../src/daemon/lock-service-state.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { envOf } from "../support/lockspace-node.ts";

function watched(writeUntil: () => number | null) {
  const clock = new FakeClock();
  const told: string[] = [];
  let report: (reachable: boolean) => void = () => {};
  const onReachable: LockMaster["onReachable"] = (listener) => {
    report = listener;
    return { stop: () => {} };
  };
  const state = new LockServiceState({
    master: { onReachable } as LockMaster,
    env: envOf(clock),
    address: () => "redis://10.0.0.5:6379",
    writeUntil,
    tell: (severity, event, text) => told.push(`${severity} ${event} ${text}`),
  });
  return { clock, state, told, report: (reachable: boolean) => report(reachable) };
}

describe("the lock service", () => {
  it("is told to be lost and back once each, with how long the writes go on, and when they stop", async () => {
    const { clock, state, told, report } = watched(() => 6000);
    report(true); // it was never away
    await clock.advance(1000);
    report(false);
    report(false);
    expect(state.lostAt).toBe(1000);
    await clock.advance(4000);
    expect(told).toEqual([
      "error LOCKSERVICELOST lock service redis://10.0.0.5:6379 does not answer; writes wait in 5.0 s",
    ]);
    await clock.advance(5000);
    expect(told.slice(1)).toEqual([
      "error QUORUMLOST the leases of this node have run out: writes to clustered arrays wait",
    ]);
    report(true);
    expect(state.lostAt).toBeNull();
    expect(told.slice(2)).toEqual([
      "info LOCKSERVICEBACK lock service redis://10.0.0.5:6379 answers again, after 9.0 s",
    ]);
  });

  it("loses no quorum when it is back in time, or when nothing is written here", async () => {
    const inTime = watched(() => 6000);
    inTime.report(false);
    await inTime.clock.advance(3000);
    inTime.report(true);
    await inTime.clock.advance(10_000);
    const idle = watched(() => null);
    idle.report(false);
    await idle.clock.advance(10_000);
    for (const { told } of [inTime, idle]) expect(told.join()).not.toContain("QUORUMLOST");
    expect(idle.told).toEqual(["error LOCKSERVICELOST lock service redis://10.0.0.5:6379 does not answer"]);
  });
});
