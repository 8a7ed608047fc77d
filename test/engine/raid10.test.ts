import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { RequestOp } from "../../src/blockdev/front-end.ts";
import { Raid10 } from "../../src/raid10/raid10.ts";
import {
  BITMAP_AT,
  DATA_AT,
  diskName,
  EngineBench,
  isRead,
  isWrite,
  member,
  on,
  range,
} from "../support/engine-bench.ts";
import { mdPlaces, placesOf, raid10Shape } from "../support/raid10.ts";

const EIO = -5;
const CHUNK = 16;

interface Raid10Bench {
  readonly bench: EngineBench;
  readonly raid10: Raid10;
}

function make(
  layout = "n2",
  disks = 4,
  options: Omit<NonNullable<ConstructorParameters<typeof EngineBench>[0]>, "bits"> = {},
  /** Of the first eight bits of the bitmap, which have 64 sectors each. */
  marked = 0,
): Raid10Bench {
  const shape = raid10Shape(layout, disks, CHUNK, 64);
  const bits = new Uint8Array(Math.ceil(Math.ceil(shape.size / 64) / 8)).fill(marked, 0, 1);
  const bench = new EngineBench({ disks, shape, bits, ...options });
  return { bench, raid10: new Raid10(shape) };
}

/** The first bytes of all copies of a sector, in the order of the map. */
function copiesAt({ bench, raid10 }: Raid10Bench, at: number): number[] {
  return placesOf(raid10, at).map(([disk, onMember]) => bench.content(diskName(disk), onMember, 1)[0] ?? -1);
}

/** Bytes, one a sector, of what a read has brought. */
const bytesRead = (bench: EngineBench, buffer: number, sectors: number): number[] =>
  Array.from({ length: sectors }, (_, i) => bench.ring.arena[buffer + i * 512] ?? -1);

describe.each([
  ["n2", 4],
  ["n2", 5],
  ["n3", 6],
  ["f2", 4],
  ["o2", 5],
])("RAID10 %s on %i members", (layout, disks) => {
  it("keeps what is written, of any size and at any place, on all copies and nowhere else", () => {
    const request = fc.record({
      at: fc.nat(600),
      sectors: fc.integer({ min: 1, max: 400 }),
      fill: fc.integer({ min: 1, max: 250 }),
    });
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: 8 }), (requests) => {
        const here = make(layout, disks);
        const { bench, raid10 } = here;
        const expected = new Uint8Array(raid10.size);
        for (const { at, sectors, fill } of requests) {
          const from = at % raid10.size;
          const length = Math.min(sectors, raid10.size - from);
          const written = bench.write(from, length, fill);
          bench.run();
          expect(written.errno).toBe(0);
          expected.fill(fill, from, from + length);
          const read = bench.read(from, length);
          bench.run();
          expect(read.errno).toBe(0);
          expect(new Set(bytesRead(bench, read.buffer, length))).toEqual(new Set([fill]));
        }
        for (let disk = 0; disk < disks; disk++) {
          for (let onMember = 0; onMember < 64 * CHUNK; onMember++) {
            const at = raid10.arraySectorAt(disk, onMember);
            const found = bench.content(diskName(disk), onMember, 1)[0];
            if (found !== (at === -1 ? 0 : expected[at]))
              throw new Error(`disk ${disk} sector ${onMember} has ${found}`);
          }
        }
      }),
      { numRuns: 15 },
    );
  });

  it("reads and writes on without any one member", () => {
    for (let lost = 0; lost < disks; lost++) {
      const { bench, raid10 } = make(layout, disks, {
        members: Array.from({ length: disks }, (_, disk) => (disk === lost ? { state: "faulty" as const } : {})),
      });
      const written = bench.write(0, 500, 7);
      bench.run();
      const read = bench.read(0, 500);
      bench.run();
      expect([written.errno, read.errno]).toEqual([0, 0]);
      expect(new Set(bytesRead(bench, read.buffer, 500))).toEqual(new Set([7]));
      expect(bench.ring.log.filter((op) => op.path === diskName(lost))).toEqual([]);
      expect(raid10.copies).toBeGreaterThan(1);
    }
  });
});

