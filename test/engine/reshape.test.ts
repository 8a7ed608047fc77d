import { describe, expect, it } from "vitest";
import { sector, sectorRange } from "../../src/base/units.ts";
import { RequestOp } from "../../src/blockdev/front-end.ts";
import type { EngineShape } from "../../src/engine/engine-protocol.ts";
import { DATA_AT, EngineBench, isBitmap, isWrite, member, on, range } from "../support/engine-bench.ts";

const EINVAL = 22;
const EIO = 5;

const none = (chunks: number): Uint8Array => new Uint8Array(Math.ceil(chunks / 8));

/** Of an array of 64-sector chunks, unless `change` says otherwise. */
function shape(syncSize: number, change: Partial<EngineShape> = {}): EngineShape {
  const { chunkSectors = 64 } = change;
  return {
    syncSize: sector(syncSize),
    raidDisks: 2,
    chunkSectors,
    need: none(Math.ceil(syncSize / chunkSectors)),
    ...change,
  };
}

/** An array of 4096 sectors on disks with room for twice as many. */
function bench(disks = 2): EngineBench {
  const made = new EngineBench({ disks });
  for (const [path, bytes] of made.ring.disks) {
    const larger = new Uint8Array((DATA_AT + 8192) * 512);
    larger.set(bytes);
    made.ring.disks.set(path, larger);
  }
  return made;
}

const chunksNeeded = async (made: EngineBench): Promise<number> => {
  const { answer } = await made.send({ type: "queryBitmap" });
  return answer?.needed ?? -1;
};

describe("another size", () => {
  it("keeps what is in flight and what waits: each request ends once, and on both members", async () => {
    const made = bench();
    made.ring.hold(isWrite);
    const inFlight = made.write(0, 8, 1);
    const overlapping = made.write(4, 8, 2);
    made.run();
    const growing = await made.send({ type: "reshape", shape: shape(8192) });
    const late = made.write(100, 8, 3);
    const read = made.read(0, 4);
    made.run();
    expect([growing.answer, inFlight.errno, overlapping.errno, late.errno, read.errno]).toEqual(Array(5).fill(null));
    made.ring.holdNoMore();
    made.ring.release();
    made.run();
    await made.settle();
    expect(growing.answer).toEqual({ type: "none" });
    expect([inFlight.errno, overlapping.errno, late.errno, read.errno]).toEqual([0, 0, 0, 0]);
    for (const path of ["d0", "d1"]) {
      expect(new Set(made.content(path, 4, 8))).toEqual(new Set([2]));
      expect(new Set(made.content(path, 100, 8))).toEqual(new Set([3]));
    }
  });

  it("lets nobody beyond the old end until the capacity is raised, nor beyond the new one after", async () => {
    const made = bench();
    await made.send({ type: "reshape", shape: shape(8192) });
    const before = made.write(4096, 8, 1);
    const readBefore = made.read(4090, 8);
    made.run();
    expect([before.errno, readBefore.errno]).toEqual([EINVAL, EINVAL]);
    expect((await made.send({ type: "setCapacity", capacity: sector(8193) })).error).toMatchObject({ code: "E_VALUE" });
    await made.send({ type: "setCapacity", capacity: sector(8192) });
    const after = made.write(8184, 8, 4);
    const beyond = made.write(8185, 8, 5);
    made.run();
    expect([after.errno, beyond.errno]).toEqual([0, EINVAL]);
    for (const path of ["d0", "d1"]) expect(new Set(made.content(path, 8184, 8))).toEqual(new Set([4]));
    expect(made.bitOnDisk("d1", 127)).toBe(true);
  });

  it("needs a resync of what is new, and of that alone", async () => {
    const made = bench();
    made.ring.disks.get("d0")?.fill(7, (DATA_AT + 4096) * 512);
    const need = none(128).fill(0xff, 8);
    await made.send({ type: "reshape", shape: shape(8192, { need }) });
    expect(await chunksNeeded(made)).toBe(64);
    expect(made.bitOnDisk("d1", 64)).toBe(true);
    expect(made.bitOnDisk("d1", 63)).toBe(false);
    const { answer } = await made.send({ type: "scan", kind: "resync", from: sector(0) });
    expect(answer).toEqual({ type: "scanned", range: range(4096, 8192) });
    const copied = await made.send({ type: "copy", kind: "resync", range: range(4096, 8192) });
    expect(copied.answer).toMatchObject({ sectors: 4096, failed: false });
    expect(new Set(made.content("d1", 4096, 4096))).toEqual(new Set([7]));
  });

  it("remembers in larger chunks what differed in small ones", async () => {
    const bits = none(64);
    bits[0] = 0b1010_0000;
    const made = new EngineBench({ bits });
    await made.send({ type: "reshape", shape: shape(4096, { chunkSectors: 256 }) });
    expect([0, 1, 2].map((chunk) => made.bitOnDisk("d0", chunk))).toEqual([false, true, false]);
    const { answer } = await made.send({ type: "scan", kind: "resync", from: sector(0) });
    expect(answer?.range).toEqual(sectorRange(256, 512));
  });

  it("keeps the bits of writes until they may be cleared, in the new form", async () => {
    const made = bench();
    const write = made.write(640, 8, 1);
    made.run();
    expect(write.errno).toBe(0);
    await made.send({ type: "reshape", shape: shape(4096, { chunkSectors: 128 }) });
    expect(made.bitOnDisk("d0", 5)).toBe(true);
    expect(await chunksNeeded(made)).toBe(0);
    await made.send({ type: "flushBitmap" });
    expect(made.bitOnDisk("d0", 5)).toBe(false);
  });

  it("says in our bitmap superblock what it covers", async () => {
    const made = bench();
    await made.send({ type: "reshape", shape: shape(8192, { chunkSectors: 128 }) });
    const page = made.ring.disks.get("d1")?.slice(16 * 512, 16 * 512 + 256) ?? new Uint8Array(256);
    const view = new DataView(page.buffer);
    expect([view.getBigUint64(40, true), view.getUint32(52, true)]).toEqual([8192n, 128 * 512]);
  });

  it("shrinks: what waited for a place beyond the end is refused, what is before it is not touched", async () => {
    const made = bench();
    made.ring.hold(isBitmap);
    const inside = made.write(1000, 8, 1);
    const beyond = made.write(3000, 8, 2);
    made.run();
    const shrinking = await made.send({ type: "reshape", shape: shape(2048) });
    made.ring.holdNoMore();
    made.ring.release();
    made.run();
    await made.settle();
    expect(shrinking.answer).toEqual({ type: "none" });
    expect([inside.errno, beyond.errno]).toEqual([0, EINVAL]);
    expect(new Set(made.content("d0", 3000, 8))).toEqual(new Set([0]));
    const read = made.read(2048, 8);
    made.run();
    expect(read.errno).toBe(EINVAL);
  });

  it("ends a copy that is under way, as failed: its chunks are needed still", async () => {
    const made = new EngineBench({ bits: none(64).fill(0xff) });
    made.ring.hold(isWrite);
    const copying = await made.send({ type: "copy", kind: "resync", range: range(0, 4096) });
    const reshaping = await made.send({ type: "reshape", shape: shape(4096, { chunkSectors: 128 }) });
    const another = await made.send({ type: "copy", kind: "resync", range: range(0, 4096) });
    made.ring.holdNoMore();
    made.ring.release();
    made.run();
    await made.settle();
    expect(copying.answer).toMatchObject({ failed: true });
    expect(another.answer).toMatchObject({ failed: true, sectors: 0 });
    expect(reshaping.answer).toEqual({ type: "none" });
    expect(await chunksNeeded(made)).toBe(32);
  });

  it("is refused when the bits would take other pages, or do not fit; nothing has changed then", async () => {
    const made = bench();
    for (const wrong of [shape(64 * 40_000), shape(8192, { need: none(64) }), shape(4096, { raidDisks: 1 })]) {
      expect((await made.send({ type: "reshape", shape: wrong })).error).not.toBe(null);
    }
    const write = made.write(4088, 8, 1);
    const beyond = made.write(4096, 8, 1);
    made.run();
    expect([write.errno, beyond.errno]).toEqual([0, EINVAL]);
  });

  it("fails when the new bitmap cannot be written on the last copy", async () => {
    const made = bench(1);
    made.ring.fail(on("d0", isBitmap), -EIO);
    const { error } = await made.send({ type: "reshape", shape: shape(8192, { raidDisks: 1 }) });
    expect(error).toMatchObject({ code: "E_IO" });
  });
});

