import { describe, expect, it } from "vitest";
import { type Sector, sector } from "../../src/base/units.ts";
import { DATA_AT, EngineBench, isRead, isWrite, member, on, range } from "../support/engine-bench.ts";

const EIO = -5;
const CHUNK = 64;

/** Three chunks need a resync, and the mirrors differ in every sector: d0 has 10, d1 has 11 and so on. */
function differing(disks = 2, options: ConstructorParameters<typeof EngineBench>[0] = {}): EngineBench {
  const bench = new EngineBench({ disks, bits: Uint8Array.of(0b10110, 0, 0, 0, 0, 0, 0, 0), ...options });
  for (let disk = 0; disk < disks; disk++) {
    bench.ring.disks.get(`d${disk}`)?.fill(10 + disk, DATA_AT * 512);
  }
  return bench;
}

const bytes = (bench: EngineBench, path: string, chunk: number): Set<number> =>
  new Set(bench.content(path, chunk * CHUNK, CHUNK));

const needed = (bench: EngineBench): number => bench.shared.read("neededChunks");
const resync = (lo: number, hi: number) => ({ type: "copy", kind: "resync", range: range(lo, hi) }) as const;
const scan = async (bench: EngineBench, from: number): Promise<unknown> =>
  (await bench.send({ type: "scan", kind: "resync", from: sector(from) })).answer?.range;