describe.each(["n2", "f2", "o2"])("RAID10 %s in chunks", (layout) => {
  it.each([8, 64, 2048, 4096])("of %i sectors cuts requests where they end, and nowhere else", (chunkSectors) => {
    const shape = raid10Shape(layout, 3, chunkSectors, 4);
    const bits = new Uint8Array(Math.ceil(Math.ceil(shape.size / 64) / 8));
    const bench = new EngineBench({ disks: 3, shape, bits });
    const ends = Array.from({ length: shape.size / chunkSectors }, (_, chunk) => chunk * chunkSectors).slice(1);
    for (const [i, end] of ends.entries()) {
      const written = bench.write(end - 7, 14, 1 + i);
      bench.run();
      expect(written.errno).toBe(0);
      for (const at of [end - 7, end - 1, end, end + 6]) {
        const copies = mdPlaces(shape, at).map(([disk, on]) => bench.content(diskName(disk), on, 1));
        expect(copies.map((copy) => [copy[0], copy[511]])).toEqual(copies.map(() => [1 + i, 1 + i]));
      }
    }
    // Two copies of each of the two parts.
    expect(bench.ring.log.filter(isWrite)).toHaveLength(ends.length * 4);
    const written = new Set(ends.flatMap((end) => Array.from({ length: 14 }, (_, sectors) => end - 7 + sectors)));
    const places = [...written].flatMap((at) => mdPlaces(shape, at).map(([disk, on]) => `${disk}:${on}`));
    for (let disk = 0; disk < 3; disk++) {
      const content = bench.content(diskName(disk), 0, shape.memberSize);
      for (let on = 0; on < shape.memberSize; on++) {
        if (content[on * 512] !== 0) expect(places, `disk ${disk} sector ${on}`).toContain(`${disk}:${on}`);
      }
    }
  });
});

describe("a read of a RAID10", () => {
  it("of many chunks has several at work at once", () => {
    const { bench } = make();
    bench.ring.hold(isRead);
    bench.read(0, 8 * CHUNK);
    bench.run();
    expect(bench.ring.log.filter(isRead)).toHaveLength(8);
  });

  it("takes only what one member cannot give from the other copy", () => {
    const here = make();
    const { bench } = here;
    bench.write(0, 8 * CHUNK, 5);
    bench.run();
    bench.ring.fail((op) => on("d0", isRead)(op), EIO);
    bench.ring.fail((op) => on("d2", isRead)(op), EIO);
    const read = bench.read(0, 8 * CHUNK);
    bench.run();
    expect(read.errno).toBe(0);
    expect(new Set(bytesRead(bench, read.buffer, 8 * CHUNK))).toEqual(new Set([5]));
  });

  it("fails if both copies of one chunk cannot be read, and only then", () => {
    const { bench } = make();
    bench.ring.fail((op) => (on("d2", isRead)(op) || on("d3", isRead)(op)) && op.at === DATA_AT + CHUNK, EIO);
    // Chunk 3 is the second one of the second pair.
    const bad = bench.read(0, 8 * CHUNK);
    const good = bench.read(0, 3 * CHUNK);
    bench.run();
    expect([bad.errno, good.errno]).toEqual([5, 0]);
    expect(bench.failures()).toEqual([]);
  });
});

