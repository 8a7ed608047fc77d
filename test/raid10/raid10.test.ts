import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { sector } from "../../src/base/units.ts";
import { Raid10 } from "../../src/raid10/raid10.ts";
import { parseRaid10Layout } from "../../src/superblock/raid10-layout.ts";

const word = (layout: string | number): number =>
  typeof layout === "number" ? layout : (parseRaid10Layout(layout) ?? Number.NaN);

const make = (layout: string | number, raidDisks: number, chunkSectors = 8, rows = 12): Raid10 =>
  new Raid10({ layout: word(layout), raidDisks, chunkSectors, memberSize: sector(rows * chunkSectors) });

type Place = readonly [disk: number, at: number];

function placesOf(raid10: Raid10, at: number): Place[] {
  const disks = new Int32Array(raid10.copies);
  const sectors = new Float64Array(raid10.copies);
  raid10.map(sector(at), disks, sectors);
  return Array.from(disks, (disk, copy) => [disk, sectors[copy] ?? -1] as const);
}

const shown = (raid10: Raid10, chunk: number, unit: number): string =>
  placesOf(raid10, chunk * unit)
    .map(([disk, at]) => `${disk}:${at / unit}`)
    .join(" ");

describe("RAID10's map, as tabled in the on-disk format", () => {
  it.each([
    ["n2", 2, ["0:0 1:0", "0:1 1:1", "0:2 1:2", "0:3 1:3", "0:4 1:4", "0:5 1:5"]],
    ["n2", 3, ["0:0 1:0", "2:0 0:1", "1:1 2:1", "0:2 1:2", "2:2 0:3", "1:3 2:3"]],
    ["n2", 4, ["0:0 1:0", "2:0 3:0", "0:1 1:1", "2:1 3:1", "0:2 1:2", "2:2 3:2"]],
    ["n3", 3, ["0:0 1:0 2:0", "0:1 1:1 2:1", "0:2 1:2 2:2", "0:3 1:3 2:3"]],
    ["n3", 4, ["0:0 1:0 2:0", "3:0 0:1 1:1", "2:1 3:1 0:2", "1:2 2:2 3:2", "0:3 1:3 2:3", "3:3 0:4 1:4"]],
    ["n3", 5, ["0:0 1:0 2:0", "3:0 4:0 0:1", "1:1 2:1 3:1", "4:1 0:2 1:2", "2:2 3:2 4:2", "0:3 1:3 2:3"]],
  ])("%s on %i members (16.1)", (layout, raidDisks, chunks) => {
    const raid10 = make(layout, raidDisks);
    expect(chunks.map((_, chunk) => shown(raid10, chunk, 8))).toEqual(chunks);
  });

  // A stride of 1024 sectors are 8 chunks of 128.
  it.each([
    ["f2", ["0:0 1:8", "1:0 2:8", "2:0 3:8", "3:0 0:8", "0:1 1:9"]],
    [0x4_0201, ["0:0 1:8", "1:0 0:8", "2:0 3:8", "3:0 2:8", "0:1 1:9"]],
    ["o2", ["0:0 1:1", "1:0 2:1", "2:0 3:1", "3:0 0:1", "0:2 1:3"]],
  ])("%s on 4 members (16.2)", (layout, chunks) => {
    const raid10 = make(layout, 4, 128, 16);
    expect(chunks.map((_, chunk) => shown(raid10, chunk, 128))).toEqual(chunks);
  });

  it.each([
    ["n2", 4, 12, 24],
    ["n2", 3, 5, 7],
    ["n3", 5, 4, 6],
    ["f2", 4, 13, 24],
    ["o2", 3, 7, 9],
  ])("%s on %i members of %i chunks has %i chunks", (layout, raidDisks, rows, chunks) => {
    expect(make(layout, raidDisks, 8, rows).size).toBe(chunks * 8);
  });
});

/** Layouts that md can be told to make, on every number of members up to 9. */
const shapes = fc
  .record({
    kind: fc.constantFrom("n", "f", "o"),
    copies: fc.integer({ min: 2, max: 4 }),
    more: fc.integer({ min: 0, max: 7 }),
    chunkShift: fc.integer({ min: 3, max: 13 }),
    rows: fc.integer({ min: 1, max: 40 }),
    small: fc.boolean(),
  })
  .filter(({ copies, more }) => copies + more <= 9)
  .map(({ kind, copies, more, chunkShift, rows, small }) => ({
    // The small far sets that newer kernels can make.
    layout: word(`${kind}${copies}`) | (small && kind !== "n" ? 0x4_0000 : 0),
    raidDisks: copies + more,
    copies,
    chunk: 2 ** chunkShift,
    memberSize: sector(rows * 2 ** chunkShift + (rows % 7)),
  }));

