import { beforeEach, describe, expect, it } from "vitest";
import {
  diskName,
  EngineBench,
  type EngineBenchOptions,
  isRead,
  isWrite,
  member,
  on,
  range,
} from "../support/engine-bench.ts";

const SLOW = 2000;
const TIMEOUT = 30_000;
const times: EngineBenchOptions = { slowIoMs: SLOW, ioTimeoutMs: TIMEOUT };
const EIO = 5;

describe("F17: what was given up and is not over", () => {
  describe("of a member that turns out to be the last copy", () => {
    let bench: EngineBench;
    let missed: ReturnType<EngineBench["write"]>;

    /** Another node has failed the other one meanwhile. */
    beforeEach(async () => {
      bench = new EngineBench(times);
      bench.ring.hold(on("d1", isWrite));
      missed = bench.write(0, 8, 5);
      bench.run();
      bench.pass(TIMEOUT);
      const settled = await bench.send({ type: "settleFailure", place: 1, outcome: "last_copy" });
      expect(settled.answer).toEqual({ type: "none" });
      bench.ring.holdNoMore();
    });

    const failOther = () => bench.send({ type: "setMember", member: { ...member(0), state: "faulty" } });

    it("lands on nothing newer: the member is used again when its device has answered", async () => {
      await failOther();
      const next = bench.write(0, 8, 6);
      const read = bench.read(64, 8);
      bench.run();
      bench.pass(10 * TIMEOUT);
      expect([missed.errno, next.errno, read.errno]).toEqual([null, null, null]);
      bench.ring.release();
      bench.run();
      expect([missed.errno, next.errno, read.errno]).toEqual([EIO, 0, 0]);
      expect(bench.content("d1", 0, 1)[0]).toBe(6);
      expect(bench.bitOnDisk("d1", 0)).toBe(true);
    });

    it("leaves no write answered that it has missed meanwhile", () => {
      const meanwhile = bench.write(8, 8, 6);
      bench.run();
      expect(bench.content("d0", 8, 1)[0]).toBe(6);
      expect(meanwhile.errno).toBeNull();
      bench.ring.release();
      bench.run();
      expect(meanwhile.errno).toBe(EIO);
      expect(bench.content("d1", 8, 1)[0]).toBe(0);
      expect(bench.shared.read("neededChunks"), "it is resynced").toBe(1);
    });

    it("keeps nobody from failing it, once there is another copy", async () => {
      const faulty = { ...member(1), state: "faulty" } as const;
      const waits = bench.write(64, 8, 6);
      bench.run();
      expect((await bench.send({ type: "setMember", member: faulty })).error).toBeNull();
      expect([missed.errno, waits.errno], "others need not have it").toEqual([0, 0]);
      bench.ring.release();
      bench.run();
      const write = bench.write(0, 8, 7);
      bench.run();
      expect(write.errno).toBe(0);
      expect(bench.content("d1", 0, 1)[0]).toBe(5);
    });

    it("keeps everybody from failing it as long as there is none", async () => {
      await failOther();
      const faulty = { ...member(1), state: "faulty" } as const;
      expect((await bench.send({ type: "setMember", member: faulty })).error?.message).toMatch(/last copy/);
    });
  });

  describe("of a member that somebody else has failed", () => {
    const failFirst = (bench: EngineBench) =>
      bench.send({ type: "setMember", member: { ...member(0), state: "faulty" } });

    it("does not come into what a copy goes on with", async () => {
      const bench = new EngineBench({ ...times, disks: 3, bits: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0) });
      bench.content("d0", 0, 64).fill(9);
      bench.content("d1", 0, 64).fill(7);
      bench.ring.hold(isRead);
      const copied = bench.engine.send({ type: "copy", kind: "resync", range: range(0, 64) });
      bench.run();
      await failFirst(bench);
      bench.pass(TIMEOUT);
      await expect(copied).resolves.toMatchObject({ failed: true });
      const again = bench.engine.send({ type: "copy", kind: "resync", range: range(0, 64) });
      bench.run();
      bench.ring.release(on("d1", isRead));
      // What the failed one has comes while the other's is to be written.
      bench.ring.release(on("d0", isRead));
      bench.run();
      await expect(again).resolves.toMatchObject({ sectors: 64, failed: false });
      expect(new Set(bench.content("d2", 0, 64))).toEqual(new Set([7]));
    });

    it("nor into what is compared, and repaired", async () => {
      const bench = new EngineBench({ ...times, disks: 4 });
      for (let disk = 0; disk < 4; disk++) bench.content(diskName(disk), 0, 64).fill(disk === 3 ? 99 : 7);
      bench.content("d0", 0, 64).fill(99);
      bench.ring.hold(isRead);
      const repair = { source: null };
      const compared = bench.engine.send({ type: "compare", range: range(0, 64), repair });
      bench.run();
      await failFirst(bench);
      bench.ring.release(({ path }) => path !== "d0");
      bench.pass(TIMEOUT);
      bench.ring.release(({ path }) => path !== "d0");
      bench.ring.release();
      bench.run();
      await expect(compared).resolves.toMatchObject({ failed: true });
      expect(new Set(bench.content("d1", 0, 64))).toEqual(new Set([7]));
    });

    it("does not land behind its back when it comes back to its place", async () => {
      const bench = new EngineBench(times);
      bench.ring.hold(on("d0", isWrite));
      const write = bench.write(0, 8, 5);
      bench.run();
      await failFirst(bench);
      bench.ring.holdNoMore();
      const back = bench.engine.send({ type: "setMember", member: { ...member(0), state: "rebuilding" } });
      const refused = expect(back).rejects.toThrow("d0 has not answered 1 operations");
      const beside = bench.write(64, 8, 6);
      bench.run();
      expect(beside.errno, "nobody waits for that").toBe(0);
      bench.pass(TIMEOUT);
      await refused;
      expect(write.errno).toBe(0);
    });
  });

  it("is told of, so that the control plane opens the device for nothing else", () => {
    const bench = new EngineBench(times);
    bench.ring.hold(on("d0", isRead));
    bench.read(0, 8);
    bench.run();
    bench.pass(SLOW);
    bench.ring.release();
    bench.run();
    const told = bench.notices.filter(({ type }) => type === "memberOwes" || type === "memberAnswered");
    expect(told).toEqual([
      { type: "memberOwes", path: "d0" },
      { type: "memberAnswered", path: "d0" },
    ]);
  });

  it("is nothing where members have all the time: then no turn is for looking alone", () => {
    const turns = (options: EngineBenchOptions): number => {
      const bench = new EngineBench(options);
      bench.ring.hold(isRead);
      const before = bench.shared.read("turns");
      for (let i = 0; i < 10; i++) {
        bench.read(8 * i, 8);
        bench.pass(1);
      }
      return bench.shared.read("turns") - before;
    };
    expect(turns({ slowIoMs: SLOW, ioTimeoutMs: 0 })).toBe(turns({}));
  });

  it("asks for a buffer again by itself: nobody says when there is one", () => {
    const bench = new EngineBench(times);
    bench.ring.hold(on("d0", isRead));
    bench.spares = 0;
    const read = bench.read(0, 8);
    bench.run();
    bench.pass(SLOW);
    expect(read.errno).toBeNull();
    expect(bench.ring.lastWaitMs).toBeGreaterThan(0);
    bench.spares = 1;
    bench.pass(bench.ring.lastWaitMs);
    expect(read.errno).toBe(0);
  });
});
