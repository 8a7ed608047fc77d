import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { sector } from "../../src/base/units.ts";
import { Raid10 } from "../../src/raid10/raid10.ts";
import {
  copiesOf,
  decodeRaid10Layout,
  keepsCopiesApart,
  parseRaid10Layout,
  raid10LayoutName,
} from "../../src/superblock/raid10-layout.ts";
import { allSubsets, mdEnough, mdPlaces, mdSize, placesOf } from "../support/raid10.ts";

const word = (layout: string | number): number =>
  typeof layout === "number" ? layout : (parseRaid10Layout(layout) ?? Number.NaN);

const make = (layout: string | number, raidDisks: number, chunkSectors = 8, rows = 12): Raid10 =>
  new Raid10({ layout: word(layout), raidDisks, chunkSectors, memberSize: sector(rows * chunkSectors) });

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

const SMALL_SETS = 0x4_0000;
const OLD_SETS = 0x2_0000;

/** Every layout of one kind of copies or both, with any far sets, that `raidDisks` members can have. */
function layoutsOn(raidDisks: number, mostCopies = 4): number[] {
  const words: number[] = [];
  for (let near = 1; near <= mostCopies; near++) {
    for (let far = 1; near * far <= Math.min(raidDisks, mostCopies); far++) {
      if (near * far < 2) continue;
      const plain = (far << 8) | near;
      words.push(plain);
      if (far === 1) continue;
      for (const sets of [SMALL_SETS, OLD_SETS]) words.push(plain | sets);
      for (const sets of [0, SMALL_SETS, OLD_SETS]) words.push(plain | 0x1_0000 | sets);
    }
  }
  return words;
}

const nine = [2, 3, 4, 5, 6, 7, 8, 9];
const everyLayout = nine.flatMap((raidDisks) => layoutsOn(raidDisks).map((layout) => ({ raidDisks, layout })));
const possible = everyLayout.filter(({ layout, raidDisks }) => keepsCopiesApart(decodeRaid10Layout(layout), raidDisks));

/** Chunks from 4 KiB to 4 MiB, and members that are no multiple of them. */
const shapes = fc
  .record({
    kind: fc.constantFrom(...possible),
    chunkShift: fc.integer({ min: 3, max: 13 }),
    rows: fc.integer({ min: 1, max: 40 }),
  })
  .map(({ kind: { layout, raidDisks }, chunkShift, rows }) => ({
    layout,
    raidDisks,
    copies: copiesOf(decodeRaid10Layout(layout)),
    chunk: 2 ** chunkShift,
    memberSize: sector(rows * 2 ** chunkShift + (rows % 7)),
  }));

