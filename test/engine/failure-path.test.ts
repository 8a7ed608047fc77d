import { describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { REQUEST_FUA, RequestOp } from "../../src/blockdev/front-end.ts";
import { EngineBench, isBitmap, isData, isRead, isWrite, member, on, range } from "../support/engine-bench.ts";

const EIO = -5;

/** With chunk 0 dirty on all members, so that only data is written there. */
function benchWithBit(disks = 2): EngineBench {
  const bench = new EngineBench({ disks });
  bench.write(0, 64, 1);
  bench.run();
  return bench;
}

const failed = (place: number, during: string): unknown =>
  expect.objectContaining({ type: "memberFailed", place, during, errno: 5 });

describe("a leg that fails", () => {
  it("takes the member out, and the write is answered only when that is settled", async () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d1", isWrite), EIO);
    const write = bench.write(0, 8, 2);
    bench.run();
    expect(bench.failures()).toEqual([failed(1, "write")]);
    expect(write.errno).toBe(null);
    expect(bench.shared.read("waitingOnFailure")).toBe(1);
    await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
    expect(write.errno).toBe(0);
    expect(bench.failures()).toHaveLength(1);
  });

  it("also holds the answers of later writes, which go to the others alone, and of flushes; not of reads", async () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d1", isWrite), EIO, 1);
    bench.write(0, 8, 2);
    bench.run();
    const from = bench.ring.log.length;
    const later = bench.write(8, 8, 3);
    const flush = bench.flush();
    const read = bench.read(8, 8);
    bench.run();
    expect([later.errno, flush.errno, read.errno]).toEqual([null, null, 0]);
    const paths = new Set(bench.ring.log.slice(from).map(({ path }) => path));
    expect(paths).toEqual(new Set(["d0"]));
    await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
    expect([later.errno, flush.errno]).toEqual([0, 0]);
  });

  it("does not hold a write that the member took", () => {
    const bench = benchWithBit();
    bench.ring.hold(on("d0", isWrite));
    const taken = bench.write(0, 8, 2);
    bench.run();
    bench.ring.fail(on("d1", isWrite), EIO, 1);
    bench.ring.holdNoMore();
    const lost = bench.write(16, 8, 3);
    bench.run();
    bench.ring.release();
    bench.run();
    expect([taken.errno, lost.errno]).toEqual([0, null]);
  });

  it("has the write written anew if another node resynced its range before all knew of the failure", async () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d0", isWrite), EIO, 1);
    const write = bench.write(0, 8, 2);
    bench.run();
    const suspend = await bench.send({ type: "suspend", slot: slotNumber(1), range: range(0, 64) });
    expect(suspend.answer).toEqual({ type: "none" });
    // The other node copies what d0 has.
    bench.content("d1", 0, 64).fill(1);
    await bench.send({ type: "settleFailure", place: 0, outcome: "faulty" });
    expect(write.errno).toBe(null);
    await bench.send({ type: "resume", slot: slotNumber(1) });
    expect(write.errno).toBe(0);
    expect(new Set(bench.content("d1", 0, 8))).toEqual(new Set([2]));
  });

  it("has writes that overlap written anew in their order, zeroes too, also when the range is free again by then", async () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d0", isWrite), EIO, 1);
    const requests = [bench.write(0, 8, 2)];
    bench.run();
    requests.push(bench.write(4, 8, 3), bench.submit(RequestOp.zero, 6, 8, 0, 0));
    bench.run();
    await bench.send({ type: "suspend", slot: slotNumber(1), range: range(0, 64) });
    bench.content("d1", 0, 64).fill(1);
    await bench.send({ type: "resume", slot: slotNumber(1) });
    expect(requests.map(({ errno }) => errno)).toEqual([null, null, null]);
    await bench.send({ type: "settleFailure", place: 0, outcome: "faulty" });
    expect(requests.map(({ errno }) => errno)).toEqual([0, 0, 0]);
    expect([...bench.content("d1", 0, 15)].filter((_, i) => i % 512 === 0)).toEqual([
      2, 2, 2, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    ]);
  });

  it("is not read from any more, from the moment it fails", () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d0", isWrite), EIO, 1);
    bench.write(0, 8, 2);
    bench.run();
    for (let i = 0; i < 8; i++) bench.read(i * 8, 8);
    bench.run();
    expect(bench.ring.log.filter(on("d0", isRead))).toEqual([]);
    expect(bench.ring.log.filter(on("d1", isRead))).toHaveLength(8);
  });

  it("of the last copy is an error of the write, and the member stays", async () => {
    const bench = benchWithBit();
    await bench.send({ type: "setMember", member: { ...member(0), state: "faulty" } });
    bench.ring.fail(on("d1", isWrite), EIO, 1);
    const write = bench.write(0, 8, 2);
    bench.run();
    expect(write.errno).toBe(5);
    expect(bench.failures()).toEqual([]);
    const again = bench.write(0, 8, 3);
    const read = bench.read(0, 8);
    bench.run();
    expect([again.errno, read.errno]).toEqual([0, 0]);
  });

  it("on all members at once fails all but the last, and the write", async () => {
    const bench = benchWithBit();
    bench.ring.fail(isWrite, EIO);
    const write = bench.write(0, 8, 2);
    bench.run();
    expect(write.errno).toBe(5);
    expect(bench.failures()).toEqual([failed(0, "write")]);
    bench.ring.heal();
    await bench.send({ type: "settleFailure", place: 0, outcome: "faulty" });
    const read = bench.read(0, 8);
    bench.run();
    expect(read.errno).toBe(0);
  });

  it("twice, before the first is settled: both must be", async () => {
    const bench = benchWithBit(3);
    bench.ring.fail((op) => op.path !== "d0" && isWrite(op), EIO);
    const write = bench.write(0, 8, 2);
    bench.run();
    expect(bench.failures()).toEqual([failed(1, "write"), failed(2, "write")]);
    await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
    expect(write.errno).toBe(null);
    await bench.send({ type: "settleFailure", place: 2, outcome: "faulty" });
    expect(write.errno).toBe(0);
  });

  it("F18: that is short for good counts as failed, not as partly good", () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d1", isWrite), 0);
    const write = bench.write(0, 8, 2);
    bench.run();
    expect(write.errno).toBe(null);
    expect(bench.failures()).toEqual([failed(1, "write")]);
  });
});

