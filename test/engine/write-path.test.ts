import { describe, expect, it } from "vitest";
import { sector, slotNumber } from "../../src/base/units.ts";
import { REQUEST_FUA, RequestOp } from "../../src/blockdev/front-end.ts";
import { DATA_AT, EngineBench, isBitmap, isData, isRead, isWrite, on, range } from "../support/engine-bench.ts";
import type { FakeOp } from "../support/fake-ring.ts";

/** What was asked of the members since the engine came to rest after its start. */
function since(bench: EngineBench): () => readonly FakeOp[] {
  const from = bench.ring.log.length;
  return () => bench.ring.log.slice(from);
}

const short = ({ type, path, at }: FakeOp): string => `${at < DATA_AT && type === "write" ? "bitmap" : type} ${path}`;

describe("a write", () => {
  it("F26: goes to the members only after its bit is durable on all of them", () => {
    const bench = new EngineBench();
    const log = since(bench);
    bench.ring.hold(on("d1", isBitmap));
    const write = bench.write(0, 8, 1);
    bench.run();
    expect(log().map(short)).toEqual(["bitmap d0", "bitmap d1"]);
    expect(log().every(({ flags }) => flags === 1)).toBe(true);

    bench.ring.release();
    bench.run();
    expect(log().map(short)).toEqual(["bitmap d0", "bitmap d1", "write d0", "write d1"]);
    expect(write.errno).toBe(0);
    expect([bench.bitOnDisk("d0", 0), bench.bitOnDisk("d1", 0)]).toEqual([true, true]);
  });

  it("is not let through by a page write that was issued before its bit was set", () => {
    const bench = new EngineBench();
    bench.ring.hold(isBitmap);
    bench.write(0, 8, 1);
    bench.run();
    const log = since(bench);
    // Chunk 1, on the same page, whose write is in flight.
    const second = bench.write(64, 8, 2);
    bench.run();
    bench.ring.release((op) => op.type === "write");
    bench.run();
    expect(log().filter((op) => isWrite(op) && op.at === DATA_AT + 64)).toEqual([]);
    expect(log().filter(isBitmap)).toHaveLength(2);
    bench.ring.release();
    bench.run();
    expect(second.errno).toBe(0);
  });

  it("shares one page write a member with all others of its turn", () => {
    const bench = new EngineBench();
    const log = since(bench);
    for (let chunk = 0; chunk < 16; chunk++) bench.write(chunk * 64, 8, chunk);
    bench.run();
    expect(log().filter(isBitmap)).toHaveLength(2);
    expect(log().filter(isWrite)).toHaveLength(32);
  });

  it("writes no page when the bit of its chunk is durable already", () => {
    const bench = new EngineBench();
    bench.write(0, 8, 1);
    bench.run();
    const log = since(bench);
    const again = bench.write(8, 8, 2);
    bench.run();
    expect(log().map(short)).toEqual(["write d0", "write d1"]);
    expect(again.errno).toBe(0);
  });

  it("is answered when all members have it, whatever their order", () => {
    const bench = new EngineBench({ disks: 3 });
    bench.ring.hold(isWrite);
    const write = bench.write(0, 8, 7);
    bench.run();
    for (const path of ["d2", "d0"]) {
      bench.ring.release(on(path));
      bench.run();
      expect(write.errno).toBe(null);
    }
    bench.ring.release(on("d1"));
    bench.run();
    expect(write.errno).toBe(0);
    for (const path of ["d0", "d1", "d2"]) expect(new Set(bench.content(path, 0, 8))).toEqual(new Set([7]));
  });

  it("asks for durable legs with FUA", () => {
    const bench = new EngineBench();
    const log = since(bench);
    bench.write(0, 8, 1, REQUEST_FUA);
    bench.run();
    expect(
      log()
        .filter(isWrite)
        .map(({ flags }) => flags),
    ).toEqual([1, 1]);
  });

  it("F18: asks again for what a short transfer left, and for what was put off", () => {
    const bench = new EngineBench();
    const log = since(bench);
    bench.ring.fail(on("d0", isWrite), 3 * 512, 1);
    bench.ring.fail(on("d1", isWrite), -11, 1);
    bench.ring.fail(on("d1", isWrite), -4, 1);
    const write = bench.write(16, 8, 9);
    bench.run();
    expect(write.errno).toBe(0);
    for (const path of ["d0", "d1"]) expect(new Set(bench.content(path, 16, 8))).toEqual(new Set([9]));
    const legs = log().filter(on("d0", isWrite));
    expect(legs.map(({ at, sectors }) => [at - DATA_AT, sectors])).toEqual([
      [16, 8],
      [19, 5],
    ]);
    expect(bench.failures()).toEqual([]);
  });

  it("waits for an earlier one that it overlaps, and only for such", () => {
    const bench = new EngineBench();
    bench.write(0, 64, 0);
    bench.run();
    bench.ring.hold(on("d1", isWrite));
    const first = bench.write(0, 8, 1);
    const overlapping = bench.write(4, 8, 2);
    const third = bench.write(10, 2, 3);
    const apart = bench.write(32, 8, 4);
    bench.run();
    bench.ring.holdNoMore();
    bench.ring.release((op) => op.at === DATA_AT + 32);
    bench.run();
    expect([first.errno, overlapping.errno, third.errno, apart.errno]).toEqual([null, null, null, 0]);
    bench.ring.release();
    bench.run();
    expect([first.errno, overlapping.errno, third.errno]).toEqual([0, 0, 0]);
    for (const path of ["d0", "d1"]) {
      expect([...bench.content(path, 0, 12)].filter((_, i) => i % 512 === 0)).toEqual([
        1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3,
      ]);
    }
  });

  it("past the end of the array is refused and changes nothing", () => {
    const bench = new EngineBench();
    const log = since(bench);
    const write = bench.write(4090, 8, 1);
    bench.run();
    expect(write.errno).toBe(22);
    expect(log()).toEqual([]);
  });

  it("of a read-only array is refused", () => {
    const bench = new EngineBench({ readOnly: true });
    const write = bench.write(0, 8, 1);
    bench.run();
    expect(write.errno).toBe(30);
    expect(bench.ring.log).toEqual([]);
  });
});