describe("RAID10 beside md's formula, for every layout of up to four copies on two to nine members", () => {
  it("has the same map", () => {
    for (const { layout, raidDisks } of possible) {
      for (const rows of [1, 7, 12]) {
        const geometry = { layout, raidDisks, chunkSectors: 8, memberSize: sector(rows * 8) };
        const raid10 = new Raid10(geometry);
        expect(raid10.size, `${layout.toString(16)} on ${raidDisks}`).toBe(mdSize(geometry));
        for (let at = 3; at < raid10.size; at += 8) expect(placesOf(raid10, at)).toEqual(mdPlaces(geometry, at));
      }
    }
  });

  it("refuses exactly the layouts by which two copies fall on one member or one place", () => {
    const refused = everyLayout.filter((each) => !possible.includes(each));
    const colliding = everyLayout.filter(({ layout, raidDisks }) => {
      const geometry = { layout, raidDisks, chunkSectors: 8, memberSize: sector(36 * 8) };
      const taken = new Set<string>();
      for (let at = 0; at < mdSize(geometry); at += 8) {
        const places = mdPlaces(geometry, at);
        if (new Set(places.map(([disk]) => disk)).size < places.length) return true;
        for (const [disk, on] of places) {
          if (taken.has(`${disk}:${on}`)) return true;
          taken.add(`${disk}:${on}`);
        }
      }
      return false;
    });
    expect(refused).toEqual(colliding);
    expect(refused.length).toBeGreaterThan(20);
    // What is made with one kind of copies, without far sets, is never among them.
    expect(refused.every(({ layout }) => layout > 0xffff || (layout & 0xff) > 1)).toBe(true);
  });

  it("goes on without the same members as md does, any of them", () => {
    for (const { layout, raidDisks } of possible) {
      if (layout >> 17 !== 0) continue;
      const raid10 = make(layout, raidDisks);
      for (const alive of allSubsets(raidDisks)) {
        const enough = mdEnough({ layout, raidDisks }, alive);
        expect(raid10.survives(alive), `${layout.toString(16)} on ${alive}`).toBe(enough);
        if (!enough) continue;
        for (let disk = 0; disk < raidDisks; disk++) {
          if (alive[disk] === 0) continue;
          const without = alive.with(disk, 0);
          expect(raid10.isLastCopy(disk, alive)).toBe(!mdEnough({ layout, raidDisks }, without));
        }
      }
    }
  });

  it("with far sets knows which data is gone where md's walk does not", () => {
    // Sets of 0, 1 and of 2, 3, 4: md asks for one of any two neighbours.
    const [layout, raidDisks] = [0x201 | SMALL_SETS, 5];
    const lost = Uint8Array.of(1, 1, 0, 1, 0);
    expect(mdEnough({ layout, raidDisks }, lost)).toBe(true);
    expect(make(layout, raidDisks).survives(lost)).toBe(false);
    const fine = Uint8Array.of(1, 0, 0, 1, 1);
    expect(mdEnough({ layout, raidDisks }, fine)).toBe(false);
    expect(make(layout, raidDisks).survives(fine)).toBe(true);
  });
});

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
        const pass = any % raid10.fillPasses;
        const section = raid10.fillSection(pass);
        const filled = raid10.memberFilledTo(at, pass);
        for (let disk = 0; disk < raidDisks; disk++) {
          for (let on = section.lo as number; on < filled; on += chunk) {
            expect(raid10.arraySectorAt(disk, on), `${disk}:${on} below ${filled}`).toBeLessThan(at);
          }
        }
        // Who goes on there has filled all of it that the pass and those before it fill, and repeats a row at most.
        const next = raid10.fillFrom(filled);
        const done = next.pass * raid10.size + next.at;
        expect(done).toBeLessThanOrEqual(pass * raid10.size + at);
        expect(pass * raid10.size + at - done).toBeLessThanOrEqual((raidDisks + 1) * chunk);
        for (let from = 0; from < raid10.size; from += chunk) {
          // Each copy is in the section of one pass.
          for (const [, on] of placesOf(raid10, from)) {
            const sections = Array.from({ length: raid10.fillPasses }, (_, one) => raid10.fillSection(one));
            expect(sections.filter(({ lo, hi }) => lo <= on && on < hi).length).toBe(1);
          }
          const passes = from < next.at ? next.pass + 1 : next.pass;
          for (let done = 0; done < passes; done++) {
            const { lo, hi } = raid10.fillSection(done);
            for (const [, on] of placesOf(raid10, from)) if (lo <= on && on < hi) expect(on).toBeLessThan(filled);
          }
        }
        const memberAt = sector(any % (memberSize + 1));
        const below = raid10.arrayFilledTo(memberAt);
        for (let from = 0; from < below; from += chunk) {
          for (const [, on] of placesOf(raid10, from)) expect(on).toBeLessThan(memberAt);
        }
        expect(raid10.memberFilledTo(raid10.size, raid10.fillPasses - 1)).toBeLessThanOrEqual(memberSize);
        expect(raid10.arrayFilledTo(memberSize)).toBe(raid10.size);
      }),
      { numRuns: 200 },
    );
  });
});

describe("the name of a layout", () => {
  it("is read back as the layout, but for its far sets", () => {
    for (const { layout } of everyLayout) expect(parseRaid10Layout(raid10LayoutName(layout))).toBe(layout & 0x1_ffff);
    for (const text of ["", "n", "2", "n0", "f0", "n2f", "f2n2", "n256", "o256", "n02", "x2", "n2 "]) {
      expect(parseRaid10Layout(text), text).toBeNull();
    }
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
    ["a kind of far sets that md does not know", 0x6_0201, 4],
    ["only one copy", 0x101, 4],
    ["more copies than members", 0x104, 3],
  ])("refuses a layout that puts two copies in one place: %s", (_, layout, raidDisks) => {
    expect(() => make(layout, raidDisks)).toThrow(MdError);
  });
});
