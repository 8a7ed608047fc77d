import { describe, expect, it } from "vitest";
import { sector, slotNumber } from "../../src/base/units.ts";
import type { EngineMember } from "../../src/engine/engine-protocol.ts";
import {
  DATA_AT,
  diskName,
  EngineBench,
  isBitmap,
  isRead,
  isWrite,
  member,
  on,
  range,
} from "../support/engine-bench.ts";

const rebuilding = (place: number, recoveredTo = 0): EngineMember => ({
  ...member(place),
  state: "rebuilding",
  recoveredTo: sector(recoveredTo),
});

/** Two of three members, and a blank disk for the third. */
function withRoom(): EngineBench {
  const bench = new EngineBench({ disks: 3 });
  bench.ring.disks.set("new", new Uint8Array((DATA_AT + 4096) * 512));
  return bench;
}

describe("a member", () => {
  it("comes in as one to be rebuilt: gets the whole bitmap, takes writes, is not read", async () => {
    const bench = withRoom();
    bench.write(0, 8, 1);
    bench.run();
    await bench.send({ type: "setMember", member: { ...member(2), state: "faulty" } });
    await bench.send({ type: "removeMember", place: 2 });
    expect(bench.ring.open).toEqual(["d0", "d1", null]);
    bench.ring.hold(on("new", isBitmap));
    const set = await bench.send({ type: "setMember", member: { ...rebuilding(2), path: "new" } });
    expect(set.answer).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(set.answer).toEqual({ type: "none" });
    expect(bench.bitOnDisk("new", 0)).toBe(true);
    const write = bench.write(64, 8, 2);
    for (let i = 0; i < 6; i++) bench.read(64, 8);
    bench.run();
    expect(write.errno).toBe(0);
    expect(new Set(bench.content("new", 64, 8))).toEqual(new Set([2]));
    expect(bench.ring.log.filter(on("new", isRead))).toEqual([]);
  });

  it("comes in as a full copy only between writes", async () => {
    const bench = withRoom();
    await bench.send({ type: "setMember", member: { ...member(2), state: "faulty" } });
    await bench.send({ type: "removeMember", place: 2 });
    bench.write(0, 64, 1);
    bench.run();
    bench.ring.hold(on("d0", isWrite));
    const write = bench.write(0, 8, 2);
    bench.run();
    const set = await bench.send({ type: "setMember", member: { ...member(2), path: "new" } });
    const next = bench.write(16, 8, 3);
    bench.run();
    expect(set.answer).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(set.answer).toEqual({ type: "none" });
    expect([write.errno, next.errno]).toEqual([0, 0]);
    expect(new Set(bench.content("new", 16, 8))).toEqual(new Set([3]));
  });

  it("that becomes whole beside a flush is flushed, too: the flush is no failure", async () => {
    const bench = withRoom();
    await bench.send({ type: "setMember", member: { ...member(2), state: "faulty" } });
    await bench.send({ type: "removeMember", place: 2 });
    bench.ring.hold((op) => op.type === "flush" && op.path === "d1");
    const flush = bench.flush();
    bench.run();
    await bench.send({ type: "setMember", member: { ...rebuilding(2), path: "new" } });
    await bench.settle();
    await bench.send({ type: "setMember", member: { ...member(2), path: "new" } });
    await bench.settle();
    const from = bench.ring.log.length;
    expect(flush.errno).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(flush.errno).toBe(0);
    expect(
      bench.ring.log
        .slice(from)
        .filter(({ type }) => type === "flush")
        .map(({ path }) => path),
    ).toContain("new");
  });

  it("that cannot be opened is refused, and the array goes on", async () => {
    const bench = withRoom();
    await bench.send({ type: "setMember", member: { ...member(2), state: "faulty" } });
    await bench.send({ type: "removeMember", place: 2 });
    const set = await bench.send({ type: "setMember", member: { ...member(2), path: "nowhere" } });
    expect(set.error).toMatchObject({ code: "E_NO_DEVICE" });
    const write = bench.write(0, 8, 1);
    bench.run();
    expect(write.errno).toBe(0);
  });

  it("is not replaced while it is in use", async () => {
    const bench = withRoom();
    const set = await bench.send({ type: "setMember", member: { ...rebuilding(1), path: "new" } });
    expect(set.error).toMatchObject({ code: "E_MEMBER_ACTIVE" });
    const removed = await bench.send({ type: "removeMember", place: 1 });
    expect(removed.error).toMatchObject({ code: "E_MEMBER_ACTIVE" });
  });

  it("that is the last copy is not made faulty", async () => {
    const bench = new EngineBench();
    await bench.send({ type: "setMember", member: { ...member(0), state: "faulty" } });
    const set = await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    expect(set.error).toMatchObject({ code: "E_LAST_COPY" });
  });

  it("is closed when nothing of it is in flight", async () => {
    const bench = new EngineBench();
    bench.ring.hold(on("d1"));
    bench.flush();
    bench.run();
    await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    const removed = await bench.send({ type: "removeMember", place: 1 });
    expect(removed.answer).toBe(null);
    expect(bench.ring.open).toEqual(["d0", "d1"]);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(removed.answer).toEqual({ type: "none" });
    expect(bench.ring.open).toEqual(["d0", null]);
  });

  it("whose failure is not settled is left alone by setMember", async () => {
    const bench = new EngineBench();
    bench.ring.fail(on("d1", isWrite), -5, 1);
    const write = bench.write(0, 8, 1);
    bench.run();
    await bench.send({ type: "setMember", member: member(1) });
    await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    expect(write.errno).toBe(null);
    await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
    expect(write.errno).toBe(0);
  });

  it("that is removed while the rest of a write to it waits for the lease is not written to", async () => {
    const bench = new EngineBench();
    bench.write(0, 8, 1);
    bench.run();
    bench.ring.hold(isWrite);
    const write = bench.write(0, 8, 2);
    bench.run();
    bench.shared.setLease(bench.now, Number.POSITIVE_INFINITY);
    bench.ring.fail(on("d1", isWrite), 512, 1);
    bench.ring.release();
    bench.run();
    await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    const removed = await bench.send({ type: "removeMember", place: 1 });
    expect([removed.answer, write.errno]).toEqual([{ type: "none" }, null]);
    bench.shared.setLease(Number.POSITIVE_INFINITY);
    bench.run();
    expect(write.errno).toBe(0);
    expect(new Set(bench.content("d0", 0, 8))).toEqual(new Set([2]));
  });

  it("that is removed while its bitmap waits for the lease is not written to", async () => {
    const bench = new EngineBench();
    bench.ring.hold(isBitmap);
    const write = bench.write(0, 8, 2);
    bench.run();
    bench.shared.setLease(bench.now, Number.POSITIVE_INFINITY);
    bench.ring.fail(on("d1", isBitmap), 512, 1);
    bench.ring.release();
    bench.run();
    await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    const removed = await bench.send({ type: "removeMember", place: 1 });
    expect([removed.answer, write.errno]).toEqual([{ type: "none" }, null]);
    bench.shared.setLease(Number.POSITIVE_INFINITY);
    bench.run();
    expect(write.errno).toBe(0);
    expect(bench.bitOnDisk("d0", 0)).toBe(true);
  });

  it("that is removed while the rest of a copy to it waits for the lease is not written to", async () => {
    const bench = new EngineBench({ disks: 3, bits: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0) });
    bench.ring.disks.get("d0")?.fill(7, DATA_AT * 512);
    bench.ring.hold(isWrite);
    const copy = await bench.send({ type: "copy", kind: "resync", range: range(0, 64) });
    bench.shared.setLease(bench.now, Number.POSITIVE_INFINITY);
    bench.ring.fail(on("d1", isWrite), 512, 1);
    bench.ring.release();
    bench.run();
    await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    const removed = await bench.send({ type: "removeMember", place: 1 });
    expect([removed.answer, copy.answer]).toEqual([{ type: "none" }, null]);
    bench.shared.setLease(Number.POSITIVE_INFINITY);
    bench.run();
    await bench.settle();
    expect(copy.answer).toEqual({ type: "copied", sectors: 64, failed: false, aimless: false });
    expect(new Set(bench.content("d2", 0, 64))).toEqual(new Set([7]));
  });

  it("that has not failed has no failure to settle", async () => {
    const bench = new EngineBench();
    const settled = await bench.send({ type: "settleFailure", place: 1, outcome: "last_copy" });
    expect(settled.error).toMatchObject({ code: "E_MEMBER_NOT_FOUND" });
  });
});