describe("another number of raid_disks", () => {
  it("takes a member in at the new place, which then has every write", async () => {
    const made = bench();
    made.ring.disks.set("d2", new Uint8Array((DATA_AT + 4096) * 512));
    const joining = { ...member(2), state: "rebuilding", recoveredTo: sector(0) } as const;
    expect((await made.send({ type: "setMember", member: joining })).error).toMatchObject({ code: "E_VALUE" });
    await made.send({ type: "reshape", shape: shape(4096, { raidDisks: 3 }) });
    await made.send({ type: "setMember", member: joining });
    const write = made.write(8, 8, 3);
    made.run();
    expect(write.errno).toBe(0);
    for (const path of ["d0", "d1", "d2"]) expect(new Set(made.content(path, 8, 8))).toEqual(new Set([3]));
    await made.send({ type: "copy", kind: "recover", range: range(0, 4096) });
    await made.send({ type: "setMember", member: member(2) });
    // Whole again: the bit may go.
    await made.send({ type: "flushBitmap" });
    expect(made.bitOnDisk("d2", 0)).toBe(false);
  });

  it("clears no bit while the new place is empty", async () => {
    const made = bench();
    await made.send({ type: "reshape", shape: shape(4096, { raidDisks: 3 }) });
    made.write(0, 8, 1);
    made.run();
    await made.send({ type: "flushBitmap" });
    expect(made.bitOnDisk("d0", 0)).toBe(true);
    await made.send({ type: "reshape", shape: shape(4096) });
    await made.send({ type: "flushBitmap" });
    expect(made.bitOnDisk("d0", 0)).toBe(false);
  });

  it("goes down only when the places that go are empty, and writes to those that stay", async () => {
    const made = bench(3);
    const down = shape(4096, { raidDisks: 2 });
    expect((await made.send({ type: "reshape", shape: down })).error).toMatchObject({ code: "E_MEMBER_ACTIVE" });
    await made.send({ type: "setMember", member: { ...member(2), state: "faulty" } });
    await made.send({ type: "removeMember", place: 2 });
    expect((await made.send({ type: "reshape", shape: down })).answer).toEqual({ type: "none" });
    const write = made.write(0, 8, 9);
    const flush = made.submit(RequestOp.flush, 0, 0, 0, 0);
    made.run();
    expect([write.errno, flush.errno]).toEqual([0, 0]);
    expect(new Set(made.content("d1", 0, 8))).toEqual(new Set([9]));
  });

  it("is refused beyond what there is room for", async () => {
    const made = bench();
    const { error } = await made.send({ type: "reshape", shape: shape(4096, { raidDisks: 17 }) });
    expect(error).toMatchObject({ code: "E_VALUE", message: expect.stringContaining("16 members") });
  });
});
