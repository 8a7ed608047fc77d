import { describe, expect, it } from "vitest";
import { leaseState, stopAfter } from "../../src/dlm/lease.ts";
import type { MemberRecord } from "../../src/dlm/lock-call.ts";
import { MemberWatch } from "../../src/dlm/member-watch.ts";

const times = { leaseMs: 1000 };
const member = (counter: number, incarnation = "a"): MemberRecord => ({
  slot: 1,
  incarnation,
  counter,
  state: "active",
  node: "n1",
});

/** Looks every 100 ms from `from` to `to`; when it was dead first, or null. */
function deadAt(watch: MemberWatch, from: number, to: number, see: (now: number) => MemberRecord): number | null {
  for (let now = from; now <= to; now += 100) if (watch.observe(now, [see(now)]).length > 0) return now;
  return null;
}

describe("watching another member", () => {
  it("finds it dead when its counter stood still for a whole lease, counted from when we saw it", () => {
    expect(deadAt(new MemberWatch(times), 0, 5000, () => member(5))).toBe(1000);
    expect(deadAt(new MemberWatch(times), 0, 5000, (now) => member(now < 700 ? now : 700))).toBe(1700);
  });

  it("never finds one dead that renews, however slowly within the lease", () => {
    expect(deadAt(new MemberWatch(times), 0, 20_000, (now) => member(Math.floor(now / 900)))).toBeNull();
  });

  it("starts anew when it had no answer itself for half a lease", () => {
    const watch = new MemberWatch(times);
    expect(deadAt(watch, 0, 900, () => member(5))).toBeNull();
    expect(deadAt(watch, 1500, 2400, () => member(5))).toBeNull();
    expect(deadAt(watch, 2500, 2500, () => member(5))).toBe(2500);
  });

  it("does not take a new life of the node for the old one", () => {
    const watch = new MemberWatch(times);
    expect(deadAt(watch, 0, 900, () => member(5))).toBeNull();
    expect(deadAt(watch, 1000, 1900, () => member(5, "b"))).toBeNull();
  });

  it("waits a tenth of the lease after the proof of an end, and does not forget the proof", () => {
    let gone = false;
    const watch = new MemberWatch(times, () => gone);
    const see = (): MemberRecord => ({ ...member(1), process: { host: "h", pid: 1, started: "1" } });
    expect(watch.observe(0, [see()])).toEqual([]);
    gone = true;
    expect(watch.observe(100, [see()])).toEqual([]);
    gone = false;
    expect(watch.observe(200, [see()])).toHaveLength(1);
  });
});

describe("a lease", () => {
  it("is late after half of the writing time and lost at its end", () => {
    expect([0, 299, 300, 599, 600, 9999].map((age) => leaseState(times, 50, 50 + age))).toEqual([
      "held",
      "held",
      "late",
      "late",
      "lost",
      "lost",
    ]);
  });

  it("ends for the writer well before a watcher may take it for dead", () => {
    // The watcher counts from when it saw the counter, which is after the renewal was sent.
    expect(stopAfter(times)).toBeLessThan(times.leaseMs * 0.7);
  });
});

describe("the next death", () => {
  it("is a lease after the oldest sighting, or soon after the end of a process; never one that is past", () => {
    const gone = new Set<number>();
    const watch = new MemberWatch(times, ({ pid }) => gone.has(pid));
    const see = (counter: number, incarnation: string, pid: number): MemberRecord => ({
      ...member(counter, incarnation),
      process: { host: "h", pid, started: "1" },
    });
    expect(watch.untilDeath(0)).toBe(Number.POSITIVE_INFINITY);
    watch.observe(0, [see(1, "a", 1), see(1, "b", 2)]);
    watch.observe(400, [see(1, "a", 1), see(2, "b", 2)]);
    expect(watch.untilDeath(450)).toBe(550);
    expect(watch.untilDeath(1000)).toBe(400);
    gone.add(2);
    watch.observe(460, [see(1, "a", 1), see(2, "b", 2)]);
    expect(watch.untilDeath(470)).toBe(90);
    expect(watch.untilDeath(2000)).toBe(Number.POSITIVE_INFINITY);
  });
});
