import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import type { RepairRule } from "../../src/engine/engine-protocol.ts";
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
import { raid10Shape } from "../support/raid10.ts";

const EIO = -5;
const SIZE = 4096;

/** Equal mirrors but for what `spoil` puts on them. */
function mirrors(disks: number, options: ConstructorParameters<typeof EngineBench>[0] = {}): EngineBench {
  const bench = new EngineBench({ disks, ...options });
  for (let disk = 0; disk < disks; disk++) bench.ring.disks.get(diskName(disk))?.fill(7, DATA_AT * 512);
  return bench;
}

/** Other bytes in [at, at + sectors) of a member's data. */
const spoil = (bench: EngineBench, path: string, at: number, sectors = 1, fill = 99): void => {
  bench.content(path, at, sectors).fill(fill);
};

const compare = (lo: number, hi: number, repair: RepairRule | null = null) =>
  ({ type: "compare", range: range(lo, hi), repair }) as const;
const majority: RepairRule = { source: null };
const clean = {
  type: "compared",
  sectors: SIZE,
  failed: false,
  mismatched: 0,
  ranges: [],
  isCut: false,
  unsettled: false,
};
const readsAt = (path: string, at: number) =>
  on(path, (op) => isRead(op) && op.at <= DATA_AT + at && DATA_AT + at < op.at + op.sectors);
const has = (bench: EngineBench, path: string, at: number): number => bench.content(path, at, 1)[0] ?? -1;

describe("a comparison", () => {
  it("reads every copy of every sector, finds nothing in equal ones, writes nothing and sets no bit", async () => {
    const bench = mirrors(3);
    const from = bench.ring.log.length;
    const { answer } = await bench.send(compare(0, SIZE));
    expect(answer).toEqual(clean);
    const log = bench.ring.log.slice(from);
    expect(log.every(isRead)).toBe(true);
    for (const path of ["d0", "d1", "d2"]) {
      const sectors = log.filter((op) => op.path === path).reduce((sum, op) => sum + op.sectors, 0);
      expect(sectors).toBe(SIZE);
    }
    expect(bench.shared.read("dirtyChunks")).toBe(0);
  });

  it("finds exactly the sectors that differ, and who differs from most; counts as md does", async () => {
    const bench = mirrors(3);
    spoil(bench, "d1", 300, 2);
    spoil(bench, "d2", 301);
    spoil(bench, "d0", 4095);
    const { answer } = await bench.send(compare(0, SIZE));
    // In the third request two copies differ from the first; in the last one as well, since it is the odd one itself.
    expect(answer).toMatchObject({ mismatched: 4 * 128, failed: false });
    expect(answer?.ranges).toEqual([
      { lo: 300, hi: 301, kind: "differs", places: [1] },
      { lo: 301, hi: 302, kind: "differs", places: [0] },
      { lo: 4095, hi: 4096, kind: "differs", places: [0] },
    ]);
  });

  it("counts 128 for one byte in a two-way mirror, and blames nobody", async () => {
    const bench = mirrors(2);
    bench.content("d1", 1000, 1)[17] = 1;
    const { answer } = await bench.send(compare(0, SIZE));
    expect(answer).toMatchObject({
      mismatched: 128,
      ranges: [{ lo: 1000, hi: 1001, kind: "differs", places: [] }],
    });
  });

  it("leaves out chunks that need a resync, and says so", async () => {
    const bench = mirrors(2, { bits: Uint8Array.of(0b10, 0, 0, 0, 0, 0, 0, 0) });
    spoil(bench, "d1", 70);
    spoil(bench, "d1", 130);
    const { answer } = await bench.send(compare(0, SIZE));
    expect(answer).toMatchObject({ unsettled: true, ranges: [{ lo: 130, hi: 131 }] });
    expect(bench.shared.read("neededChunks")).toBe(1);
  });

  it("and a local write exclude each other: a write in flight is no mismatch", async () => {
    const bench = mirrors(2);
    bench.ring.hold((op) => isWrite(op) && op.path === "d1");
    bench.write(64, 8, 55);
    bench.run();
    const sent = await bench.send(compare(0, SIZE));
    expect(sent.answer).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(sent.answer).toEqual(clean);
  });

  it("ends when a member fails", async () => {
    const bench = mirrors(3);
    bench.ring.fail((op) => isWrite(op) && op.path === "d1", EIO);
    bench.write(64, 8, 55);
    bench.run();
    const { answer } = await bench.send(compare(0, SIZE));
    expect(answer?.failed).toBe(true);
  });

  it("of a member that is being filled takes no notice, nor of a single copy", async () => {
    const bench = mirrors(3, { members: [{}, {}, { state: "rebuilding", recoveredTo: sector(0) }] });
    spoil(bench, "d2", 5);
    expect((await bench.send(compare(0, SIZE))).answer).toEqual(clean);
    await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    const from = bench.ring.log.length;
    expect((await bench.send(compare(0, SIZE))).answer).toMatchObject({ sectors: 0, mismatched: 0, failed: false });
    expect(bench.ring.log.slice(from)).toEqual([]);
  });

  it("names what one copy cannot read", async () => {
    const bench = mirrors(2);
    bench.ring.fail(readsAt("d1", 200), EIO);
    const { answer } = await bench.send(compare(0, SIZE));
    expect(answer).toMatchObject({
      failed: false,
      mismatched: 128,
      ranges: [{ lo: 200, hi: 208, kind: "unreadable", places: [1] }],
    });
    expect(bench.notices).toContainEqual(expect.objectContaining({ type: "readError", place: 1 }));
  });

  it("lists so many ranges, and counts the rest", async () => {
    const bench = mirrors(2);
    for (let at = 0; at < SIZE; at += 8) spoil(bench, "d1", at);
    const { answer } = await bench.send(compare(0, SIZE));
    expect(answer?.mismatched).toBe(SIZE);
    expect(answer?.isCut).toBe(true);
    expect(answer?.ranges.length).toBe(256);
  });
});