describe("a resync copy", () => {
  it("copies the chunks that need it from the first member to the others, and no other chunk", async () => {
    const bench = differing(3);
    const { answer } = await bench.send(resync(0, 4096));
    expect(answer).toEqual({ type: "copied", sectors: 3 * CHUNK, failed: false, aimless: false });
    for (const chunk of [1, 2, 4]) {
      for (const path of ["d0", "d1", "d2"]) expect(bytes(bench, path, chunk)).toEqual(new Set([10]));
    }
    for (const chunk of [0, 3, 5]) expect(bytes(bench, "d1", chunk)).toEqual(new Set([11]));
    expect(needed(bench)).toBe(0);
    expect(bench.shared.read("copiedSectors")).toBe(3 * CHUNK);
  });

  it("clears the bits later, after the members were flushed", async () => {
    const bench = differing();
    await bench.send(resync(0, 4096));
    expect(bench.bitOnDisk("d0", 1)).toBe(true);
    for (let i = 0; i < 3; i++) bench.pass(5000);
    for (const path of ["d0", "d1"]) expect(bench.bitOnDisk(path, 1)).toBe(false);
  });

  it("finds its work by scanning", async () => {
    const bench = differing();
    expect(await scan(bench, 0)).toEqual({ lo: 64, hi: 192 });
    expect(await scan(bench, 128)).toEqual({ lo: 128, hi: 192 });
    expect(await scan(bench, 192)).toEqual({ lo: 256, hi: 320 });
    expect(await scan(bench, 320)).toBe(null);
  });

  it("has a chunk in sync when ranges that join have copied all of it", async () => {
    const bench = differing();
    await bench.send(resync(64, 100));
    expect(needed(bench)).toBe(3);
    expect(await scan(bench, 100)).toEqual({ lo: 100, hi: 192 });
    await bench.send(resync(100, 192));
    expect(needed(bench)).toBe(1);
    expect(bytes(bench, "d1", 1)).toEqual(new Set([10]));
  });

  it("does not have it in sync when its first part was copied in an earlier pass", async () => {
    const bench = differing();
    await bench.send(resync(64, 100));
    await bench.send(resync(256, 320));
    await bench.send(resync(100, 192));
    const { answer } = await bench.send({ type: "queryBitmap" });
    expect(answer?.needed).toBe(1);
    // Nor does a scan from within offer the rest of it.
    expect(await scan(bench, 100)).toBe(null);
    expect(await scan(bench, 0)).toEqual({ lo: 64, hi: 128 });
  });

  it("and a write exclude each other, in both directions", async () => {
    const bench = differing();
    bench.ring.hold((op) => isRead(op) && op.at === DATA_AT + 64);
    const copy = await bench.send(resync(64, 128));
    const write = bench.write(70, 8, 99);
    bench.run();
    expect(bench.ring.log.filter((op) => isWrite(op) && op.at === DATA_AT + 70)).toEqual([]);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(copy.answer?.failed).toBe(false);
    expect(write.errno).toBe(0);
    for (const path of ["d0", "d1"]) expect(new Set(bench.content(path, 70, 8))).toEqual(new Set([99]));

    bench.ring.hold((op) => isWrite(op) && op.at === DATA_AT + 256);
    const second = bench.write(256, 8, 98);
    bench.run();
    const from = bench.ring.log.length;
    const later = await bench.send(resync(256, 320));
    expect(bench.ring.log.slice(from)).toEqual([]);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(second.errno).toBe(0);
    expect(later.answer?.failed).toBe(false);
    for (const path of ["d0", "d1"]) expect(new Set(bench.content(path, 256, 8))).toEqual(new Set([98]));
  });

  it("takes from another member only what the source cannot read, and heals it there", async () => {
    const bench = differing();
    bench.ring.fail((op) => on("d0", isRead)(op) && op.at <= DATA_AT + 80 && op.at + op.sectors > DATA_AT + 80, EIO);
    const { answer } = await bench.send(resync(64, 128));
    expect(answer).toEqual({ type: "copied", sectors: CHUNK, failed: false, aimless: false });
    for (const path of ["d0", "d1"]) {
      expect(new Set(bench.content(path, 80, 8))).toEqual(new Set([11]));
      expect(new Set(bench.content(path, 64, 16))).toEqual(new Set([10]));
      expect(new Set(bench.content(path, 88, 40))).toEqual(new Set([10]));
    }
    expect(bench.notices).toContainEqual(expect.objectContaining({ type: "readError", place: 0, at: 80 }));
    expect(bench.failures()).toEqual([]);
  });

  it("of what no member can read fails, copies the rest, and leaves the bit", async () => {
    const bench = differing();
    bench.ring.fail((op) => isRead(op) && op.at <= DATA_AT + 80 && op.at + op.sectors > DATA_AT + 80, EIO);
    const { answer } = await bench.send(resync(64, 192));
    expect(answer).toEqual({ type: "copied", sectors: 2 * CHUNK - 8, failed: true, aimless: false });
    expect(bytes(bench, "d1", 2)).toEqual(new Set([10]));
    expect(needed(bench)).toBe(2);
    for (let i = 0; i < 4; i++) bench.pass(5000);
    expect(bench.bitOnDisk("d0", 1)).toBe(true);
    expect(bench.failures()).toEqual([]);
  });

  it("goes on behind what no member can read, in the middle of its chunk, and leaves only its bit", async () => {
    const bench = differing();
    const before = needed(bench);
    bench.ring.fail((op) => isRead(op) && op.at <= DATA_AT + 80 && op.at + op.sectors > DATA_AT + 80, EIO);
    expect((await bench.send(resync(64, 96))).answer?.failed).toBe(true);
    const { answer } = await bench.send(resync(96, 192));
    expect(answer).toEqual({ type: "copied", sectors: 96, failed: false, aimless: false });
    expect(new Set(bench.content("d1", 96, 96))).toEqual(new Set([10]));
    expect(needed(bench)).toBe(before - 1);
    for (let i = 0; i < 4; i++) bench.pass(5000);
    expect([bench.bitOnDisk("d0", 1), bench.bitOnDisk("d0", 2)]).toEqual([true, false]);
  });

  it("ends with the failure of a target; its chunks still need it", async () => {
    const bench = differing(3);
    bench.ring.fail((op) => on("d2", isWrite)(op) && op.at >= DATA_AT + 128, EIO);
    const { answer } = await bench.send(resync(0, 4096));
    expect(answer?.failed).toBe(true);
    expect(bench.failures()).toEqual([expect.objectContaining({ place: 2, during: "copy", errno: 5 })]);
    expect(needed(bench)).toBeGreaterThan(0);
    await bench.send({ type: "settleFailure", place: 2, outcome: "faulty" });
    await bench.send(resync(0, 4096));
    expect(needed(bench)).toBe(0);
    expect(bytes(bench, "d1", 4)).toEqual(new Set([10]));
    // Degraded: what the faulty one lacks stays recorded.
    for (let i = 0; i < 4; i++) bench.pass(5000);
    expect(bench.bitOnDisk("d0", 2)).toBe(true);
  });

  it("asks again for what was short", async () => {
    const bench = differing();
    bench.ring.fail((op) => isRead(op) || isWrite(op), 512, 4);
    const { answer } = await bench.send(resync(64, 128));
    expect(answer).toEqual({ type: "copied", sectors: CHUNK, failed: false, aimless: false });
    expect(bytes(bench, "d1", 1)).toEqual(new Set([10]));
  });

  it("writes nothing without the lease, and goes on when it is back", async () => {
    const bench = differing();
    bench.shared.setLease(bench.now);
    const from = bench.ring.log.length;
    const copy = await bench.send(resync(64, 128));
    expect(bench.ring.log.slice(from).filter(isWrite)).toEqual([]);
    expect(copy.answer).toBe(null);
    bench.shared.setLease(bench.now + 1);
    bench.run();
    await bench.settle();
    expect(copy.answer?.failed).toBe(false);
  });

  it("stands still while quiesced", async () => {
    const bench = differing();
    await bench.send({ type: "quiesce" });
    const from = bench.ring.log.length;
    const copy = await bench.send(resync(64, 128));
    expect(bench.ring.log.slice(from)).toEqual([]);
    await bench.send({ type: "unquiesce" });
    expect(copy.answer?.failed).toBe(false);
  });

  it("of a single copy has nothing to do: it agrees with itself", async () => {
    const bench = differing();
    await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    const { answer } = await bench.send(resync(0, 4096));
    expect(answer).toEqual({ type: "copied", sectors: 0, failed: false, aimless: false });
    expect(needed(bench)).toBe(0);
    expect(bench.bitOnDisk("d0", 1)).toBe(true);
  });

  it("keeps a chunk that a failed write made doubtful meanwhile", async () => {
    const bench = differing();
    bench.ring.hold((op) => isRead(op) && op.at === DATA_AT + 64);
    const copy = await bench.send(resync(64, 128));
    await bench.send({ type: "mergeBits", bits: Uint8Array.of(0b10, 0, 0, 0, 0, 0, 0, 0) });
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(copy.answer?.failed).toBe(false);
    expect(needed(bench)).toBe(3);
  });
});