describe("zeroes and discards", () => {
  it("zero the range on every member, after its bits", () => {
    const bench = new EngineBench();
    bench.write(0, 128, 5);
    bench.run();
    const log = since(bench);
    const zero = bench.submit(RequestOp.zero, 8, 100, 0, 0);
    bench.run();
    expect(zero.errno).toBe(0);
    expect(log().map(short)).toEqual(["zero d0", "zero d1"]);
    for (const path of ["d0", "d1"]) {
      expect(new Set(bench.content(path, 8, 100))).toEqual(new Set([0]));
      expect(new Set(bench.content(path, 0, 8))).toEqual(new Set([5]));
    }
  });

  it("ask a member for little at once, and go on with data where it no longer can", () => {
    const bench = new EngineBench({ size: sector(32_768), chunkSectors: 1024 });
    for (const path of ["d0", "d1"]) bench.content(path, 0, 32_768).fill(5);
    const log = since(bench);
    let asked = 0;
    bench.ring.fail((op) => op.path === "d1" && op.type === "zero" && ++asked > 1, -95);
    const discard = bench.submit(RequestOp.discard, 100, 20_000, 0, 0);
    bench.run();
    expect(discard.errno).toBe(0);
    const zeroed = (path: string) => log().flatMap((op) => (op.path === path && op.type === "zero" ? op.sectors : []));
    expect([zeroed("d0"), zeroed("d1")]).toEqual([
      [8192, 8192, 3616],
      [8192, 8192],
    ]);
    for (const path of ["d0", "d1"]) {
      expect(bench.content(path, 100, 20_000).every((byte) => byte === 0)).toBe(true);
      expect(bench.content(path, 20_100, 4).every((byte) => byte === 5)).toBe(true);
      expect(bench.content(path, 96, 4).every((byte) => byte === 5)).toBe(true);
    }
  });

  it("write zeros on a member that cannot zero, in pieces", () => {
    const bench = new EngineBench();
    bench.write(0, 1024, 5);
    bench.run();
    const log = since(bench);
    bench.ring.fail((op) => op.path === "d1" && op.type === "zero", -95);
    const discard = bench.submit(RequestOp.discard, 0, 1000, 0, 0);
    bench.run();
    expect(discard.errno).toBe(0);
    expect(log().filter(on("d1", isWrite)).length).toBeGreaterThan(1);
    for (const path of ["d0", "d1"]) {
      expect(new Set(bench.content(path, 0, 1000))).toEqual(new Set([0]));
      expect(new Set(bench.content(path, 1000, 24))).toEqual(new Set([5]));
    }
    expect(bench.failures()).toEqual([]);
  });

  it("write zeros on a member that puts them off again and again", () => {
    const bench = new EngineBench();
    bench.write(0, 64, 5);
    bench.run();
    bench.ring.fail((op) => op.path === "d1" && op.type === "zero", -11);
    const zero = bench.submit(RequestOp.zero, 0, 64, 0, 0);
    bench.run();
    expect(zero.errno).toBe(0);
    for (const path of ["d0", "d1"]) expect(new Set(bench.content(path, 0, 64))).toEqual(new Set([0]));
    expect(bench.failures()).toEqual([]);
  });

  it("flush what they zeroed with FUA", () => {
    const bench = new EngineBench();
    const log = since(bench);
    bench.submit(RequestOp.zero, 0, 8, 0, REQUEST_FUA);
    bench.run();
    expect(
      log()
        .filter((op) => !isBitmap(op))
        .map(short),
    ).toEqual(["zero d0", "zero d1", "flush d0", "flush d1"]);
  });
});

