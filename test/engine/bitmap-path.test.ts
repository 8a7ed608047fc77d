import { describe, expect, it } from "vitest";
import { BITMAP_AT, EngineBench, isBitmap, isWrite, member, on } from "../support/engine-bench.ts";
import type { FakeOp } from "../support/fake-ring.ts";

const EIO = -5;
const PERIOD = 5000;

const dirty = (bench: EngineBench): number => bench.shared.read("dirtyChunks");
const told = ({ type, path }: FakeOp): string => `${type} ${path}`;
const superblockField = (bench: EngineBench, path: string, at: number): number =>
  bench.ring.disks.get(path)?.[BITMAP_AT * 512 + at] ?? -1;

/** Chunk 3 written, once before and once after events_cleared was moved: nothing but its bit is left to clear. */
function benchWithIdleBit(): EngineBench {
  const bench = new EngineBench();
  bench.write(0, 8, 1);
  bench.run();
  for (let i = 0; i < 4; i++) bench.pass(PERIOD);
  expect(dirty(bench)).toBe(0);
  bench.write(192, 8, 1);
  bench.run();
  return bench;
}

describe("clearing bits", () => {
  it("F26: takes two periods after the last write, each after a flush of all members", () => {
    const bench = benchWithIdleBit();
    bench.pass(PERIOD);
    expect(bench.bitOnDisk("d0", 3)).toBe(true);
    const from = bench.ring.log.length;
    bench.ring.hold((op) => op.type === "flush" && op.path === "d1");
    bench.pass(PERIOD);
    expect(bench.ring.log.slice(from).map(told)).toEqual(["flush d0", "flush d1"]);
    expect(bench.bitOnDisk("d0", 3)).toBe(true);
    bench.ring.release();
    bench.run();
    expect(bench.ring.log.slice(from).map(told)).toEqual(["flush d0", "flush d1", "write d0", "write d1"]);
    for (const path of ["d0", "d1"]) expect(bench.bitOnDisk(path, 3)).toBe(false);
    expect(dirty(bench)).toBe(0);
    // Nothing is left to do: the loop sleeps.
    bench.pass(PERIOD);
    expect(bench.ring.lastWaitMs).toBe(-1);
  });

  it("is put off by each write to the chunk", () => {
    const bench = benchWithIdleBit();
    for (let i = 0; i < 6; i++) {
      bench.pass(PERIOD);
      bench.write(200, 8, 2);
      bench.run();
    }
    expect(bench.bitOnDisk("d0", 3)).toBe(true);
  });

  it("does not happen to a chunk that is written while the members are flushed", () => {
    const bench = benchWithIdleBit();
    bench.pass(PERIOD);
    bench.ring.hold(({ type }) => type === "flush");
    bench.pass(PERIOD);
    bench.write(200, 8, 2);
    bench.run();
    bench.ring.release();
    bench.run();
    expect(bench.bitOnDisk("d0", 3)).toBe(true);
    expect(dirty(bench)).toBe(1);
  });

  it("makes a write wait that comes when the page without its bit is on its way", () => {
    const bench = benchWithIdleBit();
    bench.pass(PERIOD);
    bench.ring.hold(isBitmap);
    bench.pass(PERIOD);
    const from = bench.ring.log.length;
    const write = bench.write(200, 8, 2);
    bench.run();
    expect(bench.ring.log.slice(from)).toEqual([]);
    bench.ring.release();
    bench.run();
    expect(bench.ring.log.slice(from).map(told)).toEqual(["write d0", "write d1", "write d0", "write d1"]);
    expect(bench.ring.log.slice(from, from + 2).every(isBitmap)).toBe(true);
    expect(write.errno).toBe(0);
    expect(bench.bitOnDisk("d1", 3)).toBe(true);
  });

  it("never happens while the array is degraded, nor while a member is failing", async () => {
    const bench = benchWithIdleBit();
    bench.ring.fail(on("d1", isWrite), EIO, 1);
    bench.write(192, 8, 2);
    bench.run();
    for (let i = 0; i < 4; i++) bench.pass(PERIOD);
    await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
    for (let i = 0; i < 4; i++) bench.pass(PERIOD);
    await bench.send({ type: "flushBitmap" });
    expect(bench.bitOnDisk("d0", 3)).toBe(true);
    expect(dirty(bench)).toBe(1);
  });

  it("does not happen when the flush before it fails", () => {
    const bench = benchWithIdleBit();
    bench.pass(PERIOD);
    bench.ring.fail((op) => op.type === "flush" && op.path === "d1", EIO, 1);
    bench.pass(PERIOD);
    expect(bench.bitOnDisk("d0", 3)).toBe(true);
    expect(bench.failures()).toEqual([expect.objectContaining({ place: 1, during: "flush" })]);
  });

  it("does not happen when the flush before it, or a page, is put off again and again", async () => {
    const bench = benchWithIdleBit();
    bench.ring.fail((op) => op.type === "flush" && op.path === "d1", -11);
    bench.pass(PERIOD);
    expect(bench.failures()).toEqual([expect.objectContaining({ place: 1, during: "flush", errno: 11 })]);
    await bench.send({ type: "settleFailure", place: 1, outcome: "last_copy" });
    bench.ring.heal();
    bench.ring.fail(on("d1", isBitmap), -11);
    bench.write(320, 8, 1);
    bench.run();
    expect(bench.failures().slice(1)).toEqual([expect.objectContaining({ place: 1, during: "bitmap", errno: 11 })]);
    expect(bench.bitOnDisk("d0", 3)).toBe(true);
  });

  it("does not happen without the lease", () => {
    const bench = benchWithIdleBit();
    bench.shared.setLease(bench.now);
    const from = bench.ring.log.length;
    for (let i = 0; i < 4; i++) bench.pass(PERIOD);
    expect(bench.ring.log.slice(from)).toEqual([]);
  });

  it("comes after events_cleared, which vouches for it", () => {
    const bench = new EngineBench();
    bench.write(192, 8, 1);
    bench.run();
    bench.pass(PERIOD);
    expect(superblockField(bench, "d0", 32)).toBe(7);
    expect(bench.bitOnDisk("d0", 3)).toBe(true);
    bench.pass(PERIOD);
    expect(bench.bitOnDisk("d0", 3)).toBe(false);
  });

  it("does not move events_cleared while a member lacks what was written", async () => {
    const bench = new EngineBench();
    await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    bench.write(192, 8, 1);
    bench.run();
    for (let i = 0; i < 4; i++) bench.pass(PERIOD);
    expect(superblockField(bench, "d0", 32)).toBe(0);
  });

  it("happens at once on command", async () => {
    const bench = new EngineBench();
    bench.write(192, 8, 1);
    bench.run();
    const flushed = await bench.send({ type: "flushBitmap" });
    expect(flushed.answer).toEqual({ type: "none" });
    for (const path of ["d0", "d1"]) expect(bench.bitOnDisk(path, 3)).toBe(false);
  });
});

