import { describe, expect, it } from "vitest";
import { roomFor, secondPlace } from "../../src/engine/engine-protocol.ts";
import { DATA_AT, EngineBench, isRead, isWrite, member, on, range } from "../support/engine-bench.ts";
import type { FakeOp } from "../support/fake-ring.ts";

const EIO = -5;
const BAD = 20;

const rewrite = (lo: number, hi: number, place = 1) => ({ type: "rewrite", place, range: range(lo, hi) }) as const;
const covers =
  (at: number) =>
  (op: FakeOp): boolean =>
    op.at <= DATA_AT + at && op.at + op.sectors > DATA_AT + at;
const inBlock = (op: FakeOp): boolean => op.at < DATA_AT + 24 && op.at + op.sectors > DATA_AT + 16;

/** Equal mirrors; of d1 the block at `bad` cannot be read until it is written, or `forGood`. */
function spoiled(disks = 2, options: ConstructorParameters<typeof EngineBench>[0] = {}, forGood = false): EngineBench {
  const bench = new EngineBench({ disks, ...options });
  for (let disk = 0; disk < disks; disk++) bench.ring.disks.get(`d${disk}`)?.fill(7, DATA_AT * 512);
  let isHealed = false;
  bench.ring.disks.get("d1")?.fill(99, (DATA_AT + 16) * 512, (DATA_AT + 24) * 512);
  bench.ring.fail((op) => {
    if (on("d1", isWrite)(op) && covers(BAD)(op)) isHealed = !forGood;
    return !isHealed && on("d1", isRead)(op) && inBlock(op);
  }, EIO);
  return bench;
}

const writesTo = (bench: EngineBench, path: string): string[] =>
  bench.ring.log.filter(on(path, isWrite)).map(({ at, sectors }) => `${at - DATA_AT}+${sectors}`);