describe("a repair", () => {
  it("goes by the majority of three, sector by sector, and is durable when it is answered", async () => {
    const bench = mirrors(3);
    spoil(bench, "d0", 300);
    spoil(bench, "d1", 301);
    spoil(bench, "d2", 302, 3);
    const from = bench.ring.log.length;
    const { answer } = await bench.send(compare(0, SIZE, majority));
    expect(answer?.ranges).toEqual([
      { lo: 300, hi: 301, kind: "repaired", places: [0] },
      { lo: 301, hi: 302, kind: "repaired", places: [1] },
      { lo: 302, hi: 305, kind: "repaired", places: [2] },
    ]);
    for (const path of ["d0", "d1", "d2"]) for (let at = 300; at < 305; at++) expect(has(bench, path, at)).toBe(7);
    const log = bench.ring.log.slice(from);
    expect(log.filter(isWrite).map(({ path, at, sectors }) => [path, at - DATA_AT, sectors])).toEqual([
      ["d0", 300, 1],
      ["d1", 301, 1],
      ["d2", 302, 3],
    ]);
    expect(log.slice(-3).map(({ type }) => type)).toEqual(["flush", "flush", "flush"]);
    expect((await bench.send(compare(0, SIZE))).answer).toEqual(clean);
  });

  it.each([
    ["two copies", 2, [[1, 99]]],
    [
      "three that all differ",
      3,
      [
        [1, 98],
        [2, 99],
      ],
    ],
    [
      "two against two",
      4,
      [
        [2, 99],
        [3, 99],
      ],
    ],
  ] as const)("writes nothing where nobody has a majority: %s", async (_, disks, spoilt) => {
    const bench = mirrors(disks);
    for (const [disk, fill] of spoilt) spoil(bench, `d${disk}`, 64, 1, fill);
    const from = bench.ring.log.length;
    const { answer } = await bench.send(compare(0, SIZE, majority));
    expect(answer).toMatchObject({ ranges: [{ lo: 64, hi: 65, kind: "undecided", places: [] }] });
    expect(bench.ring.log.slice(from).filter(isWrite)).toEqual([]);
  });

  it("takes what the named source has, though all others agree", async () => {
    const bench = mirrors(3);
    spoil(bench, "d2", 64, 4, 42);
    const { answer } = await bench.send(compare(0, SIZE, { source: 2 }));
    expect(answer?.ranges).toEqual([{ lo: 64, hi: 68, kind: "repaired", places: [0, 1] }]);
    for (const path of ["d0", "d1", "d2"]) expect(has(bench, path, 66)).toBe(42);
  });

  it.each([
    ["the one copy that is named", 2, { source: 0 }],
    ["two of three", 3, majority],
  ] as const)("heals what a copy cannot read from %s", async (_, disks, rule) => {
    const bench = mirrors(disks);
    bench.ring.fail(readsAt("d1", 200), EIO);
    spoil(bench, "d1", 200);
    const { answer } = await bench.send(compare(0, SIZE, rule));
    expect(answer?.ranges).toEqual([{ lo: 200, hi: 208, kind: "repaired", places: [1] }]);
    expect(has(bench, "d1", 200)).toBe(7);
  });

  it.each([
    ["two, by majority", 2, majority, ["d0"]],
    ["three, by majority", 3, majority, ["d0", "d2"]],
    ["two, the source of which it is", 2, { source: 0 }, ["d0"]],
    ["three, the source of which it is", 3, { source: 0 }, ["d0"]],
  ] as const)("does not take what the others have for a copy that cannot be read: %s", async (_, disks, rule, bad) => {
    const bench = mirrors(disks);
    // The page's other sectors can be read one by one.
    spoil(bench, "d1", 10, 6);
    if (disks === 3) spoil(bench, "d2", 10, 6, rule === majority ? 98 : 99);
    for (const path of bad) bench.ring.fail(readsAt(path, 12), EIO);
    const { answer } = await bench.send(compare(0, SIZE, rule));
    const places = bad.map((path) => Number(path.slice(1)));
    expect(answer?.ranges).toEqual([{ lo: 8, hi: 16, kind: "unreadable", places }]);
    expect(bench.ring.log.filter(isWrite)).toEqual([]);
  });

  it("never comes between: a local write waits for it, and it for the write", async () => {
    const bench = mirrors(3);
    spoil(bench, "d2", 64);
    bench.ring.hold((op) => isWrite(op) && op.path === "d2");
    const sent = await bench.send(compare(0, SIZE, majority));
    const write = bench.write(64, 1, 55);
    bench.run();
    expect(write.errno).toBe(null);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect([sent.answer?.failed, write.errno]).toEqual([false, 0]);
    for (const path of ["d0", "d1", "d2"]) expect(has(bench, path, 64)).toBe(55);
  });

  it("writes nothing without the lease", async () => {
    const bench = mirrors(3);
    spoil(bench, "d2", 64);
    bench.shared.setLease(bench.now);
    const from = bench.ring.log.length;
    const sent = await bench.send(compare(0, SIZE, majority));
    expect(sent.answer).toBe(null);
    expect(bench.ring.log.slice(from).filter(isWrite)).toEqual([]);
  });

  it("that cannot write takes the member out, and fails", async () => {
    const bench = mirrors(3);
    spoil(bench, "d2", 64);
    bench.ring.fail((op) => isWrite(op) && op.path === "d2", EIO);
    const { answer } = await bench.send(compare(0, SIZE, majority));
    expect(answer?.failed).toBe(true);
    expect(bench.failures()).toEqual([expect.objectContaining({ place: 2, during: "copy" })]);
  });

  it("writes no more to a member that refused one", async () => {
    const bench = mirrors(3);
    for (const at of [10, 20, 30]) spoil(bench, "d1", at);
    bench.ring.fail((op) => isWrite(op) && op.path === "d1", EIO);
    const { answer } = await bench.send(compare(0, SIZE, majority));
    expect(answer).toMatchObject({ failed: true, ranges: [] });
    expect(bench.ring.log.filter(on("d1", isWrite)).map(({ at }) => at - DATA_AT)).toEqual([10]);
  });

  it("begins no write when a member has failed and nobody has settled it", async () => {
    const bench = mirrors(3);
    spoil(bench, "d1", 10);
    spoil(bench, "d2", 4000);
    bench.ring.fail(on("d1", isWrite), EIO);
    bench.ring.hold((op) => on("d1", isWrite)(op) || readsAt(op.path, 4000)(op));
    const sent = await bench.send(compare(0, SIZE, majority));
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(sent.answer?.failed).toBe(true);
    expect(bench.ring.log.filter(isWrite).map(({ path }) => path)).toEqual(["d1"]);
  });

  it.each(["faulty", "removed"])("leaves a member alone that became %s while the lease was away", async (fate) => {
    const bench = mirrors(3);
    spoil(bench, "d1", 10);
    spoil(bench, "d1", 20);
    spoil(bench, "d2", 30);
    bench.shared.setLease(bench.now);
    const sent = await bench.send(compare(0, SIZE, majority));
    await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    if (fate === "removed") await bench.send({ type: "removeMember", place: 1 });
    bench.shared.setLease(Number.POSITIVE_INFINITY);
    bench.pass(10);
    await bench.settle();
    expect(bench.ring.log.filter(on("d1", isWrite))).toEqual([]);
    expect(sent.answer).toMatchObject({
      failed: false,
      ranges: [{ lo: 30, hi: 31, kind: "repaired", places: [2] }],
    });
  });

  it("names only those that took it, and writes no short rest to a member that is faulty", async () => {
    const bench = mirrors(5);
    spoil(bench, "d1", 10, 8);
    spoil(bench, "d2", 10, 8);
    bench.ring.fail(on("d1", isWrite), 512, 1);
    bench.ring.hold(on("d1", isWrite));
    const sent = await bench.send(compare(0, SIZE, majority));
    await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(bench.ring.log.filter(on("d1", isWrite)).length).toBe(1);
    expect(sent.answer?.ranges).toEqual([{ lo: 10, hi: 18, kind: "repaired", places: [2] }]);
  });
});