describe("a RAID10 that loses members", () => {
  it("has the first of a pair taken out, and the other never, whatever is left of other pairs", async () => {
    const { bench } = make();
    bench.ring.fail((op) => on("d0", isWrite)(op) || on("d1", isWrite)(op), EIO);
    const first = bench.write(0, CHUNK, 1);
    bench.run();
    // Both legs failed: one of the two has to stay, and the write is not told to have worked.
    expect(first.errno).toBe(5);
    expect(bench.failures()).toEqual([expect.objectContaining({ place: 0, during: "write" })]);
    await bench.send({ type: "settleFailure", place: 0, outcome: "faulty" });
    const second = bench.write(0, CHUNK, 2);
    const elsewhere = bench.write(CHUNK, CHUNK, 3);
    bench.run();
    expect([second.errno, elsewhere.errno]).toEqual([5, 0]);
    expect(bench.failures()).toHaveLength(1);
    const { error } = await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    expect(error).toMatchObject({ code: "E_LAST_COPY" });
  });

  it("survives one member of each pair, and answers when the failure is known everywhere", async () => {
    const here = make();
    const { bench } = here;
    bench.ring.fail((op) => on("d1", isWrite)(op) || on("d2", isWrite)(op), EIO);
    const write = bench.write(0, 8 * CHUNK, 9);
    bench.run();
    expect(write.errno).toBe(null);
    expect(bench.failures()).toMatchObject([{ place: 1 }, { place: 2 }]);
    await bench.send({ type: "settleFailure", place: 1, outcome: "faulty" });
    expect(write.errno).toBe(null);
    await bench.send({ type: "settleFailure", place: 2, outcome: "faulty" });
    expect(write.errno).toBe(0);
    const read = bench.read(0, 8 * CHUNK);
    bench.run();
    expect(new Set(bytesRead(bench, read.buffer, 8 * CHUNK))).toEqual(new Set([9]));
  });

  it("of a failed flush takes the member out, but not the last copy of anything", async () => {
    const { bench } = make();
    bench.ring.fail((op) => op.type === "flush" && (op.path === "d0" || op.path === "d1"), EIO);
    const flush = bench.flush();
    bench.run();
    expect(flush.errno).toBe(5);
    expect(bench.failures()).toMatchObject([{ place: 0 }]);
  });

  it("does not begin with a pair missing", () => {
    const gone = { state: "faulty" as const };
    expect(() => make("n2", 4, { members: [gone, gone, {}, {}] })).toThrow("no copy is in sync");
    expect(() => make("n2", 4, { members: [gone, {}, gone, {}] })).not.toThrow();
    // On three members no two may be missing.
    expect(() => make("n2", 3, { members: [gone, {}, gone] })).toThrow("no copy is in sync");
  });
});