describe("what a member could not read", () => {
  it("is told with its range, and comes from another copy", async () => {
    const bench = spoiled();
    // The other member is busy.
    bench.ring.hold(on("d0", isRead));
    bench.read(100, 8);
    bench.run();
    const wanted = bench.read(16, 8);
    bench.run();
    bench.ring.release();
    bench.run();
    expect(wanted.errno).toBe(0);
    expect(new Set(bench.ring.arena.subarray(wanted.buffer, wanted.buffer + 8 * 512))).toEqual(new Set([7]));
    const error = { type: "readError", place: 1, errno: 5, at: 16, sectors: 8, during: "read" };
    expect(bench.notices).toContainEqual(error);
  });

  it("is written to it from another copy, block by block, and read again; nothing else is written", async () => {
    const bench = spoiled(3);
    const { answer } = await bench.send(rewrite(0, 256));
    expect(answer).toEqual({ type: "rewritten", sectors: 8, lost: 0, givenUp: false });
    expect(new Set(bench.content("d1", 16, 8))).toEqual(new Set([7]));
    expect(writesTo(bench, "d1")).toEqual(["16+8"]);
    expect([...writesTo(bench, "d0"), ...writesTo(bench, "d2")]).toEqual([]);
    const after = bench.ring.log.slice(bench.ring.log.findIndex(on("d1", isWrite)));
    expect(after.filter(on("d1", isRead))[0]).toMatchObject({ at: DATA_AT + 16, sectors: 8 });
    expect(bench.shared.read("correctedSectors")).toBe(8);
    expect(bench.failures()).toEqual([]);
  });

  it("keeps what the member can read of its block, sector by sector, where copies differ", async () => {
    const bench = new EngineBench({ disks: 2 });
    for (const [path, fill] of [
      ["d0", 7],
      ["d1", 99],
    ] as const) {
      bench.ring.disks.get(path)?.fill(fill, DATA_AT * 512);
    }
    const lacking = new Set([17, 20, 21]);
    bench.ring.fail((op) => {
      const sectors = Array.from({ length: op.sectors }, (_, i) => op.at - DATA_AT + i);
      if (on("d1", isWrite)(op)) for (const at of sectors) lacking.delete(at);
      return on("d1", isRead)(op) && sectors.some((at) => lacking.has(at));
    }, EIO);
    const { answer } = await bench.send(rewrite(0, 64));
    expect(answer).toEqual({ type: "rewritten", sectors: 8, lost: 0, givenUp: false });
    // Whole blocks of 4 KiB, as a disk may be able to write no less.
    expect(writesTo(bench, "d1")).toEqual(["16+8"]);
    const fills = Array.from({ length: 8 }, (_, i) => bench.content("d1", 16 + i, 1)[0]);
    expect(fills).toEqual([99, 7, 99, 99, 7, 7, 99, 99]);
    expect(new Set(bench.content("d0", 16, 8))).toEqual(new Set([7]));
  });

  it("is left as it is where one of its sectors is on no copy", async () => {
    const bench = new EngineBench({ disks: 3 });
    bench.ring.fail((op) => isRead(op) && covers(BAD)(op), EIO);
    bench.ring.fail((op) => on("d1", isRead)(op) && covers(BAD - 2)(op), EIO);
    expect((await bench.send(rewrite(16, 24))).answer).toMatchObject({ sectors: 0, lost: 8 });
    expect(writesTo(bench, "d1")).toEqual([]);
    expect(bench.failures()).toEqual([]);
  });

  it("takes sectors of one block from different copies, where no copy has them all", async () => {
    const bench = new EngineBench({ disks: 3 });
    for (let disk = 0; disk < 3; disk++) bench.ring.disks.get(`d${disk}`)?.fill(7 + disk, DATA_AT * 512);
    const isHealed = () => bench.ring.log.some(on("d1", isWrite));
    bench.ring.fail((op) => on("d1", isRead)(op) && !isHealed() && (covers(17)(op) || covers(BAD)(op)), EIO);
    bench.ring.fail((op) => on("d0", isRead)(op) && covers(17)(op), EIO);
    bench.ring.fail((op) => on("d2", isRead)(op) && covers(BAD)(op), EIO);
    expect((await bench.send(rewrite(16, 24))).answer).toMatchObject({ sectors: 8, lost: 0 });
    const fills = Array.from({ length: 8 }, (_, i) => bench.content("d1", 16 + i, 1)[0]);
    expect(fills).toEqual([8, 9, 8, 8, 7, 8, 8, 8]);
  });

  it("is written only once its bit is durable, and the bit goes away later", async () => {
    const bench = spoiled();
    bench.ring.hold((op) => op.type === "write" && op.at < DATA_AT);
    const sent = await bench.send(rewrite(16, 24));
    expect(writesTo(bench, "d1")).toEqual([]);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(sent.answer?.sectors).toBe(8);
    expect(bench.bitOnDisk("d0", 0)).toBe(true);
    for (let i = 0; i < 4; i++) bench.pass(5000);
    expect(bench.bitOnDisk("d0", 0)).toBe(false);
  });

  it("and a write exclude each other, in both directions", async () => {
    const bench = spoiled();
    bench.ring.hold(on("d0", isRead));
    const sent = await bench.send(rewrite(16, 24));
    const write = bench.write(18, 2, 55);
    bench.run();
    expect(writesTo(bench, "d0")).toEqual([]);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(sent.answer?.sectors).toBe(8);
    expect(write.errno).toBe(0);
    for (const path of ["d0", "d1"]) expect(new Set(bench.content(path, 18, 2))).toEqual(new Set([55]));

    const other = spoiled();
    other.ring.hold(on("d0", isWrite));
    const first = other.write(18, 2, 55);
    other.run();
    const from = other.ring.log.length;
    const later = await other.send(rewrite(16, 24));
    expect(other.ring.log.slice(from)).toEqual([]);
    other.ring.release();
    other.run();
    await other.settle();
    expect(first.errno).toBe(0);
    expect(later.answer).toMatchObject({ lost: 0, givenUp: false });
    expect([...other.content("d1", 18, 1), ...other.content("d0", 18, 1)].every((byte) => byte === 55)).toBe(true);
  });

  it("is not written without a lease", async () => {
    const bench = spoiled();
    bench.shared.setLease(0);
    const sent = await bench.send(rewrite(16, 24));
    expect(writesTo(bench, "d1")).toEqual([]);
    bench.shared.setLease(Number.POSITIVE_INFINITY);
    bench.pass(10);
    await bench.settle();
    expect(sent.answer?.sectors).toBe(8);
  });

  it("is not written in a range that another node resyncs, and does not hold up its suspension", async () => {
    const bench = spoiled();
    bench.ring.hold(on("d0", isRead));
    const sent = await bench.send(rewrite(16, 24));
    const suspend = await bench.send({ type: "suspend", slot: 3 as never, range: range(0, 64) });
    expect(suspend.answer).toEqual({ type: "none" });
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(sent.answer).toMatchObject({ sectors: 0, givenUp: true });
    expect(writesTo(bench, "d1")).toEqual([]);
    // Whose write is in flight has to be waited for.
    const other = spoiled();
    other.ring.hold(on("d1", isWrite));
    await other.send(rewrite(16, 24));
    const waiting = await other.send({ type: "suspend", slot: 3 as never, range: range(0, 64) });
    expect(waiting.answer).toBeNull();
    other.ring.release();
    other.run();
    await other.settle();
    expect(waiting.answer).toEqual({ type: "none" });
  });

  it("takes the member out if it cannot be read even then", async () => {
    const bench = spoiled(2, {}, true);
    const { answer } = await bench.send(rewrite(0, 64));
    expect(answer).toMatchObject({ sectors: 0, lost: 8, givenUp: true });
    expect(bench.failures()).toMatchObject([{ place: 1, during: "rewrite" }]);
  });

  it("takes the member out if it does not take it", async () => {
    const bench = spoiled();
    bench.ring.fail(on("d1", isWrite), EIO);
    await bench.send(rewrite(0, 64));
    expect(bench.failures()).toMatchObject([{ place: 1, during: "rewrite", errno: 5 }]);
  });

  it("stays as it is if no other copy has it, and takes nobody out", async () => {
    const bench = spoiled();
    bench.ring.fail((op) => on("d0", isRead)(op) && covers(BAD)(op), EIO);
    const { answer } = await bench.send(rewrite(0, 64));
    expect(answer).toEqual({ type: "rewritten", sectors: 0, lost: 8, givenUp: false });
    expect(bench.failures()).toEqual([]);
    expect(writesTo(bench, "d1")).toEqual([]);
    expect(bench.notices).toContainEqual(expect.objectContaining({ type: "readError", place: 0, during: "rewrite" }));
  });

  it("comes from the next copy if the first cannot give it either", async () => {
    const bench = spoiled(3);
    bench.ring.fail((op) => on("d0", isRead)(op) && covers(BAD)(op), EIO);
    expect((await bench.send(rewrite(0, 64))).answer).toMatchObject({ sectors: 8, lost: 0 });
    expect(new Set(bench.content("d1", 16, 8))).toEqual(new Set([7]));
  });

  it("does not come from a member that is being rebuilt", async () => {
    const members = [{ state: "rebuilding" } as const, {}, { state: "faulty" } as const];
    const bench = spoiled(3, { members });
    expect((await bench.send(rewrite(0, 64))).answer).toMatchObject({ sectors: 0, lost: 8 });
    expect(bench.failures()).toEqual([]);
  });

  it.each([
    ["the next copy", 3, { sectors: 8, lost: 0 }],
    ["nowhere", 2, { sectors: 0, lost: 8 }],
  ] as const)("comes from %s if the first is removed before it is read", async (_, disks, outcome) => {
    const bench = spoiled(disks);
    bench.ring.hold((op) => on("d1", isRead)(op) && op.sectors <= 8 && covers(BAD)(op));
    const sent = await bench.send(rewrite(0, 64));
    expect(bench.ring.held.length).toBe(1);
    await bench.send({ type: "quiesce" });
    bench.ring.release();
    bench.run();
    await bench.send({ type: "setMember", member: { ...member(0), state: "faulty" } });
    expect((await bench.send({ type: "removeMember", place: 0 })).answer).toEqual({ type: "none" });
    await bench.send({ type: "unquiesce" });
    await bench.settle();
    expect(sent.answer).toMatchObject({ ...outcome, givenUp: false });
    expect(bench.failures()).toEqual([]);
  });

  it("comes from the other member of its raid_disk, where one replaces another", async () => {
    const bench = spoiled();
    bench.ring.disks.set("d2", new Uint8Array((DATA_AT + 4096) * 512).fill(7));
    await bench.send({ type: "setMember", member: { ...member(2), place: secondPlace(1, roomFor(2)) } });
    await bench.send({ type: "setMember", member: { ...member(0), state: "faulty" } });
    expect((await bench.send(rewrite(0, 64))).answer).toMatchObject({ sectors: 8, lost: 0 });
    expect(new Set(bench.content("d1", 16, 8))).toEqual(new Set([7]));
  });

  it("is given up when the array stops, and the stop waits for what is in flight", async () => {
    const bench = spoiled();
    bench.ring.hold(on("d0", isRead));
    const sent = await bench.send(rewrite(0, 64));
    const stop = await bench.send({ type: "stop" });
    expect(stop.answer).toBeNull();
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(sent.answer).toMatchObject({ givenUp: true });
    expect(stop.answer).toEqual({ type: "none" });
    expect(writesTo(bench, "d1")).toEqual([]);
  });

  it("is refused for what is no range or place, two at a time, and of an array that is read-only", async () => {
    const bench = spoiled();
    expect((await bench.send(rewrite(8, 5000))).error?.message).toMatch(/not a range/);
    expect((await bench.send(rewrite(0, 8, 77))).error?.message).toMatch(/no raid_disk/);
    bench.ring.hold(isRead);
    await bench.send(rewrite(0, 8));
    expect((await bench.send(rewrite(64, 72))).error?.message).toMatch(/another range/);
    const readOnly = spoiled(2, { readOnly: true });
    expect((await readOnly.send(rewrite(0, 8))).error?.message).toMatch(/read-only/);
  });
});
