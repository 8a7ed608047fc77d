import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { type EngineMember, roomFor, secondPlace } from "../../src/engine/engine-protocol.ts";
import {
  DATA_AT,
  EngineBench,
  type EngineBenchOptions,
  isRead,
  isWrite,
  member,
  on,
  range,
} from "../support/engine-bench.ts";
import { raid10Shape } from "../support/raid10.ts";

const EIO = -5;
const SIZE = 4096;

/** Raid_disk `of` has a second device, `new`, which is filled below `recoveredTo`. */
const second = (of: number, disks: number, recoveredTo = 0): EngineMember => ({
  ...member(of),
  place: secondPlace(of, roomFor(disks)),
  path: "new",
  state: "rebuilding",
  recoveredTo: sector(recoveredTo),
});

async function replacing(of: number, options: EngineBenchOptions = {}): Promise<EngineBench> {
  const { disks = 2 } = options;
  const bench = new EngineBench(options);
  bench.ring.disks.set("new", new Uint8Array((DATA_AT + SIZE) * 512));
  bench.write(0, 64, 1);
  bench.run();
  await bench.send({ type: "setMember", member: second(of, disks) });
  return bench;
}

const recover = { type: "copy", kind: "recover", range: range(0, SIZE) } as const;
const all = (bench: EngineBench, path: string, at: number, sectors: number): Set<number> =>
  new Set(bench.content(path, at, sectors));
const inSync = (place: EngineMember): EngineMember => ({ ...place, state: "in_sync", recoveredTo: sector(0) });
const faulty = (place: EngineMember): EngineMember => ({ ...place, state: "faulty" });