describe("a copy in a RAID10", () => {
  const fillMembers = (bench: EngineBench, disks: number): void => {
    for (let disk = 0; disk < disks; disk++) bench.ring.disks.get(diskName(disk))?.fill(10 + disk, DATA_AT * 512);
  };

  it.each([
    ["n2", 4],
    ["n2", 3],
    ["n3", 5],
    ["f2", 3],
  ])("%s on %i: a resync makes all copies of the marked chunks what the first one is", async (layout, disks) => {
    const here = make(layout, disks, {}, 0b0110);
    const { bench, raid10 } = here;
    fillMembers(bench, disks);
    const { answer } = await bench.send({ type: "copy", kind: "resync", range: range(0, raid10.size) });
    expect(answer).toEqual({ type: "copied", sectors: 128, failed: false, aimless: false });
    for (let at = 0; at < raid10.size; at += CHUNK) {
      const disksOf = placesOf(raid10, at).map(([disk]) => 10 + disk);
      const copied = at >= 64 && at < 192;
      expect(copiesAt(here, at)).toEqual(copied ? disksOf.map(() => disksOf[0]) : disksOf);
    }
    expect(bench.shared.read("neededChunks")).toBe(0);
  });

  it("fills a member with its own stripes only, from the other copies", async () => {
    const here = make("n2", 4, { members: [{}, {}, { state: "rebuilding" }, {}] });
    const { bench, raid10 } = here;
    fillMembers(bench, 4);
    const { answer } = await bench.send({ type: "copy", kind: "recover", range: range(0, raid10.size) });
    expect(answer).toEqual({ type: "copied", sectors: raid10.size / 2, failed: false, aimless: false });
    expect(new Set(bench.content("d2", 0, 64 * CHUNK))).toEqual(new Set([13]));
    expect(bench.ring.log.filter((op) => isRead(op) || isWrite(op)).map(({ path }) => path)).toEqual(
      expect.not.arrayContaining(["d0", "d1"]),
    );
  });

  it("of a window without a stripe of the member that is filled copies nothing, and has not failed", async () => {
    const { bench } = make("n2", 4, { members: [{}, {}, { state: "rebuilding" }, {}] });
    const { answer } = await bench.send({ type: "copy", kind: "recover", range: range(0, CHUNK) });
    expect(answer).toEqual({ type: "copied", sectors: 0, failed: false, aimless: false });
    await bench.send({ type: "setMember", member: { ...member(2), state: "in_sync" } });
    const later = await bench.send({ type: "copy", kind: "recover", range: range(0, CHUNK) });
    expect(later.answer).toMatchObject({ aimless: true });
  });

  it("scans from where the member is not filled, in array sectors", async () => {
    const { bench } = make("n2", 4, {
      members: [{}, {}, { state: "rebuilding", recoveredTo: sector(3 * CHUNK) }, {}],
    });
    const { answer } = await bench.send({ type: "scan", kind: "recover", from: sector(0) });
    expect(answer?.range).toEqual({ lo: 6 * CHUNK, hi: 128 * CHUNK });
  });

  it("reads a member that is filled only below its mark, which counts sectors of the member", async () => {
    const { bench } = make("n2", 4, {
      members: [{}, {}, { state: "rebuilding", recoveredTo: sector(2 * CHUNK) }, {}],
    });
    bench.ring.fail((op) => on("d3", isRead)(op), EIO);
    // Chunks 1, 3 and 5 are rows 0, 1 and 2 of the second pair.
    const below = bench.read(3 * CHUNK, CHUNK);
    const above = bench.read(5 * CHUNK, CHUNK);
    bench.run();
    expect([below.errno, above.errno]).toEqual([0, 5]);
  });

  it("and a write exclude each other", async () => {
    const here = make("n2", 4, {}, 1);
    const { bench } = here;
    fillMembers(bench, 4);
    bench.ring.hold((op) => on("d2", isRead)(op));
    const copy = await bench.send({ type: "copy", kind: "resync", range: range(0, 64) });
    const write = bench.write(CHUNK, CHUNK, 99);
    bench.run();
    expect(bench.ring.log.filter((op) => isWrite(op) && op.path === "d2")).toEqual([]);
    bench.ring.release();
    bench.run();
    await bench.settle();
    expect(copy.answer?.failed).toBe(false);
    expect(write.errno).toBe(0);
    expect(copiesAt(here, CHUNK)).toEqual([99, 99]);
    expect(copiesAt(here, 0)).toEqual([10, 10]);
  });
});

describe("large zeroes of a RAID10", () => {
  it("ask each member for its chunks, each once, and for nothing else", () => {
    // More in one part than a device is asked to zero at once.
    const chunk = 2048;
    const shape = raid10Shape("n2", 4, chunk, 8);
    const bench = new EngineBench({ disks: 4, shape, chunkSectors: chunk });
    const zero = bench.submit(RequestOp.discard, 0, shape.size, 0, 0);
    bench.run();
    expect(zero.errno).toBe(0);
    for (const path of ["d0", "d1"]) {
      const asked = bench.ring.log.filter((op) => op.path === path && op.type === "zero");
      const chunks = asked.map(({ at, sectors }) => [at - DATA_AT, sectors]).sort(([a = 0], [b = 0]) => a - b);
      expect(chunks).toEqual(Array.from({ length: 8 }, (_, i) => [i * chunk, chunk]));
    }
  });
});

describe("the bitmap of a RAID10", () => {
  it("has a bit for array sectors, on all members before the data is on any", () => {
    const { bench } = make();
    bench.write(130, 4, 1);
    bench.run();
    const data = bench.ring.log.findIndex(isWrite);
    const pages = bench.ring.log.slice(0, data).filter((op) => op.type === "write" && op.at === BITMAP_AT);
    expect(new Set(pages.map(({ path }) => path))).toEqual(new Set(["d0", "d1", "d2", "d3"]));
    for (const path of ["d0", "d1", "d2", "d3"]) expect(bench.bitOnDisk(path, 2)).toBe(true);
    expect(bench.bitOnDisk("d0", 1)).toBe(false);
  });
});