describe("commands", () => {
  it("with ranges that are none are refused", async () => {
    const bench = new EngineBench();
    for (const [lo, hi] of [
      [0, 4097],
      [8, 8],
      [-8, 8],
    ] as const) {
      const copy = await bench.send({ type: "copy", kind: "resync", range: range(lo, hi) });
      expect(copy.error).toMatchObject({ code: "E_VALUE" });
    }
  });

  it("that would write are refused by a read-only array", async () => {
    const bench = new EngineBench({ readOnly: true });
    const copy = await bench.send({ type: "copy", kind: "resync", range: range(0, 8) });
    const merge = await bench.send({ type: "mergeBits", bits: new Uint8Array(8) });
    expect([copy.error, merge.error]).toEqual([
      expect.objectContaining({ code: "E_PERMISSION" }),
      expect.objectContaining({ code: "E_PERMISSION" }),
    ]);
    expect((await bench.send({ type: "setEvents", events: 9 })).answer).toEqual({ type: "none" });
  });

  it("is refused a second front end while one is attached", async () => {
    const bench = new EngineBench();
    const frontEnd = {
      type: "nbd",
      address: { type: "unix", path: "/nowhere" },
      exportName: "x",
      readOnly: false,
      multiConn: true,
    } as const;
    const attach = await bench.send({ type: "attach", frontEnd });
    expect(attach.error).toMatchObject({ code: "E_DEVICE_BUSY" });
  });

  it("detach waits for the front end's requests", async () => {
    const bench = new EngineBench();
    bench.ring.hold(isRead);
    const read = bench.read(0, 8);
    const detach = await bench.send({ type: "detach" });
    expect(detach.answer).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(read.errno).toBe(0);
    expect(detach.answer).toEqual({ type: "none" });
  });
});

