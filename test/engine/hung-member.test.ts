import { beforeEach, describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import {
  EngineBench,
  type EngineBenchOptions,
  isBitmap,
  isRead,
  isWrite,
  member,
  on,
} from "../support/engine-bench.ts";

const SLOW = 2000;
const TIMEOUT = 30_000;
const times: EngineBenchOptions = { slowIoMs: SLOW, ioTimeoutMs: TIMEOUT };

/** Another copy than the one in `place` is written to where it is in the way. */
const noticed = (bench: EngineBench, type: string): readonly unknown[] =>
  bench.notices.filter((notice) => notice.type === type);

describe("F17: a member that hangs", () => {
  let bench: EngineBench;
  beforeEach(() => {
    bench = new EngineBench(times);
  });

  it("is looked for in time, and not at all while nothing is in flight", () => {
    bench.run();
    expect(bench.ring.lastWaitMs).toBe(-1);
    bench.ring.hold(isRead);
    bench.read(0, 8);
    bench.run();
    expect(bench.ring.lastWaitMs).toBe(SLOW);
  });

  describe("with a read", () => {
    it("keeps it for two seconds; then another copy gives it, into another buffer", () => {
      bench.ring.hold(on("d0", isRead));
      const read = bench.read(0, 8);
      const { buffer } = read;
      bench.content("d1", 0, 8).fill(7);
      bench.run();
      bench.pass(SLOW - 1);
      expect(read.errno).toBeNull();
      bench.pass(1);
      expect(read.errno).toBe(0);
      expect(read.buffer).not.toBe(buffer);
      expect(bench.ring.arena[read.buffer]).toBe(7);
      expect(bench.kept).toEqual([buffer]);
      expect(noticed(bench, "readError")).toEqual([]);
      expect(bench.failures()).toEqual([]);
    });

    it("gets no more while it is late, and again when it has answered", () => {
      bench.ring.hold(on("d0", isRead));
      bench.read(0, 8);
      bench.run();
      bench.pass(SLOW);
      for (let i = 0; i < 8; i++) expect(readOf(bench, 64 * i).errno).toBe(0);
      expect(noticed(bench, "memberSlow")).toEqual([{ type: "memberSlow", place: 0, slow: true }]);
      bench.ring.release();
      bench.run();
      expect(bench.kept).toEqual([]);
      expect(noticed(bench, "memberSlow").at(-1)).toEqual({ type: "memberSlow", place: 0, slow: false });
      bench.ring.hold(isRead);
      bench.read(0, 8);
      bench.read(0, 8);
      bench.run();
      expect(new Set(bench.ring.held.map(({ path }) => path))).toEqual(new Set(["d0", "d1"]));
    });

    it("lets it wait for a buffer, when all are in use", () => {
      bench.ring.hold(on("d0", isRead));
      bench.spares = 0;
      const read = bench.read(0, 8);
      bench.run();
      bench.pass(SLOW);
      expect(read.errno).toBeNull();
      bench.spares = 1;
      bench.run();
      bench.pass(1);
      expect(read.errno).toBe(0);
    });

    it("keeps it for ever if it is the only copy", () => {
      bench = new EngineBench({ ...times, members: [{}, { state: "faulty" }] });
      bench.ring.hold(isRead);
      const read = bench.read(0, 8);
      bench.run();
      bench.pass(10 * TIMEOUT);
      expect(read.errno).toBeNull();
      expect(bench.failures()).toEqual([]);
      bench.ring.release();
      bench.run();
      expect(read.errno).toBe(0);
    });

    it("keeps it where copies may differ: all nodes read the same one", async () => {
      await bench.send({ type: "setBalance", balance: "first" });
      bench.ring.hold(on("d0", isRead));
      const read = bench.read(0, 8);
      bench.run();
      bench.pass(SLOW);
      expect(read.errno).toBeNull();
      bench.pass(TIMEOUT - SLOW);
      expect(read.errno).toBe(0);
      expect(bench.failures()).toMatchObject([{ place: 0, during: "timeout", errno: 110 }]);
    });
  });

  describe("with a write", () => {
    const hang = (): ReturnType<EngineBench["write"]> => {
      bench.ring.hold(on("d1", isWrite));
      const write = bench.write(0, 8, 5);
      bench.run();
      bench.pass(TIMEOUT - 1);
      expect(bench.failures()).toEqual([]);
      bench.pass(1);
      return write;
    };

    it("is taken out after thirty; the write is answered when everybody knows", async () => {
      const write = hang();
      expect(bench.failures()).toMatchObject([{ place: 1, during: "timeout", errno: 110 }]);
      expect(write.errno).toBeNull();
      await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
      expect(write.errno).toBe(0);
      expect(bench.content("d0", 0, 1)[0]).toBe(5);
      bench.run();
      bench.pass(60_000);
      expect(bench.bitOnDisk("d0", 0), "the bit stays").toBe(true);
    });

    it("has its buffer for itself until it answers: what lands late is what was written", async () => {
      const write = hang();
      await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
      expect(bench.kept).toEqual([write.buffer]);
      bench.ring.release();
      bench.run();
      expect(bench.kept).toEqual([]);
      expect(noticed(bench, "memberAnswered")).toEqual([{ type: "memberAnswered", path: "d1" }]);
    });

    it("leaves its place at once, and comes back to none before it has answered", async () => {
      hang();
      await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
      expect((await bench.send({ type: "removeMember", place: 1 })).answer).toEqual({ type: "none" });
      const back = { type: "setMember", member: { ...member(1), state: "rebuilding" } } as const;
      expect((await bench.send(back)).error?.message).toMatch(/has not answered 1 operations/);
      bench.ring.release();
      bench.run();
      expect((await bench.send(back)).error).toBeNull();
    });

    it("is never taken out as the last copy", async () => {
      bench = new EngineBench({ ...times, members: [{ state: "faulty" }, {}] });
      bench.ring.hold(isWrite);
      const write = bench.write(0, 8, 5);
      bench.run();
      bench.pass(10 * TIMEOUT);
      expect([write.errno, bench.failures().length]).toEqual([null, 0]);
      bench.ring.release();
      bench.run();
      expect(write.errno).toBe(0);
    });

    it("lets the array stop", async () => {
      hang();
      await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
      expect((await bench.send({ type: "stop" })).answer).toEqual({ type: "none" });
      expect(bench.loop.ended).toBe(true);
    });
  });

  it("is taken out for a page of the bitmap, and for a flush", async () => {
    bench.ring.hold(on("d1", isBitmap));
    const write = bench.write(0, 8, 5);
    bench.run();
    bench.pass(TIMEOUT);
    await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
    expect(write.errno).toBe(0);
    bench = new EngineBench(times);
    bench.ring.hold(on("d1", ({ type }) => type === "flush"));
    const flush = bench.flush();
    bench.run();
    bench.pass(TIMEOUT);
    await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
    expect(flush.errno).toBe(0);
  });

  it("ends a resync that reads from it, whose memory is used no more; the next one has some in reserve", async () => {
    bench = new EngineBench({ ...times, disks: 3, bits: new Uint8Array(8).fill(255) });
    bench.ring.hold(on("d0", isRead));
    const copied = bench.engine.send({ type: "copy", kind: "resync", range: { lo: sector(0), hi: sector(4096) } });
    bench.run();
    bench.pass(TIMEOUT);
    await expect(copied).resolves.toMatchObject({ failed: true });
    await bench.send({ type: "settleFailure", place: 0, outcome: "faulty" });
    const used = new Set(bench.ring.held.map(({ buffer }) => buffer));
    const before = bench.ring.log.length;
    const again = await bench.send({ type: "copy", kind: "resync", range: { lo: sector(0), hi: sector(4096) } });
    expect(again.answer).toMatchObject({ sectors: 4096, failed: false });
    const buffers = bench.ring.log.slice(before).filter((op) => isRead(op) || isWrite(op));
    expect(buffers.filter(({ buffer }) => used.has(buffer))).toEqual([]);
  });
});

function readOf(bench: EngineBench, at: number): ReturnType<EngineBench["read"]> {
  const read = bench.read(at, 8);
  bench.run();
  return read;
}
