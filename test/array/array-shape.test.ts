import { describe, expect, it } from "vitest";
import { memberSizeFor, planShape, type ShapeChange, shapeOf, withShape } from "../../src/array/array-shape.ts";
import { planCreate } from "../../src/array/create-array.ts";
import type { MdArray } from "../../src/array/md-array.ts";
import { superblockOf } from "../../src/array/superblock-of.ts";
import { sector } from "../../src/base/units.ts";
import { bitmapLayout, slotStart } from "../../src/bitmap/bitmap-layout.ts";
import { checkSuperblock } from "../../src/superblock/superblock-validity.ts";
import { createRequest } from "./example.ts";

const MIB = 2048;
const nothing: ShapeChange = { size: null, raidDisks: null, chunkBytes: null, stripeSectors: null };
const rooms = (...sectors: number[]) => sectors.map((each, i) => ({ path: `/dev/d${i}`, sectors: each }));

function array(memberSize: number, chunkBytes = 65_536, members = 2): MdArray {
  const request = createRequest(Array.from({ length: members }, () => 4096 * MIB));
  return planCreate({ ...request, memberSize: sector(memberSize), chunkBytes });
}

describe("a size", () => {
  it.each([
    // Not a multiple of a chunk, of eight chunks, of a page of bits.
    [10 * MIB, 20 * MIB + 2],
    [10 * MIB + 2, 1000 * MIB + 126],
    [20_000, 20_480],
    [100 * MIB, 10 * MIB + 34],
  ])("from %i to %i sectors moves no slot", (from, to) => {
    const before = array(from);
    const shape = planShape(before, { ...nothing, size: sector(to) }, rooms(to, to + 1));
    expect(shape.memberSize).toBe(to);
    const after = bitmapLayout(to, shape.chunkBytes);
    for (let slot = 0; slot < 4; slot++) {
      expect(slotStart(after, 8, 8, slot)).toBe(slotStart(before.bitmap.layout, 8, 8, slot));
    }
    expect(after.chunks * after.chunkSectors).toBeGreaterThanOrEqual(to);
    expect((after.chunks - 1) * after.chunkSectors).toBeLessThan(to);
  });

  it("takes a larger chunk when the bits outgrow their page, and only then", () => {
    const before = array(100 * MIB, 4096);
    const limit = 30_720 * 8;
    const size = (to: number): number => planShape(before, { ...nothing, size: sector(to) }, rooms(to)).chunkBytes;
    expect(size(limit)).toBe(4096);
    expect(size(limit + 2)).toBe(8192);
    expect(size(limit * 4)).toBe(16_384);
  });

  it("is refused where no chunk keeps the slots in their places, and says so", () => {
    // 3 pages: no power of two fills 3 with more bits than twice as many.
    const three = { ...array(1600 * MIB, 65_536) };
    const layout = bitmapLayout(1000 * MIB, 8192);
    expect(layout.pages).toBe(4);
    const moved = { ...three, bitmap: { ...three.bitmap, layout: bitmapLayout(700 * MIB, 8192) } };
    expect(moved.bitmap.layout.pages).toBe(3);
    expect(() => planShape(moved, { ...nothing, size: sector(1000 * MIB) }, rooms(1000 * MIB))).toThrowError(
      expect.objectContaining({ code: "E_VALUE", why: expect.stringContaining("3 pages") }),
    );
  });

  it("of max is what all members have, in whole KiB", () => {
    const wanted = { ...nothing, size: "max" } as const;
    expect(planShape(array(10 * MIB), wanted, rooms(90_001, 80_003)).memberSize).toBe(80_002);
  });

  it.each([
    [sector(30 * MIB), "E_DEVICE_SMALL", "/dev/d1 has 51200 sectors"],
    [sector(20 * MIB + 1), "E_VALUE", "whole KiB"],
    [sector(126), "E_VALUE", "from 64 on"],
    [sector(0), "E_VALUE", "from 64 on"],
  ])("of %s is refused: %s", (size, code, text) => {
    expect(() => planShape(array(10 * MIB), { ...nothing, size }, rooms(1000 * MIB, 25 * MIB))).toThrowError(
      expect.objectContaining({ code, message: expect.stringContaining(text) }),
    );
  });

  it("gives superblocks that every node believes, also of members that were made larger", () => {
    const before = array(10 * MIB);
    const member = { ...before.members[0], dataSize: sector(12 * MIB) } as MdArray["members"][number];
    const grown = withShape(
      { ...before, members: [member] },
      { memberSize: sector(20 * MIB), raidDisks: 2, stripeSectors: 0 },
    );
    const [only] = grown.members;
    if (only === undefined) throw new Error("no member");
    const deviceSize = sector(only.dataOffset + 20 * MIB);
    checkSuperblock(superblockOf(grown, only), { path: "d", at: only.superOffset, deviceSize });
    expect(grown.size).toBe(20 * MIB);
  });
});