describe("RAID10, any layout, chunk and number of members", () => {
  it("has each sector on as many distinct members as it has copies, and no place twice", () => {
    fc.assert(
      fc.property(shapes, ({ layout, raidDisks, copies, chunk, memberSize }) => {
        const raid10 = new Raid10({ layout, raidDisks, chunkSectors: chunk, memberSize });
        expect(raid10.copies).toBe(copies);
        const taken = new Set<string>();
        for (let at = 0; at < raid10.size; at += chunk) {
          // Any sector of the chunk will do: the whole of it lies in one piece.
          const within = (at / chunk) % chunk;
          const places = placesOf(raid10, at + within);
          expect(new Set(places.map(([disk]) => disk)).size).toBe(copies);
          for (const [disk, on] of places) {
            expect(on).toBeLessThan(memberSize);
            expect(raid10.arraySectorAt(disk, on)).toBe(at + within);
            expect(on % chunk).toBe(within);
            const place = `${disk}:${on - within}`;
            expect(taken.has(place)).toBe(false);
            taken.add(place);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it("finds nothing on a member where nothing was put", () => {
    fc.assert(
      fc.property(shapes, ({ layout, raidDisks, chunk, memberSize }) => {
        const raid10 = new Raid10({ layout, raidDisks, chunkSectors: chunk, memberSize });
        const taken = new Set<string>();
        for (let at = 0; at < raid10.size; at += chunk) {
          for (const [disk, on] of placesOf(raid10, at)) taken.add(`${disk}:${on}`);
        }
        for (let disk = 0; disk < raidDisks; disk++) {
          for (let on = 0; on < memberSize; on += chunk) {
            expect(raid10.arraySectorAt(disk, on) !== -1).toBe(taken.has(`${disk}:${on}`));
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it("survives without some members exactly if every chunk has a copy left", () => {
    fc.assert(
      fc.property(shapes, fc.integer({ min: 0, max: 511 }), ({ layout, raidDisks, chunk, memberSize }, mask) => {
        const raid10 = new Raid10({
          layout,
          raidDisks,
          chunkSectors: chunk,
          memberSize: sector(memberSize + 64 * chunk),
        });
        const alive = Uint8Array.from({ length: raidDisks }, (_, disk) => (mask >> disk) & 1);
        let survives = true;
        const lasts = new Set<number>();
        for (let at = 0; at < raid10.size; at += chunk) {
          const disks = placesOf(raid10, at).map(([disk]) => disk);
          survives &&= disks.some((disk) => alive[disk] === 1);
          for (const disk of disks) if (!disks.some((other) => other !== disk && alive[other] === 1)) lasts.add(disk);
        }
        expect(raid10.survives(alive)).toBe(survives);
        for (let disk = 0; disk < raidDisks; disk++) expect(raid10.isLastCopy(disk, alive)).toBe(lasts.has(disk));
      }),
      { numRuns: 200 },
    );
  });

  it("knows how far members are filled when the array is, and the other way round", () => {
    fc.assert(
      fc.property(shapes, fc.nat(), ({ layout, raidDisks, chunk, memberSize }, any) => {
        const raid10 = new Raid10({ layout, raidDisks, chunkSectors: chunk, memberSize });
        const at = sector(any % (raid10.size + 1));
        const filled = raid10.memberFilledTo(at);
        for (let disk = 0; disk < raidDisks; disk++) {
          for (let on = 0; on < filled; on += chunk) {
            expect(raid10.arraySectorAt(disk, on), `${disk}:${on} below ${filled}`).toBeLessThan(at);
          }
        }
        const memberAt = sector(any % (memberSize + 1));
        const below = raid10.arrayFilledTo(memberAt);
        for (let from = 0; from < below; from += chunk) {
          for (const [, on] of placesOf(raid10, from)) expect(on).toBeLessThan(memberAt);
        }
        expect(raid10.memberFilledTo(raid10.size)).toBeLessThanOrEqual(memberSize);
        expect(raid10.arrayFilledTo(memberSize)).toBe(raid10.size);
        // What a checkpoint wrote down is no step back for who goes on from it, by more than a row.
        if (layout < 0x200) expect(at - raid10.arrayFilledTo(filled)).toBeLessThanOrEqual((raidDisks + 1) * chunk);
      }),
      { numRuns: 200 },
    );
  });
});

describe("RAID10", () => {
  it.each([
    ["n2", 4, [1, 1, 0, 1], true],
    ["n2", 4, [0, 1, 1, 0], true],
    ["n2", 4, [1, 1, 0, 0], false],
    ["n2", 3, [1, 1, 0], true],
    ["n2", 3, [1, 0, 0], false],
    ["n3", 3, [0, 1, 0], true],
    ["n2", 5, [1, 0, 1, 1, 0], true],
    ["n2", 5, [1, 1, 0, 0, 1], false],
    ["f2", 4, [0, 1, 0, 1], true],
    ["f2", 4, [0, 0, 1, 1], false],
    [0x4_0201, 4, [0, 1, 1, 0], true],
  ])("%s on %i members with %j left survives: %s", (layout, raidDisks, alive, survives) => {
    expect(make(layout, raidDisks).survives(Uint8Array.from(alive))).toBe(survives);
  });

  it("with all members copies of each other needs no cuts", () => {
    expect(make("n3", 3).contiguous(sector(5), sector(90))).toBe(85);
    expect(make("n2", 3).contiguous(sector(5), sector(90))).toBe(3);
    expect(make("n2", 3).contiguous(sector(5), sector(7))).toBe(2);
  });

  it("takes another size, where no data moves for it", () => {
    const small = make("n2", 5, 8, 5);
    const large = make("n2", 5, 8, 40);
    const grown = small.resized(5, large.size);
    for (const at of [0, 99, large.size - 1]) expect(placesOf(grown, at)).toEqual(placesOf(large, at));
    expect(() => small.resized(6, large.size)).toThrow(MdError);
    expect(() => small.resized(5, sector(large.size + 8))).toThrow(MdError);
    expect(() => make("f2", 4).resized(4, sector(800))).toThrow(MdError);
    expect(make("o2", 4).resized(4, sector(800)).size).toBe(800);
  });

  it.each([
    ["copies of one set on fewer members", 0x2_0201, 3],
    ["far copies of two members on one", 0x4_0202, 9],
    ["near copies that go round into the row of offset copies", 0x1_0202, 5],
  ])("refuses a layout that puts two copies in one place: %s", (_, layout, raidDisks) => {
    expect(() => make(layout, raidDisks)).toThrow(MdError);
  });
});