describe("a suspended range", () => {
  it("is answered only when no write of ours in it is in flight", async () => {
    const bench = new EngineBench();
    bench.ring.hold(on("d0", isWrite));
    const write = bench.write(100, 8, 1);
    bench.run();
    const suspend = await bench.send({ type: "suspend", slot: slotNumber(1), range: range(96, 128) });
    expect(suspend.answer).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(write.errno).toBe(0);
    expect(suspend.answer).toEqual({ type: "none" });
  });

  it("holds back new writes until it is resumed, lets others and reads pass", async () => {
    const bench = new EngineBench();
    await bench.send({ type: "suspend", slot: slotNumber(1), range: range(96, 128) });
    const log = since(bench);
    const inside = bench.write(120, 16, 1);
    const outside = bench.write(128, 8, 2);
    const read = bench.read(100, 8);
    bench.run();
    expect([inside.errno, outside.errno, read.errno]).toEqual([null, 0, 0]);
    expect(log().filter((op) => isWrite(op) && op.at < DATA_AT + 128)).toEqual([]);
    expect(bench.shared.read("waitingOnSuspend")).toBe(1);
    await bench.send({ type: "resume", slot: slotNumber(1) });
    expect(inside.errno).toBe(0);
  });

  it("F28: leaves room for reads and flushes when as many writes as there is room for wait for it", async () => {
    const bench = new EngineBench({ queueDepth: 8 });
    await bench.send({ type: "suspend", slot: slotNumber(1), range: range(96, 128) });
    const writes = Array.from({ length: 8 }, () => bench.write(100, 8, 1));
    expect(() => bench.write(0, 8, 1)).toThrow("no room");
    bench.run();
    expect(bench.shared.read("waitingOnSuspend")).toBe(8);
    for (let i = 0; i < 20; i++) {
      const [read, flush] = [bench.read(100, 8), bench.flush()];
      bench.run();
      expect([read.errno, flush.errno]).toEqual([0, 0]);
    }
    await bench.send({ type: "resume", slot: slotNumber(1) });
    expect(writes.map(({ errno }) => errno)).toEqual(writes.map(() => 0));
    expect(bench.write(0, 8, 1).errno).toBe(null);
  });

  it("takes back a write that waits for its bit, rather than waiting for it", async () => {
    const bench = new EngineBench();
    bench.ring.hold(isBitmap);
    const write = bench.write(100, 8, 1);
    bench.run();
    const log = since(bench);
    const suspend = await bench.send({ type: "suspend", slot: slotNumber(1), range: range(96, 128) });
    expect(suspend.answer).toEqual({ type: "none" });
    bench.ring.release();
    bench.run();
    expect(log().filter(isData)).toEqual([]);
    expect(write.errno).toBe(null);
    await bench.send({ type: "resume", slot: slotNumber(1) });
    expect(write.errno).toBe(0);
  });

  it.each([4, 8])("takes back %i that overlap and wait for a bit; they go out in order after it", async (writes) => {
    const bench = new EngineBench();
    bench.ring.hold(isBitmap);
    const requests = Array.from({ length: writes }, (_, i) => bench.write(100, 8, i + 1));
    bench.run();
    const log = since(bench);
    const suspend = await bench.send({ type: "suspend", slot: slotNumber(1), range: range(96, 128) });
    expect(suspend.answer).toEqual({ type: "none" });
    bench.ring.release();
    bench.run();
    expect(log().filter(isData)).toEqual([]);
    expect(bench.shared.read("waitingOnSuspend")).toBe(writes);
    await bench.send({ type: "resume", slot: slotNumber(1) });
    expect(requests.map(({ errno }) => errno)).toEqual(requests.map(() => 0));
    for (const path of ["d0", "d1"]) expect(new Set(bench.content(path, 100, 8))).toEqual(new Set([writes]));
  });

  it("takes back all that overlap and wait for the lease", async () => {
    const bench = new EngineBench();
    bench.write(96, 32, 9);
    bench.run();
    bench.shared.setLease(bench.now, Number.POSITIVE_INFINITY);
    const log = since(bench);
    const requests = Array.from({ length: 8 }, (_, i) => bench.write(100, 8, i + 1));
    bench.run();
    const suspend = await bench.send({ type: "suspend", slot: slotNumber(1), range: range(96, 128) });
    expect(suspend.answer).toEqual({ type: "none" });
    bench.shared.setLease(Number.POSITIVE_INFINITY);
    bench.run();
    expect(log().filter(isData)).toEqual([]);
    await bench.send({ type: "resume", slot: slotNumber(1) });
    expect(requests.map(({ errno }) => errno)).toEqual(requests.map(() => 0));
    for (const path of ["d0", "d1"]) expect(new Set(bench.content(path, 100, 8))).toEqual(new Set([8]));
  });

  it("is left by a write when it moves on", async () => {
    const bench = new EngineBench();
    await bench.send({ type: "suspend", slot: slotNumber(1), range: range(0, 64) });
    const write = bench.write(0, 8, 1);
    bench.run();
    expect(write.errno).toBe(null);
    await bench.send({ type: "suspend", slot: slotNumber(1), range: range(64, 128) });
    expect(write.errno).toBe(0);
    expect(bench.shared.read("waitingOnSuspend")).toBe(0);
  });

  it("is kept for each slot by itself", async () => {
    const bench = new EngineBench();
    await bench.send({ type: "suspend", slot: slotNumber(1), range: range(0, 64) });
    await bench.send({ type: "suspend", slot: slotNumber(2), range: range(0, 128) });
    const write = bench.write(0, 8, 1);
    await bench.send({ type: "resume", slot: slotNumber(2) });
    expect(write.errno).toBe(null);
    await bench.send({ type: "resume", slot: slotNumber(1) });
    expect(write.errno).toBe(0);
  });
});