describe("a recovery copy", () => {
  const rebuilding = { state: "rebuilding", recoveredTo: sector(0) } as const;

  it("fills members that are being rebuilt, whatever the bits say, and nobody else", async () => {
    const bench = differing(3, { members: [{}, {}, rebuilding] });
    const scanned = await bench.send({ type: "scan", kind: "recover", from: sector(0) });
    expect(scanned.answer?.range).toEqual({ lo: 0, hi: 4096 });
    const { answer } = await bench.send({ type: "copy", kind: "recover", range: range(0, 4096) });
    expect(answer).toEqual({ type: "copied", sectors: 4096, failed: false, aimless: false });
    expect(new Set(bench.content("d2", 0, 4096))).toEqual(new Set([10]));
    expect(new Set(bench.content("d1", 0, 4096))).toEqual(new Set([11]));
    expect(needed(bench)).toBe(3);
  });

  it("has made durable what it copied when it is answered", async () => {
    const bench = differing(3, { members: [{}, {}, rebuilding] });
    bench.ring.hold(({ type }) => type === "flush");
    const from = bench.ring.log.length;
    const copy = await bench.send({ type: "copy", kind: "recover", range: range(0, 4096) });
    expect(copy.answer).toBe(null);
    const log = bench.ring.log.slice(from);
    expect(log.filter(({ type }) => type === "flush").map(({ path }) => path)).toEqual(["d2"]);
    expect(log.at(-1)?.type).toBe("flush");
    bench.ring.fail(({ type }) => type === "flush", -11, 1);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(copy.answer).toEqual({ type: "copied", sectors: 4096, failed: false, aimless: false });
    expect(bench.failures()).toEqual([]);
  });

  it.each([EIO, -11])("fails with the member that cannot make it durable (%i)", async (result) => {
    const bench = differing(3, { members: [{}, {}, rebuilding] });
    bench.ring.fail(({ type }) => type === "flush", result);
    const { answer } = await bench.send({ type: "copy", kind: "recover", range: range(0, 4096) });
    expect(answer).toEqual({ type: "copied", sectors: 4096, failed: true, aimless: false });
    expect(bench.failures()).toEqual([expect.objectContaining({ place: 2, during: "flush", errno: -result })]);
  });

  it("is not answered before the flush has ended, though it is given up", async () => {
    const bench = differing(3, { members: [{}, {}, rebuilding] });
    bench.ring.hold(({ type }) => type === "flush");
    const copy = await bench.send({ type: "copy", kind: "recover", range: range(0, 4096) });
    const stop = await bench.send({ type: "stop" });
    expect([copy.answer, stop.answer]).toEqual([null, null]);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(copy.answer?.failed).toBe(true);
    expect(stop.answer).toEqual({ type: "none" });
  });

  it("goes on from where members are good already", async () => {
    const bench = differing(3, { members: [{}, {}, { state: "rebuilding", recoveredTo: sector(1000) }] });
    const scan = async (from: number): Promise<{ lo: Sector; hi: Sector } | null | undefined> =>
      (await bench.send({ type: "scan", kind: "recover", from: sector(from) })).answer?.range;
    expect(await scan(0)).toEqual({ lo: 1000, hi: 4096 });
    expect(await scan(2000)).toEqual({ lo: 2000, hi: 4096 });
    await bench.send({ type: "setMember", member: member(2) });
    expect(await scan(0)).toBe(null);
  });

  it("gives way to front ends: small units, few of them", async () => {
    const bench = differing(3, { members: [{}, {}, rebuilding] });
    bench.write(3000, 8, 1);
    bench.run();
    bench.ring.hold(on("d2", isWrite));
    bench.write(3000, 8, 2);
    bench.run();
    await bench.send({ type: "copy", kind: "recover", range: range(0, 4096) });
    const copies = bench.ring.held.filter((op) => op.at !== DATA_AT + 3000);
    expect(copies.length).toBeGreaterThan(0);
    expect(copies.length).toBeLessThanOrEqual(2);
    bench.ring.release();
    bench.run();
    expect(new Set(bench.content("d2", 0, 3000))).toEqual(new Set([10]));
    expect(new Set(bench.content("d2", 3000, 8))).toEqual(new Set([2]));
  });
});