describe("a failed member that turns out to be the last copy", () => {
  it("fails what it lacks, and is in use again", async () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d1", isWrite), EIO, 1);
    const lost = bench.write(0, 8, 2);
    bench.run();
    const later = bench.write(8, 8, 3);
    bench.run();
    bench.ring.hold(isWrite);
    const inFlight = bench.write(16, 8, 4);
    bench.run();
    // Another node has failed d0.
    await bench.send({ type: "setMember", member: { ...member(0), state: "faulty" } });
    await bench.send({ type: "settleFailure", place: 1, outcome: "last_copy" });
    bench.ring.release();
    bench.run();
    expect([lost.errno, later.errno, inFlight.errno]).toEqual([5, 5, 5]);

    const next = bench.write(24, 8, 5);
    const read = bench.read(24, 8);
    bench.run();
    expect([next.errno, read.errno]).toEqual([0, 0]);
    expect(new Set(bench.content("d1", 24, 8))).toEqual(new Set([5]));
    expect(new Set(bench.content("d0", 24, 8))).toEqual(new Set([1]));
  });

  it("has what it lacks resynced if the others stay: they have it", async () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d0", isWrite), EIO, 1);
    const lost = bench.write(0, 8, 2);
    bench.run();
    const zero = bench.submit(RequestOp.zero, 8, 8, 0, 0);
    const flush = bench.flush();
    bench.run();
    const later = bench.write(320, 8, 3);
    bench.run();
    await bench.send({ type: "settleFailure", place: 0, outcome: "last_copy" });
    expect([lost.errno, zero.errno, flush.errno, later.errno]).toEqual([5, 5, 5, 0]);
    expect(bench.content("d0", 0, 1)).not.toEqual(bench.content("d1", 0, 1));
    expect(bench.shared.read("neededChunks")).toBe(1);
    expect(bench.notices).toContainEqual({ type: "resyncNeeded" });
    for (let i = 0; i < 6; i++) bench.pass(5000);
    for (const path of ["d0", "d1"]) expect(bench.bitOnDisk(path, 0)).toBe(true);
    await bench.send({ type: "copy", kind: "resync", range: range(0, 64) });
    expect(bench.content("d0", 0, 64)).toEqual(bench.content("d1", 0, 64));
    expect(bench.shared.read("neededChunks")).toBe(0);
  });

  it("gets the bits that it has missed before data follows", async () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d1", isBitmap), EIO, 1);
    const write = bench.write(128, 8, 2);
    bench.run();
    expect(bench.bitOnDisk("d1", 2)).toBe(false);
    await bench.send({ type: "setMember", member: { ...member(0), state: "faulty" } });
    await bench.send({ type: "settleFailure", place: 1, outcome: "last_copy" });
    expect(bench.bitOnDisk("d1", 2)).toBe(true);
    expect(write.errno).toBe(0);
    expect(new Set(bench.content("d1", 128, 8))).toEqual(new Set([2]));
  });
});