describe("the start", () => {
  it("is refused without a member that is in sync, and leaves nothing open", () => {
    const members = [{ state: "faulty" }, { state: "rebuilding" }] as const;
    expect(() => new EngineBench({ members })).toThrow(expect.objectContaining({ code: "E_LAST_COPY" }));
  });

  it("is refused when a member cannot be opened", () => {
    expect(() => new EngineBench({ members: [{}, { path: diskName(7) }] })).toThrow(
      expect.objectContaining({ code: "E_NO_DEVICE" }),
    );
  });

  it("works with a raid_disk that is faulty, or has no member", () => {
    const bench = new EngineBench({ members: [{ state: "faulty" }] });
    const write = bench.write(0, 8, 1);
    bench.run();
    expect(write.errno).toBe(0);
    expect(bench.ring.open).toEqual(["d1"]);
  });

  it("tells the kind of ring", () => {
    expect(new EngineBench().notices[0]).toMatchObject({ type: "started", ringKind: "simulated" });
  });
});

describe("the table of requests", () => {
  it("takes no more than the queue depth and a quarter, and again as soon as one is answered", () => {
    const bench = new EngineBench({ queueDepth: 4 });
    bench.ring.hold(isRead);
    for (let i = 0; i < 5; i++) bench.read(0, 8);
    expect(() => bench.read(0, 8)).toThrow("no room");
    bench.run();
    expect(bench.shared.read("inflight")).toBe(5);
    bench.ring.release();
    bench.run();
    expect(bench.read(0, 8).errno).toBe(null);
  });
});

