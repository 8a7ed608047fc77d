import { describe, expect, it } from "vitest";
import { RequestOp } from "../../src/blockdev/front-end.ts";
import type { EngineMember, EngineNotice } from "../../src/engine/engine-protocol.ts";
import { DATA_AT, EngineBench, type EngineBenchOptions, isRead, isWrite, on, range } from "../support/engine-bench.ts";
import type { FakeOp } from "../support/fake-ring.ts";

const EIO = 5;
const LOG = { unit: 1, room: 512, longest: 512, takesWriteErrors: true };

const covers =
  (at: number) =>
  (op: FakeOp): boolean =>
    op.at <= DATA_AT + at && op.at + op.sectors > DATA_AT + at;
const both =
  (a: (op: FakeOp) => boolean, b: (op: FakeOp) => boolean) =>
  (op: FakeOp): boolean =>
    a(op) && b(op);

/** Of each disk the ranges that are bad; its data is its number + 1. */
function benchWith(
  bad: readonly (readonly (readonly [lo: number, hi: number])[])[],
  options: EngineBenchOptions = {},
  log: Partial<typeof LOG> = {},
): EngineBench {
  const members = bad.map((ranges, i): Partial<EngineMember> => {
    const badBlocks = { ...LOG, ...log, ranges: ranges.map(([lo, hi]) => range(lo, hi)) };
    return { ...options.members?.[i], badBlocks };
  });
  const bench = new EngineBench({ disks: bad.length, ...options, members });
  for (let disk = 0; disk < bad.length; disk++) bench.ring.disks.get(`d${disk}`)?.fill(disk + 1, DATA_AT * 512);
  return bench;
}

type BadBlocks = Extract<EngineNotice, { type: "badBlocks" }>;
const told = (bench: EngineBench): readonly BadBlocks[] =>
  bench.notices.filter((notice) => notice.type === "badBlocks");
const lastTold = (bench: EngineBench): BadBlocks => {
  const last = told(bench).at(-1);
  if (last === undefined) throw new Error("nothing was told");
  return last;
};

/** The control plane has written the logs. */
const written = (bench: EngineBench, durable = true) =>
  bench.send({ type: "badBlocksWritten", version: lastTold(bench).version, durable });

const firstByte = (bench: EngineBench, { buffer }: { buffer: number }, sectorAt = 0): number | undefined =>
  bench.ring.arena[buffer + sectorAt * 512];

describe("what is recorded as bad", () => {
  it("is read from another copy, and the rest of the request from wherever it lies", () => {
    const bench = benchWith([[[16, 24]], []]);
    const read = bench.read(0, 64);
    bench.run();
    expect(read.errno).toBe(0);
    expect(bench.ring.log.filter(both(on("d0", isRead), covers(16)))).toEqual([]);
    for (let at = 16; at < 24; at++) expect(firstByte(bench, read, at)).toBe(2);
  });

  it("is EIO where no copy has it, and only there", () => {
    const bench = benchWith([[[16, 24]], [[20, 32]]]);
    const [before, lost, behind, across] = [bench.read(0, 20), bench.read(20, 4), bench.read(24, 8), bench.read(0, 64)];
    bench.run();
    expect([before.errno, lost.errno, behind.errno, across.errno]).toEqual([0, EIO, 0, EIO]);
    expect(bench.failures()).toEqual([]);
  });

  it("is good again once it has been written; that is answered when the log says so", async () => {
    const bench = benchWith([[[16, 24]], []]);
    const write = bench.write(16, 4, 55);
    bench.run();
    expect(write.errno).toBeNull();
    expect(lastTold(bench).members).toEqual([{ place: 0, ranges: [range(20, 24)] }]);
    await written(bench);
    expect(write.errno).toBe(0);
    expect(new Set(bench.content("d0", 16, 4))).toEqual(new Set([55]));
    const from = bench.ring.log.length;
    for (let i = 0; i < 4; i++) {
      bench.read(16, 4);
      bench.read(200 + 8 * i, 8);
    }
    bench.run();
    expect(bench.ring.log.slice(from).some(both(on("d0", isRead), covers(16)))).toBe(true);
  });

  it("is good again after zeroes only because they were written", async () => {
    const bench = benchWith([[[16, 24]], []]);
    const zero = bench.submit(RequestOp.discard, 0, 64, 0, 0);
    bench.run();
    await written(bench);
    expect(zero.errno).toBe(0);
    expect(bench.ring.log.filter(both(on("d0"), covers(16))).map(({ type }) => type)).toEqual(["write"]);
    expect(new Set(bench.content("d0", 16, 8))).toEqual(new Set([0]));
  });

  it("stays whole units of the log", async () => {
    const bench = benchWith([[], []], {}, { unit: 8 });
    bench.ring.fail(both(on("d1", isWrite), covers(19)), -EIO);
    bench.write(17, 6, 9);
    bench.run();
    expect(lastTold(bench).members).toEqual([{ place: 1, ranges: [range(16, 24)] }]);
    await written(bench);
    bench.ring.heal();
    const again = benchWith([[], [[16, 24]]], {}, { unit: 8 });
    const part = again.write(17, 6, 9);
    again.run();
    expect(part.errno).toBe(0);
    expect(told(again)).toEqual([]);
  });
});