describe("without the lease", () => {
  it("no write and no page goes out, reads do; all goes on when it is back", () => {
    const bench = new EngineBench();
    bench.write(0, 8, 1);
    bench.run();
    const log = since(bench);
    bench.shared.setLease(bench.now, bench.now + 1);
    const known = bench.write(8, 8, 2);
    const fresh = bench.write(128, 8, 3);
    const read = bench.read(0, 8);
    bench.run();
    expect(log().map(short)).toEqual(["read d0"]);
    expect([known.errno, fresh.errno, read.errno]).toEqual([null, null, 0]);
    // Nobody wakes the loop for a lease.
    expect(bench.ring.lastWaitMs).toBeGreaterThan(0);
    bench.shared.setLease(bench.now + 1);
    bench.run();
    expect([known.errno, fresh.errno]).toEqual([0, 0]);
  });

  it("a read is answered only while what we know of the mirrors is surely true, and is read anew after that", () => {
    const bench = new EngineBench();
    bench.ring.hold(isRead);
    const read = bench.read(0, 8);
    bench.run();
    bench.shared.setLease(bench.now, bench.now);
    bench.ring.release();
    bench.run();
    expect(read.errno).toBe(null);
    expect(bench.ring.lastWaitMs).toBeGreaterThan(0);
    const log = since(bench);
    bench.shared.setLease(bench.now + 1, bench.now + 1);
    bench.run();
    expect(log().map(({ type }) => type)).toEqual(["read"]);
    expect(read.errno).toBe(0);
  });

  it("a write or flush that ends too late is answered only when this node is surely a member again", () => {
    const bench = new EngineBench();
    bench.ring.hold((op) => isWrite(op) || op.type === "flush");
    const write = bench.write(0, 8, 1);
    const flush = bench.flush();
    bench.run();
    bench.shared.setLease(bench.now, bench.now);
    bench.ring.release();
    bench.run();
    expect([write.errno, flush.errno]).toEqual([null, null]);
    expect(bench.shared.read("waitingOnLease")).toBe(2);
    expect(bench.ring.lastWaitMs).toBeGreaterThan(0);
    bench.shared.setLease(bench.now + 1, bench.now + 1);
    bench.run();
    expect([write.errno, flush.errno]).toEqual([0, 0]);
  });

  it("a write whose page was on its way waits", () => {
    const bench = new EngineBench();
    bench.ring.hold(isBitmap);
    const write = bench.write(0, 8, 1);
    bench.run();
    const log = since(bench);
    bench.shared.setLease(bench.now);
    bench.ring.release();
    bench.run();
    expect(log()).toEqual([]);
    expect(write.errno).toBe(null);
  });

  it("the rest of a short write waits", () => {
    const bench = new EngineBench();
    bench.ring.hold(isWrite);
    bench.ring.fail(on("d0", isWrite), 512, 1);
    const write = bench.write(0, 8, 1);
    bench.run();
    const log = since(bench);
    bench.shared.setLease(bench.now, Number.POSITIVE_INFINITY);
    bench.ring.release();
    bench.run();
    expect(log()).toEqual([]);
    bench.shared.setLease(bench.now + 1);
    bench.run();
    expect(write.errno).toBe(0);
  });
});