describe("a repair of an array that lacks a member", () => {
  const lacking = (): EngineBench => mirrors(4, { members: [{}, {}, {}, { state: "faulty" }] });

  it("notes for it what is written, durable before the write, and for as long as it is missing", async () => {
    const bench = lacking();
    spoil(bench, "d1", 70);
    spoil(bench, "d2", 4000, 2);
    bench.ring.hold(isBitmap);
    const sent = await bench.send(compare(0, SIZE, majority));
    expect(bench.ring.log.filter(isWrite)).toEqual([]);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(sent.answer?.ranges).toEqual([
      { lo: 70, hi: 71, kind: "repaired", places: [1] },
      { lo: 4000, hi: 4002, kind: "repaired", places: [2] },
    ]);
    for (let i = 0; i < 4; i++) bench.pass(5000);
    const noted = Array.from({ length: 64 }, (_, chunk) => chunk).filter((chunk) => bench.bitOnDisk("d0", chunk));
    expect(noted).toEqual([1, 62]);
    expect(bench.shared.read("neededChunks")).toBe(0);
  });

  it("sets no bit where nothing is missing, nor where nothing is written", async () => {
    const bench = mirrors(3);
    spoil(bench, "d1", 70);
    await bench.send(compare(0, SIZE, majority));
    const other = lacking();
    await other.send(compare(0, SIZE, majority));
    for (const { shared } of [bench, other]) expect(shared.read("dirtyChunks")).toBe(0);
  });

  it("notes what was written before the member went, before it is answered", async () => {
    const bench = mirrors(4);
    spoil(bench, "d1", 70);
    bench.ring.hold(on("d1", isWrite));
    const sent = await bench.send(compare(0, SIZE, majority));
    await bench.send({ type: "setMember", member: { ...member(3), state: "faulty" } });
    bench.ring.hold(isBitmap);
    bench.ring.release(on("d1", isWrite));
    bench.run();
    await bench.settle();
    expect([has(bench, "d1", 70), sent.answer]).toEqual([7, null]);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(sent.answer?.failed).toBe(false);
    expect(bench.bitOnDisk("d0", 1)).toBe(true);
  });

  it("notes it also if that member ends the repair", async () => {
    const bench = mirrors(4);
    for (const path of ["d1", "d3"]) spoil(bench, path, 70, 1, path === "d1" ? 98 : 99);
    const rule: RepairRule = { source: 0 };
    bench.ring.fail(on("d3", isWrite), EIO);
    const { answer } = await bench.send(compare(0, SIZE, rule));
    await bench.send({ type: "settleFailure", place: 3, outcome: "faulty" });
    bench.run();
    expect([answer?.failed, has(bench, "d1", 70)]).toEqual([true, 7]);
    expect(bench.bitOnDisk("d0", 1)).toBe(true);
  });

  it("writes nothing, and keeps no bit raised, if it ends before its bits are durable", async () => {
    const bench = lacking();
    spoil(bench, "d1", 70);
    bench.ring.fail(on("d2", isBitmap), EIO, 1);
    const { answer } = await bench.send(compare(0, SIZE, majority));
    expect(answer?.failed).toBe(true);
    expect(bench.ring.log.filter(isWrite)).toEqual([]);
    await bench.send({ type: "settleFailure", place: 2, outcome: "faulty" });
    for (const place of [2, 3]) await bench.send({ type: "setMember", member: member(place) });
    for (let i = 0; i < 6; i++) bench.pass(5000);
    expect(bench.bitOnDisk("d0", 1)).toBe(false);
  });
});