describe("a bitmap write that fails", () => {
  it("fails the member; data whose bit it lacks goes out only when that is settled", async () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d1", isBitmap), EIO, 1);
    const write = bench.write(128, 8, 2);
    bench.run();
    expect(bench.failures()).toEqual([failed(1, "bitmap")]);
    expect(bench.ring.log.filter((op) => isData(op) && op.at >= 256 + 128)).toEqual([]);
    expect(bench.shared.read("waitingOnFailure")).toBe(1);
    await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
    expect(write.errno).toBe(0);
  });

  it("is made up for before a new bit is trusted while a member is blocked", async () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d1", isWrite), EIO, 1);
    bench.write(0, 8, 2);
    bench.run();
    const fresh = bench.write(128, 8, 3);
    bench.run();
    // d1 has no bit for it, and a crash now might have the bitmap read from d1.
    expect(bench.ring.log.filter((op) => isData(op) && op.at >= 256 + 128)).toEqual([]);
    await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
    expect(fresh.errno).toBe(0);
  });

  it("lets a suspension be answered meanwhile: whoever settles the failure may wait for it", async () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d1", isBitmap), EIO, 1);
    bench.write(128, 8, 2);
    bench.run();
    const suspend = await bench.send({ type: "suspend", slot: slotNumber(3), range: range(0, 4096) });
    expect(suspend.answer).toEqual({ type: "none" });
  });

  it("does not keep the event count from being written, which is part of settling", async () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d1", isWrite), EIO, 1);
    bench.write(0, 8, 2);
    bench.run();
    const events = await bench.send({ type: "setEvents", events: 8 });
    expect(events.answer).toEqual({ type: "none" });
    const merge = await bench.send({ type: "mergeBits", bits: new Uint8Array(8).fill(2) });
    expect(merge.answer).toBe(null);
    await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
    expect(merge.answer).toEqual({ type: "none" });
  });

  it("on the last copy is an error of the write, which leaves the data alone", async () => {
    const bench = benchWithBit();
    await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    bench.ring.fail(on("d0", isBitmap), EIO, 1);
    const write = bench.write(128, 8, 2);
    bench.run();
    expect(write.errno).toBe(5);
    expect(bench.failures()).toEqual([]);
    expect(new Set(bench.content("d0", 128, 8))).toEqual(new Set([0]));
    const again = bench.write(128, 8, 2);
    bench.run();
    expect(again.errno).toBe(0);
    expect(bench.bitOnDisk("d0", 2)).toBe(true);
  });
});