describe("quiesce", () => {
  it("is answered when nothing is in flight, and admits nothing until unquiesce", async () => {
    const bench = new EngineBench();
    bench.ring.hold(on("d0", isWrite));
    const first = bench.write(0, 8, 1);
    bench.run();
    const quiesce = await bench.send({ type: "quiesce" });
    const second = bench.write(64, 8, 2);
    const read = bench.read(0, 8);
    bench.run();
    expect(quiesce.answer).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(quiesce.answer).toEqual({ type: "none" });
    expect([first.errno, second.errno, read.errno]).toEqual([0, null, null]);
    await bench.send({ type: "unquiesce" });
    expect([second.errno, read.errno]).toEqual([0, 0]);
  });
});

describe("writes that nobody waits for any more", () => {
  it("are never issued, whatever they wait for, and are answered; those that are issued go on", async () => {
    const bench = new EngineBench();
    bench.write(0, 64, 1);
    bench.run();
    await bench.send({ type: "suspend", slot: slotNumber(1), range: range(1024, 2048) });
    bench.ring.hold((op) => isBitmap(op) || isWrite(op));
    const issued = bench.write(0, 8, 2);
    const unrecorded = bench.write(128, 8, 2);
    const overlapping = bench.write(4, 8, 3);
    const suspended = bench.write(1024, 8, 3);
    bench.run();
    const log = since(bench);
    bench.cancel();
    const read = bench.read(0, 8);
    const later = bench.write(8, 8, 4);
    bench.run();
    expect([issued, unrecorded, overlapping, suspended, read, later].map(({ errno }) => errno)).toEqual([
      null,
      108,
      null,
      108,
      0,
      null,
    ]);
    bench.ring.release();
    bench.run();
    expect([issued.errno, overlapping.errno, later.errno]).toEqual([0, 108, 0]);
    await bench.send({ type: "resume", slot: slotNumber(1) });
    expect(log().filter(isWrite)).toMatchObject([{ at: DATA_AT + 8 }, { at: DATA_AT + 8 }]);
  });

  it("are not issued again when the lease comes back", () => {
    const bench = new EngineBench();
    bench.write(0, 64, 1);
    bench.run();
    bench.ring.hold(isWrite);
    const write = bench.write(0, 8, 2);
    bench.run();
    bench.shared.setLease(bench.now);
    bench.ring.fail(on("d1", isWrite), -11, 1);
    bench.ring.release();
    bench.run();
    const log = since(bench);
    bench.cancel();
    bench.run();
    expect(write.errno).toBe(5);
    bench.shared.setLease(bench.now + 1);
    bench.run();
    expect(log().filter(isWrite)).toEqual([]);
    expect(bench.failures()).toEqual([]);
    // One mirror has it, the other has not.
    expect(bench.shared.read("neededChunks")).toBe(1);
    expect(bench.notices).toContainEqual({ type: "resyncNeeded" });
  });

  it("are not issued after a quiesce, nor when the lease comes back", async () => {
    const bench = new EngineBench();
    await bench.send({ type: "quiesce" });
    const quiesced = bench.write(0, 8, 1);
    bench.run();
    bench.cancel();
    bench.run();
    expect(quiesced.errno).toBe(108);
    await bench.send({ type: "unquiesce" });
    bench.shared.setLease(bench.now);
    const unleased = bench.write(0, 8, 1);
    bench.run();
    bench.cancel();
    bench.run();
    expect(unleased.errno).toBe(108);
    bench.shared.setLease(bench.now + 1);
    bench.run();
    expect(bench.ring.log.filter(isWrite)).toEqual([]);
  });
});