describe.each([
  ["n2", 4, { source: 0 }, [1]],
  ["n2", 5, { source: 0 }, [1]],
  ["n3", 6, majority, [1]],
])("RAID10 %s on %i members", (layout, disks, rule, places) => {
  it("is compared and repaired, a stripe's chunk for a request", async () => {
    const shape = raid10Shape(layout, disks, 16, 64);
    const bench = mirrors(disks, { shape, bits: new Uint8Array(Math.ceil(Math.ceil(shape.size / 64) / 8)) });
    // In the first chunk of each member, which d0 has a copy of.
    spoil(bench, "d1", 3, 2);
    const { answer } = await bench.send(compare(0, shape.size));
    expect(answer).toMatchObject({ sectors: shape.size, failed: false, mismatched: 16 });
    expect(answer?.ranges.map(({ lo, hi }) => [lo, hi])).toEqual([[3, 5]]);
    const repaired = await bench.send(compare(0, shape.size, rule));
    expect(repaired.answer?.ranges).toEqual([{ lo: 3, hi: 5, kind: "repaired", places }]);
    expect((await bench.send(compare(0, shape.size))).answer).toMatchObject({ mismatched: 0, ranges: [] });
  });
});

describe("RAID10 n2 on 4 members", () => {
  it("is left alone where the named source has no copy", async () => {
    const shape = raid10Shape("n2", 4, 16, 64);
    const bench = mirrors(4, { shape, bits: new Uint8Array(Math.ceil(Math.ceil(shape.size / 64) / 8)) });
    spoil(bench, "d3", 3);
    const { answer } = await bench.send(compare(0, shape.size, { source: 0 }));
    expect(answer?.ranges).toEqual([{ lo: 19, hi: 20, kind: "undecided", places: [] }]);
  });
});