describe("a raid_disk with two members", () => {
  it("has every write and flush go to both, with the bits of all, and is read from the one in sync", async () => {
    const bench = await replacing(0);
    await bench.send({ type: "setMember", member: second(0, 2, 2048) });
    const write = bench.write(64, 8, 2);
    bench.run();
    const flush = bench.flush();
    const reads = [bench.read(64, 8), bench.read(0, 8), bench.read(64, 8)];
    bench.run();
    expect([write, flush, ...reads].map(({ errno }) => errno)).toEqual([0, 0, 0, 0, 0]);
    for (const path of ["d0", "d1", "new"]) {
      expect(all(bench, path, 64, 8)).toEqual(new Set([2]));
      expect(bench.bitOnDisk(path, 1)).toBe(true);
      expect(bench.ring.log.some((op) => op.path === path && op.type === "flush")).toBe(true);
    }
    // Even below what is filled: the one that it replaces has that as well.
    expect(bench.ring.log.filter(on("new", isRead))).toEqual([]);
  });

  it("has the second one filled from a copy, and the array is whole meanwhile", async () => {
    const bench = await replacing(0);
    const { answer } = await bench.send(recover);
    expect(answer).toEqual({ type: "copied", sectors: SIZE, failed: false, aimless: false });
    expect(all(bench, "new", 0, 64)).toEqual(new Set([1]));
    expect(bench.ring.log.filter(on("d1", isWrite)).length).toBe(1);
    // Bits are cleared: no raid_disk lacks its copy.
    for (let i = 0; i < 4; i++) bench.pass(5000);
    for (const path of ["d0", "d1", "new"]) expect(bench.bitOnDisk(path, 0)).toBe(false);
  });

  it("has the second one take part in a resync", async () => {
    const bench = await replacing(0, { bits: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0) });
    bench.ring.disks.get("d0")?.fill(7, DATA_AT * 512);
    await bench.send({ type: "copy", kind: "resync", range: range(0, 64) });
    for (const path of ["d1", "new"]) expect(all(bench, path, 0, 64)).toEqual(new Set([7]));
  });

  it("goes on with the second one when that is whole, and reads and copies come from it", async () => {
    const bench = await replacing(0);
    await bench.send(recover);
    await bench.send({ type: "setMember", member: inSync(second(0, 2)) });
    await bench.send({ type: "setMember", member: faulty(member(0)) });
    await bench.send({ type: "removeMember", place: 0 });
    await bench.send({ type: "setBalance", balance: "first" });
    bench.ring.log.splice(0);
    const write = bench.write(0, 8, 3);
    bench.run();
    const read = bench.read(0, 8);
    bench.run();
    expect([write.errno, read.errno]).toEqual([0, 0]);
    expect(bench.ring.log.filter(isRead).map(({ path }) => path)).toEqual(["new"]);
    expect(bench.ring.log.filter(on("d0"))).toEqual([]);
    // The first place is empty, and may be used again.
    const back = { ...member(0), state: "rebuilding" } as const;
    expect((await bench.send({ type: "setMember", member: back })).error).toBe(null);
    const { answer } = await bench.send(recover);
    expect(answer).toMatchObject({ failed: false, sectors: SIZE });
    expect(all(bench, "d0", 0, 8)).toEqual(new Set([3]));
  });

  it("may lose its old member as soon as the new one is whole, though it is the last copy; not before", async () => {
    const bench = await replacing(0);
    await bench.send({ type: "setMember", member: faulty(member(1)) });
    const early = await bench.send({ type: "setMember", member: faulty(member(0)) });
    expect(early.error).toMatchObject({ code: "E_LAST_COPY" });
    await bench.send(recover);
    await bench.send({ type: "setMember", member: inSync(second(0, 2)) });
    expect((await bench.send({ type: "setMember", member: faulty(member(0)) })).error).toBe(null);
    const last = await bench.send({ type: "setMember", member: faulty(second(0, 2)) });
    expect(last.error).toMatchObject({ code: "E_LAST_COPY" });
    const read = bench.read(0, 8);
    bench.run();
    expect(read.errno).toBe(0);
  });

  it("goes on with the second one as far as that is filled when the first fails", async () => {
    const bench = await replacing(0, { disks: 2 });
    await bench.send({ type: "setMember", member: second(0, 2, 64) });
    await bench.send({ type: "copy", kind: "recover", range: range(0, 64) });
    bench.ring.fail(on("d0", isWrite), EIO);
    const write = bench.write(8, 8, 5);
    bench.run();
    expect(write.errno).toBe(null);
    expect(bench.failures()).toEqual([expect.objectContaining({ place: 0, during: "write" })]);
    await bench.send({ type: "settleFailure", place: 0, outcome: "faulty" });
    expect(write.errno).toBe(0);
    expect(all(bench, "new", 8, 8)).toEqual(new Set([5]));
    bench.ring.log.splice(0);
    for (let i = 0; i < 8; i++) bench.read(8, 8);
    for (let i = 0; i < 8; i++) bench.read(1024, 8);
    bench.ring.hold(isRead);
    bench.run();
    const fromNew = bench.ring.log.filter(on("new", isRead));
    expect(fromNew.length).toBeGreaterThan(0);
    expect(fromNew.every((op) => op.type === "read" && op.at === DATA_AT + 8)).toBe(true);
  });

  it("loses only the second one when that fails, and its writes wait until all nodes know", async () => {
    const bench = await replacing(1);
    bench.ring.fail(on("new", isWrite), EIO);
    const write = bench.write(8, 8, 5);
    bench.run();
    const place = secondPlace(1, roomFor(2));
    expect(write.errno).toBe(null);
    expect(bench.failures()).toEqual([expect.objectContaining({ place, during: "write" })]);
    await bench.send({ type: "settleFailure", place, outcome: "faulty" });
    await bench.send({ type: "removeMember", place });
    expect(write.errno).toBe(0);
    for (const path of ["d0", "d1"]) expect(all(bench, path, 8, 8)).toEqual(new Set([5]));
  });

  it("fails a flush that the second one did not take, as one of any member", async () => {
    const bench = await replacing(1);
    bench.ring.fail((op) => op.path === "new" && op.type === "flush", EIO);
    const flush = bench.flush();
    bench.run();
    expect(flush.errno).toBe(null);
    expect(bench.failures()).toEqual([expect.objectContaining({ place: secondPlace(1, roomFor(2)), during: "flush" })]);
  });

  it("keeps a number of raid_disks from shrinking past it", async () => {
    const bench = await replacing(1);
    await bench.send({ type: "setMember", member: faulty(member(1)) });
    await bench.send({ type: "removeMember", place: 1 });
    const shape = { syncSize: sector(SIZE), raidDisks: 1, chunkSectors: 64, need: new Uint8Array(8) };
    expect((await bench.send({ type: "reshape", shape })).error).toMatchObject({ code: "E_MEMBER_ACTIVE" });
  });

  it("is refused in a place that is none", async () => {
    const bench = await replacing(0);
    for (const place of [2, 15, 18, 32, -1]) {
      const { error } = await bench.send({ type: "setMember", member: { ...second(0, 2), place } });
      expect(error, `place ${place}`).toMatchObject({ code: "E_VALUE" });
    }
  });
});

describe("a raid_disk of a RAID10 with two members", () => {
  it("has the second one filled with what is its share, and no more is read or written", async () => {
    const CHUNK = 16;
    const shape = raid10Shape("n2", 4, CHUNK, 64);
    const bench = await replacing(2, { disks: 4, shape, bits: new Uint8Array(4) });
    const fill = bench.write(0, 20 * CHUNK, 4);
    bench.run();
    bench.ring.disks.get("new")?.fill(0, DATA_AT * 512);
    bench.ring.log.splice(0);
    const { answer } = await bench.send({ type: "copy", kind: "recover", range: range(0, shape.size) });
    expect([fill.errno, answer?.failed, answer?.sectors]).toEqual([0, false, shape.size / 2]);
    expect(new Set(bench.ring.log.filter((op) => op.type !== "flush").map(({ path }) => path))).toEqual(
      new Set(["d2", "new"]),
    );
    expect(bench.content("new", 0, shape.memberSize)).toEqual(bench.content("d2", 0, shape.memberSize));
    expect(all(bench, "new", 0, 10 * CHUNK)).toEqual(new Set([4]));
  });
});
