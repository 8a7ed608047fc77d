import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bitmapLayout,
  bitmapSpace,
  byteOfBit,
  chunkAt,
  chunkRange,
  defaultChunkBytes,
  maskOfBit,
  maxSlots,
  pageOfBit,
  slotStart,
  smallestChunkBytes,
} from "../../src/bitmap/bitmap-layout.ts";

const MIB = 2 ** 20;

describe("the table of the format, section 8 (chunks of 64 MiB)", () => {
  it.each([
    ["512 MiB", 2048, 1_046_528, 8, 8, [16, 24, 32, 40], 254],
    ["1 GiB", 4096, 2_093_056, 16, 8, [16, 24, 32, 40], 510],
    ["128 GiB", 264_192, 268_171_264, 2046, 8, [16, 24, 32, 40], 33_022],
    ["1 TiB", 264_192, 2_147_219_456, 16_382, 8, [16, 24, 32, 40], 33_022],
    ["2 TiB", 264_192, 4_294_703_104, 32_766, 16, [16, 32, 48, 64], 16_511],
    ["4 TiB", 264_192, 8_589_670_400, 65_534, 24, [16, 40, 64, 88], 11_007],
    ["16 TiB", 264_192, 34_359_474_176, 262_142, 72, [16, 88, 160, 232], 3669],
  ])("%s", (_, dataOffset, size, chunks, slotSectors, starts, nodes) => {
    const layout = bitmapLayout(size, 64 * MIB);
    expect(layout).toMatchObject({ chunks, slotSectors });
    expect([0, 1, 2, 3].map((slot) => slotStart(layout, 8, 8, slot))).toEqual(starts);
    expect(maxSlots(layout, 8, dataOffset)).toBe(nodes);
  });
});

describe("the space that mdadm reserves (6.1)", () => {
  it.each([
    [127, 0],
    [128, 8],
    [16_777_224, 8],
    [16_777_225, 128],
    [419_430_527, 128],
    [419_430_528, 256],
  ])("for %i sectors: %i", (sectors, space) => {
    expect(bitmapSpace(sectors)).toBe(space);
  });
});

describe("chunks", () => {
  it("are 64 MiB unless the space asks for more", () => {
    expect(defaultChunkBytes(1_046_528, 1_046_528)).toBe(64 * MIB);
    // 3840 bytes of bits for 8 GiB: 30720 chunks; 256 KiB is too small by the rule's extra bit.
    expect(smallestChunkBytes(16_777_216, 16_777_216)).toBe(512 * 1024);
    expect(smallestChunkBytes(129_024, 129_024)).toBe(4096);
  });

  it("cover the array without gap or overlap, the last one cut short", () => {
    const layout = bitmapLayout(1000, 65_536);
    expect(layout.chunks).toBe(8);
    expect(chunkRange(layout, 7)).toEqual({ lo: 896, hi: 1000 });
    for (let at = 0; at < 1000; at++) {
      const { lo, hi } = chunkRange(layout, chunkAt(layout, at));
      expect(lo <= at && at < hi).toBe(true);
    }
  });

  it("have their bits where section 9.2 says", () => {
    expect([byteOfBit(0), maskOfBit(0)]).toEqual([256, 1]);
    expect([byteOfBit(15), maskOfBit(15)]).toEqual([257, 128]);
    expect([30_719, 30_720, 63_487, 63_488].map(pageOfBit)).toEqual([0, 1, 1, 2]);
  });
});

it("26.14, 26.18, 26.19, K7: gives every slot its own whole pages, whatever the size", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 40 }), fc.integer({ min: 12, max: 30 }), (size, shift) => {
      const layout = bitmapLayout(size, 2 ** shift);
      expect(layout.slotSectors % 8).toBe(0);
      expect(byteOfBit(layout.chunks - 1)).toBeLessThan(layout.slotSectors * 512);
      expect(byteOfBit(layout.chunks - 1)).toBe(layout.bytes - 1);
      expect(pageOfBit(layout.chunks - 1)).toBe(layout.pages - 1);
      expect(chunkRange(layout, layout.chunks - 1).hi).toBe(size);
    }),
  );
});