describe("a RAID10", () => {
  const striped = (members: number, layout: number, sectors: number) =>
    planCreate({
      ...createRequest(Array.from({ length: members }, () => 4096 * MIB)),
      level: 10,
      layout,
      stripeBytes: 65_536,
      // With far copies it is one node's.
      ...(layout < 0x200 ? {} : { bitmap: "internal" }),
      memberSize: sector(sectors),
      chunkBytes: 65_536,
    });

  it.each([
    [2, 0x102, 40_000, 100_000],
    [3, 0x102, 40_000, 39_000],
    [5, 0x102, 40_000, 100_001],
    [4, 0x103, 40_000, 500_000],
    [3, 0x1_0201, 40_000, 77_777],
    [5, 0x1_0301, 40_000, 30_000],
  ])("on %i members with layout %i uses whole chunks of %i -> %i sectors", (members, layout, from, to) => {
    const before = striped(members, layout, from);
    const { memberSize } = planShape(before, { ...nothing, size: sector(to) }, rooms(to + 200));
    expect(memberSize).toBe(Math.floor(to / 128) * 128);
    const grown = withShape(before, { memberSize, raidDisks: members, stripeSectors: 128 });
    expect(memberSizeFor(before, grown.size)).toBeLessThanOrEqual(memberSize);
    const again = withShape(before, { ...grown, memberSize: memberSizeFor(before, grown.size), stripeSectors: 128 });
    expect(again.size).toBe(grown.size);
  });

  it("with far copies keeps its size: what lies behind would move", () => {
    for (const size of [sector(80_000), "max"] as const) {
      expect(() => planShape(striped(4, 0x201, 40_000), { ...nothing, size }, rooms(100_000))).toThrowError(
        expect.objectContaining({
          code: "E_LEVEL_UNSUPPORTED",
          message: expect.stringContaining("the size of the raid10"),
        }),
      );
    }
  });

  it("changes its chunk only where that moves nothing", () => {
    const chunk = (array: MdArray) => planShape(array, { ...nothing, stripeSectors: 64 }, []).stripeSectors;
    expect(chunk(striped(2, 0x102, 40_000))).toBe(64);
    expect(chunk(striped(3, 0x103, 40_000))).toBe(64);
    for (const cut of [striped(4, 0x102, 40_000), striped(3, 0x102, 40_000), striped(2, 0x201, 40_000)]) {
      expect(() => chunk(cut)).toThrowError(expect.objectContaining({ code: "E_LEVEL_UNSUPPORTED" }));
    }
    expect(() => chunk(array(10 * MIB))).toThrowError(expect.objectContaining({ code: "E_VALUE" }));
  });
});

describe("a number of raid-devices", () => {
  it("goes up, and down over vacant places only", () => {
    const three = array(10 * MIB, 65_536, 3);
    expect(planShape(three, { ...nothing, raidDisks: 5 }, []).raidDisks).toBe(5);
    expect(() => planShape(three, { ...nothing, raidDisks: 2 }, [])).toThrowError(
      expect.objectContaining({ code: "E_MEMBER_ACTIVE", message: expect.stringContaining("raid disk 2") }),
    );
    const vacant = { ...three, members: three.members.slice(0, 2) };
    expect(planShape(vacant, { ...nothing, raidDisks: 2 }, []).raidDisks).toBe(2);
    expect(() => planShape(vacant, { ...nothing, raidDisks: 0 }, [])).toThrowError();
  });
});

describe("a bitmap chunk", () => {
  it.each([
    [4096, true],
    [2 ** 26, true],
    [2048, false],
    [6000, false],
    [2 ** 32, false],
  ])("of %i bytes: %s", (chunkBytes, possible) => {
    const plan = () => planShape(array(10 * MIB), { ...nothing, chunkBytes }, []).chunkBytes;
    if (possible) expect(plan()).toBe(chunkBytes);
    else expect(plan).toThrowError(expect.objectContaining({ code: "E_VALUE" }));
  });

  it("whose bits would take more pages is refused with those that fit", () => {
    expect(() => planShape(array(1000 * MIB), { ...nothing, chunkBytes: 4096 }, [])).toThrowError(
      expect.objectContaining({ why: expect.stringContaining("chunks from 65536 to") }),
    );
  });
});

it("nothing wanted is nothing changed", () => {
  for (const before of [array(130), array(10 * MIB + 2, 8192), array(1000 * MIB)]) {
    expect(planShape(before, nothing, [])).toEqual(shapeOf(before));
  }
});