describe("a write error of a member with a bad-block log", () => {
  function failing(options: EngineBenchOptions = {}, log: Partial<typeof LOG> = {}): EngineBench {
    const bench = benchWith([[], []], options, log);
    bench.ring.fail(both(on("d1", isWrite), covers(20)), -EIO);
    return bench;
  }

  it("records the block, not the member; it is answered when that is durable", async () => {
    const bench = failing();
    const write = bench.write(0, 64, 77);
    bench.run();
    expect(bench.failures()).toEqual([]);
    expect(lastTold(bench).members).toEqual([{ place: 1, ranges: [range(20, 21)] }]);
    expect(write.errno).toBeNull();
    await written(bench);
    expect(write.errno).toBe(0);
    // All of it but the block is on the member.
    expect(new Set(bench.content("d1", 0, 20))).toEqual(new Set([77]));
    expect(new Set(bench.content("d1", 21, 43))).toEqual(new Set([77]));
    const read = bench.read(16, 8);
    bench.run();
    for (let at = 0; at < 8; at++) expect(firstByte(bench, read, at)).toBe(77);
  });

  it("clears no bit before that is durable", async () => {
    const bench = failing();
    bench.write(16, 8, 77);
    bench.run();
    for (let i = 0; i < 5; i++) bench.pass(5000);
    expect(bench.bitOnDisk("d0", 0)).toBe(true);
    await written(bench);
    for (let i = 0; i < 5; i++) bench.pass(5000);
    expect(bench.bitOnDisk("d0", 0)).toBe(false);
  });

  it("keeps later writes away from the block while another copy takes them; they wait for the same record", async () => {
    const bench = failing();
    bench.write(20, 1, 77);
    bench.run();
    const from = bench.ring.log.length;
    const later = bench.write(16, 8, 78);
    bench.run();
    expect(bench.ring.log.slice(from).filter(both(on("d1", isWrite), covers(20)))).toEqual([]);
    expect(later.errno).toBeNull();
    await written(bench);
    expect(later.errno).toBe(0);
    const another = bench.write(16, 8, 79);
    bench.run();
    expect(another.errno).toBe(0);
    expect(new Set(bench.content("d1", 16, 4))).toEqual(new Set([79]));
  });

  it("is an error of the write if the record cannot be made durable", async () => {
    const bench = failing();
    const write = bench.write(16, 8, 77);
    bench.run();
    await written(bench, false);
    expect(write.errno).toBe(EIO);
    for (let i = 0; i < 5; i++) bench.pass(5000);
    expect(bench.bitOnDisk("d0", 0)).toBe(true);
  });

  it("takes the member out when its log is full", () => {
    const bench = benchWith([[], [[100, 101]]], {}, { room: 1 });
    bench.ring.fail(both(on("d1", isWrite), covers(20)), -EIO);
    bench.write(20, 1, 77);
    bench.run();
    expect(bench.failures()).toMatchObject([{ place: 1, during: "write" }]);
    expect(told(bench)).toEqual([]);
  });

  it("takes one out that is to fail fast", () => {
    const bench = failing({}, { takesWriteErrors: false });
    bench.write(20, 1, 77);
    bench.run();
    expect(bench.failures()).toMatchObject([{ place: 1, during: "write" }]);
  });

  it("gives nothing up of the last copy: the write fails", () => {
    const bench = benchWith([[]], {});
    bench.ring.fail(both(on("d0", isWrite), covers(20)), -EIO);
    const write = bench.write(20, 1, 77);
    bench.run();
    expect(write.errno).toBe(EIO);
    expect([told(bench), bench.failures()]).toEqual([[], []]);
  });

  it("of all copies is an error of the write, and then of reads there", async () => {
    const bench = benchWith([[], []]);
    bench.ring.fail(both(isWrite, covers(20)), -EIO);
    const write = bench.write(20, 1, 77);
    bench.run();
    await written(bench);
    expect(write.errno).toBe(EIO);
    const [lost, other] = [bench.read(20, 1), bench.read(21, 1)];
    bench.run();
    expect([lost.errno, other.errno]).toEqual([EIO, 0]);
    // The next write is tried again: nobody else has it.
    bench.ring.heal();
    const again = bench.write(20, 1, 78);
    bench.run();
    await written(bench);
    expect(again.errno).toBe(0);
  });
});