describe("a flush", () => {
  it("goes to all members and is answered when all have", () => {
    const bench = new EngineBench({ disks: 3 });
    bench.ring.hold((op) => op.type === "flush" && op.path === "d2");
    const flush = bench.flush();
    bench.run();
    expect(bench.ring.log.filter(({ type }) => type === "flush")).toHaveLength(3);
    expect(flush.errno).toBe(null);
    bench.ring.release();
    bench.run();
    expect(flush.errno).toBe(0);
  });

  it("that fails fails the member, and is answered when that is settled", async () => {
    const bench = new EngineBench();
    bench.ring.fail((op) => op.type === "flush" && op.path === "d0", EIO);
    const flush = bench.flush();
    bench.run();
    expect(bench.failures()).toEqual([failed(0, "flush")]);
    expect(flush.errno).toBe(null);
    await bench.send({ type: "settleFailure", place: 0, outcome: "faulty" });
    expect(flush.errno).toBe(0);
    bench.flush();
    bench.run();
    expect(bench.ring.log.filter((op) => op.type === "flush" && op.path === "d0")).toHaveLength(1);
  });

  it("that is put off again and again counts as failed some time", async () => {
    const bench = new EngineBench();
    bench.ring.fail((op) => op.type === "flush" && op.path === "d0", -11);
    const flush = bench.flush();
    bench.run();
    expect(bench.failures()).toEqual([expect.objectContaining({ place: 0, during: "flush", errno: 11 })]);
    await bench.send({ type: "settleFailure", place: 0, outcome: "faulty" });
    expect(flush.errno).toBe(0);
  });

  it("of zeroes with FUA that is put off again and again does too", () => {
    const bench = new EngineBench();
    bench.ring.fail((op) => op.type === "flush" && op.path === "d0", -11);
    bench.submit(RequestOp.zero, 0, 8, 0, REQUEST_FUA);
    bench.run();
    expect(bench.failures()).toEqual([expect.objectContaining({ place: 0, during: "write", errno: 11 })]);
  });

  it("of zeroes with FUA that fails counts as the failure of the leg", () => {
    const bench = new EngineBench();
    bench.ring.fail((op) => op.type === "flush" && op.path === "d0", EIO);
    const zero = bench.submit(RequestOp.zero, 0, 8, 0, REQUEST_FUA);
    bench.run();
    expect(zero.errno).toBe(null);
    expect(bench.failures()).toEqual([failed(0, "write")]);
  });
});

describe("a read", () => {
  it("that fails on one member is served by another, counted and told", () => {
    const bench = benchWithBit();
    bench.ring.fail(on("d0", isRead), EIO);
    bench.ring.fail(on("d1", isRead), 512, 1);
    const read = bench.read(0, 8);
    bench.run();
    expect(read.errno).toBe(0);
    expect(new Set(bench.ring.arena.subarray(read.buffer, read.buffer + 4096))).toEqual(new Set([1]));
    expect(bench.notices).toContainEqual(expect.objectContaining({ type: "readError", place: 0, errno: 5, at: 0 }));
    expect(bench.failures()).toEqual([]);
    expect(bench.shared.read("readErrors")).toBe(1);
  });

  it("is an error only when no member can give it", () => {
    const bench = benchWithBit();
    bench.ring.fail((op) => isRead(op) && op.at === 256, EIO);
    const bad = bench.read(0, 8);
    const good = bench.read(8, 8);
    bench.run();
    expect([bad.errno, good.errno]).toEqual([5, 0]);
    expect(bench.failures()).toEqual([]);
  });

  it("goes to the first in-sync member in a suspended range, in chunks that need a resync, and on order", async () => {
    const bench = new EngineBench({ bits: Uint8Array.of(0b10, 0, 0, 0, 0, 0, 0, 0) });
    const readers = (at: number): Set<string> => {
      const from = bench.ring.log.length;
      for (let i = 0; i < 4; i++) bench.read(at, 8);
      bench.run();
      return new Set(bench.ring.log.slice(from).map(({ path }) => path));
    };
    expect(readers(0)).toEqual(new Set(["d0", "d1"]));
    expect(readers(64)).toEqual(new Set(["d0"]));
    await bench.send({ type: "suspend", slot: slotNumber(1), range: range(128, 256) });
    expect(readers(200)).toEqual(new Set(["d0"]));
    await bench.send({ type: "setBalance", balance: "first" });
    expect(readers(0)).toEqual(new Set(["d0"]));
  });

  it("does not touch a member that is being rebuilt but below what is good", async () => {
    const rebuilding = { state: "rebuilding", recoveredTo: 1024 as never } as const;
    const bench = new EngineBench({ members: [rebuilding] });
    const readers = (at: number): string[] => {
      const from = bench.ring.log.length;
      bench.read(at, 8);
      bench.read(at, 8);
      bench.run();
      return bench.ring.log.slice(from).map(({ path }) => path);
    };
    expect(new Set(readers(0))).toEqual(new Set(["d0", "d1"]));
    expect(readers(1020)).toEqual(["d1", "d1"]);
    // Nor where all nodes must read the same copy.
    await bench.send({ type: "setBalance", balance: "first" });
    expect(readers(0)).toEqual(["d1", "d1"]);
  });
});