describe("stop", () => {
  it("finishes what is in flight, clears what may be cleared, flushes, closes", async () => {
    const bench = new EngineBench();
    bench.ring.hold(on("d0", isWrite));
    const write = bench.write(0, 8, 1);
    bench.run();
    const stop = await bench.send({ type: "stop" });
    expect(stop.answer).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(write.errno).toBe(0);
    expect(stop.answer).toEqual({ type: "none" });
    expect(bench.loop.ended).toBe(true);
    expect(bench.ring.open).toEqual([null, null]);
    for (const path of ["d0", "d1"]) expect(bench.bitOnDisk(path, 0)).toBe(false);
    expect(bench.ring.log.at(-1)?.type).toBe("flush");
  });

  it("refuses what waits for others: suspended, or held for a failure that nobody settles any more", async () => {
    const bench = new EngineBench();
    await bench.send({ type: "suspend", slot: slotNumber(1), range: range(0, 64) });
    bench.ring.fail(on("d1", isWrite), -5, 1);
    const suspended = bench.write(0, 8, 1);
    const held = bench.write(64, 8, 1);
    bench.run();
    const unrecorded = bench.write(640, 8, 1);
    bench.run();
    const stop = await bench.send({ type: "stop" });
    expect([suspended.errno, held.errno, unrecorded.errno]).toEqual([108, 108, 108]);
    expect(stop.answer).toEqual({ type: "none" });
    // Degraded: the bit stays.
    expect(bench.bitOnDisk("d0", 1)).toBe(true);
    // The mirrors differ where only one has the write.
    expect(bench.shared.read("neededChunks")).toBe(1);
  });

  it("refuses what waits for which copy is left", async () => {
    const bench = new EngineBench();
    bench.write(0, 64, 1);
    bench.run();
    bench.ring.fail(on("d1", isWrite), -5, 1);
    bench.write(0, 8, 1);
    bench.run();
    await bench.send({ type: "setMember", member: { ...member(0), state: "faulty" } });
    const requests = [bench.read(0, 8), bench.write(8, 8, 1), bench.flush()];
    bench.run();
    expect(requests.map(({ errno }) => errno)).toEqual([null, null, null]);
    const stop = await bench.send({ type: "stop" });
    expect(requests.map(({ errno }) => errno)).toEqual([108, 108, 108]);
    expect(stop.answer).toEqual({ type: "none" });
  });

  it("refuses a read that finds no copy while that is undecided", async () => {
    const bench = new EngineBench();
    bench.write(0, 64, 1);
    bench.run();
    bench.ring.hold(isRead);
    const read = bench.read(0, 8);
    bench.run();
    bench.ring.fail(on("d1", isWrite), -5, 1);
    bench.write(0, 8, 1);
    bench.run();
    await bench.send({ type: "setMember", member: { ...member(0), state: "faulty" } });
    const stop = await bench.send({ type: "stop" });
    bench.ring.fail(isRead, -5);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(read.errno).toBe(108);
    expect(stop.answer).toEqual({ type: "none" });
  });

  it("without the lease writes nothing", async () => {
    const bench = new EngineBench();
    bench.write(0, 8, 1);
    bench.run();
    bench.shared.setLease(bench.now, Number.POSITIVE_INFINITY);
    const from = bench.ring.log.length;
    const write = bench.write(0, 8, 2);
    const stop = await bench.send({ type: "stop" });
    expect(write.errno).toBe(108);
    expect(stop.answer).toEqual({ type: "none" });
    expect(bench.ring.log.slice(from).filter(({ type }) => type !== "flush")).toEqual([]);
    expect(bench.bitOnDisk("d0", 0)).toBe(true);
  });

  it("while quiesced and copying ends both", async () => {
    const bench = new EngineBench({ bits: new Uint8Array(8).fill(255) });
    bench.ring.hold(isRead);
    const copy = await bench.send({ type: "copy", kind: "resync", range: range(0, 4096) });
    const quiesce = await bench.send({ type: "quiesce" });
    const stop = await bench.send({ type: "stop" });
    expect(stop.answer).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(copy.answer?.failed).toBe(true);
    expect([quiesce.answer, stop.answer]).toEqual([{ type: "none" }, { type: "none" }]);
    expect(bench.bitOnDisk("d1", 20)).toBe(true);
  });
});

describe("a front end", () => {
  it("gets the turn that it wants, though nothing else happens", () => {
    const bench = new EngineBench();
    bench.run();
    expect(bench.ring.lastWaitMs).toBe(-1);
    bench.wantedTurnIn = 100;
    bench.run();
    expect(bench.ring.lastWaitMs).toBe(100);
    bench.write(0, 8, 1);
    bench.run();
    expect(bench.ring.lastWaitMs).toBeLessThanOrEqual(100);
  });
});