describe("the bitmap", () => {
  it("is written to all members at the start: what one of them has, the others need not", () => {
    const bench = new EngineBench({ bits: Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0) });
    for (const path of ["d0", "d1"]) {
      expect(bench.bitOnDisk(path, 2)).toBe(true);
      expect(superblockField(bench, path, 24)).toBe(7);
    }
    expect(bench.shared.read("neededChunks")).toBe(1);
  });

  it("is told the array's event count, durably on all members", async () => {
    const bench = new EngineBench();
    bench.ring.hold(on("d1", isBitmap));
    const events = await bench.send({ type: "setEvents", events: 9 });
    expect(events.answer).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(events.answer).toEqual({ type: "none" });
    for (const path of ["d0", "d1"]) expect(superblockField(bench, path, 24)).toBe(9);
  });

  it("takes in another slot's bits, durably, as chunks that need a resync", async () => {
    const bench = new EngineBench();
    bench.ring.hold(on("d0", isBitmap));
    const merge = await bench.send({ type: "mergeBits", bits: Uint8Array.of(0b110, 0, 0, 0, 0, 0, 0, 1) });
    expect(merge.answer).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(merge.answer).toEqual({ type: "none" });
    const { answer } = await bench.send({ type: "queryBitmap" });
    expect(answer).toEqual({ type: "bitmap", dirty: 3, needed: 3, bits: Uint8Array.of(0b110, 0, 0, 0, 0, 0, 0, 1) });
  });

  it("refuses bits of another size", async () => {
    const bench = new EngineBench();
    const merge = await bench.send({ type: "mergeBits", bits: new Uint8Array(7) });
    expect(merge.error).toMatchObject({ code: "E_VALUE" });
  });

  it("of many pages is written page by page, each only when it has something new", () => {
    const bench = new EngineBench({ size: 65536 as never, chunkSectors: 1 });
    const from = bench.ring.log.length;
    bench.write(60000, 4, 1);
    bench.run();
    const pages = bench.ring.log.slice(from).filter(isBitmap);
    expect(pages.map(({ at }) => at)).toEqual([BITMAP_AT + 8, BITMAP_AT + 8]);
    expect(bench.bitOnDisk("d1", 60003)).toBe(true);
  });

  it("is never touched by a read-only array", () => {
    const bench = new EngineBench({ readOnly: true, bits: new Uint8Array(8).fill(255) });
    for (let i = 0; i < 4; i++) bench.pass(PERIOD);
    expect(bench.ring.log).toEqual([]);
  });
});