describe("copies and bad blocks", () => {
  const needAll = new Uint8Array(8).fill(0xff);

  it("a resync takes what is bad from another copy, and makes it good", async () => {
    const bench = benchWith([[[16, 24]], []], { bits: needAll });
    const copied = await bench.send({ type: "copy", kind: "resync", range: range(0, 64) });
    expect(copied.answer).toMatchObject({ failed: false });
    expect(new Set(bench.content("d0", 16, 8))).toEqual(new Set([2]));
    expect(new Set(bench.content("d1", 0, 16))).toEqual(new Set([1]));
    expect(lastTold(bench).members).toEqual([{ place: 0, ranges: [] }]);
  });

  it("what a member that is filled cannot be given is recorded of it", async () => {
    const bench = benchWith([[], []], { members: [{}, { state: "rebuilding" }] });
    bench.ring.fail(both(on("d0", isRead), covers(20)), -EIO);
    const copied = await bench.send({ type: "copy", kind: "recover", range: range(0, 64) });
    expect(copied.answer).toMatchObject({ failed: false });
    expect(lastTold(bench).members).toEqual([{ place: 1, ranges: [range(16, 24)] }]);
    expect(new Set(bench.content("d1", 24, 40))).toEqual(new Set([1]));
  });

  it("and so is what its source is known not to have", async () => {
    const bench = benchWith([[[20, 21]], []], { members: [{}, { state: "rebuilding" }] });
    const copied = await bench.send({ type: "copy", kind: "recover", range: range(0, 64) });
    expect(copied.answer).toMatchObject({ failed: false });
    expect(lastTold(bench).members).toEqual([{ place: 1, ranges: [range(20, 21)] }]);
    expect(bench.ring.log.filter(both(on("d0", isRead), covers(20)))).toEqual([]);
  });

  it("what the target does not take is recorded, and the copy goes on", async () => {
    const bench = benchWith([[], []], { members: [{}, { state: "rebuilding" }] });
    bench.ring.fail(both(on("d1", isWrite), covers(20)), -EIO);
    const copied = await bench.send({ type: "copy", kind: "recover", range: range(0, 64) });
    expect(copied.answer).toMatchObject({ failed: false, sectors: 64 });
    expect(bench.failures()).toEqual([]);
    expect(lastTold(bench).members).toEqual([{ place: 1, ranges: [range(16, 24)] }]);
    expect(new Set(bench.content("d1", 24, 40))).toEqual(new Set([1]));
  });

  it("a check passes by what is bad; a repair tells of it, and a rewrite makes it good", async () => {
    const bench = benchWith([[[16, 24]], []]);
    bench.ring.disks.get("d0")?.fill(2, DATA_AT * 512);
    bench.ring.disks.get("d0")?.fill(99, (DATA_AT + 16) * 512, (DATA_AT + 24) * 512);
    const checked = await bench.send({ type: "compare", range: range(0, 64), repair: null });
    expect(checked.answer).toMatchObject({ failed: false, mismatched: 0, ranges: [] });
    expect(bench.notices.filter(({ type }) => type === "badBlocksSeen")).toEqual([]);
    await bench.send({ type: "compare", range: range(0, 64), repair: null, tellBad: true });
    expect(bench.notices).toContainEqual({ type: "badBlocksSeen", place: 0, at: 16, sectors: 8 });
    const rewritten = await bench.send({ type: "rewrite", place: 0, range: range(16, 24) });
    expect(rewritten.answer).toEqual({ type: "rewritten", sectors: 8, lost: 0, givenUp: false });
    expect(new Set(bench.content("d0", 16, 8))).toEqual(new Set([2]));
    expect(lastTold(bench).members).toEqual([{ place: 0, ranges: [] }]);
  });

  it("what a rewrite cannot write is recorded; with no other copy it is left as it is", async () => {
    const bench = benchWith([[], [[40, 48]]]);
    bench.ring.fail(both(on("d1"), covers(20)), -EIO);
    const rewritten = await bench.send({ type: "rewrite", place: 1, range: range(16, 24) });
    expect(rewritten.answer).toMatchObject({ sectors: 0, lost: 8 });
    expect(bench.failures()).toEqual([]);
    expect(lastTold(bench).members).toEqual([{ place: 1, ranges: [range(16, 24), range(40, 48)] }]);
    const before = told(bench).length;
    const lost = await bench.send({ type: "rewrite", place: 0, range: range(40, 48) });
    expect(lost.answer).toMatchObject({ sectors: 0, lost: 0 });
    expect(told(bench)).toHaveLength(before);
  });

  it("members have no logs any more once they are ended, and none is ended that says something", async () => {
    const marked = benchWith([[[16, 24]], []]);
    expect((await marked.send({ type: "endBadBlocks" })).error).toMatchObject({ code: "E_VALUE" });
    const bench = benchWith([[], []]);
    expect((await bench.send({ type: "endBadBlocks" })).error).toBeNull();
    bench.ring.fail(both(on("d1", isWrite), covers(20)), -EIO);
    bench.write(20, 1, 77);
    bench.run();
    expect(bench.failures()).toMatchObject([{ place: 1, during: "write" }]);
  });
});
