import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { overlaps } from "../../src/base/units.ts";
import { bitmapLayout, chunkRange } from "../../src/bitmap/bitmap-layout.ts";
import { setBits } from "../../src/bitmap/bitmap-merge.ts";
import { bitsOfRange, convertBits } from "../../src/bitmap/resize-bits.ts";

const size = fc.integer({ min: 1, max: 400 });
const chunk = fc.integer({ min: 0, max: 6 }).map((shift) => 512 * 2 ** shift);

describe("converting bits", () => {
  it("covers every sector that was covered, below both ends, and no chunk without reason", () => {
    fc.assert(
      fc.property(size, chunk, size, chunk, fc.uint8Array({ minLength: 50, maxLength: 50 }), (a, ca, b, cb, random) => {
        const from = bitmapLayout(a, ca);
        const to = bitmapLayout(b, cb);
        const bits = random.slice(0, Math.ceil(from.chunks / 8));
        const before = [...setBits(bits, from.chunks)].map((one) => chunkRange(from, one));
        const converted = convertBits(bits, from, to);
        expect(converted.length).toBe(Math.ceil(to.chunks / 8));
        const after = new Set(setBits(converted, converted.length * 8));
        const chunks = Array.from({ length: to.chunks }, (_, one) => one);
        const expected = chunks.filter((one) => before.some((each) => overlaps(each, chunkRange(to, one))));
        expect([...after]).toEqual(expected);
      }),
    );
  });

  it("is the identity between equal layouts", () => {
    const layout = bitmapLayout(4097, 512);
    const bits = Uint8Array.from({ length: 513 }, (_, i) => (i * 37) & 0xff);
    bits[512] = 1;
    expect(convertBits(bits, layout, layout)).toEqual(bits);
  });
});

describe("the bits of a range", () => {
  it.each([
    // Sizes that are no multiple of a chunk, of 8 chunks, of a page of bits.
    [1000, 64, 900, 1000, [14, 15]],
    [1024, 64, 960, 1024, [15]],
    [1025, 64, 1024, 1025, [16]],
    [1000, 64, 0, 1, [0]],
    [1000, 64, 448, 640, [7, 8, 9]],
  ])("%i sectors in chunks of %i: [%i, %i)", (syncSize, chunkSectors, lo, hi, expected) => {
    const layout = bitmapLayout(syncSize, chunkSectors * 512);
    const bits = bitsOfRange(layout, lo, hi);
    expect([...setBits(bits, layout.chunks)]).toEqual(expected);
    expect(bits.length).toBe(Math.ceil(layout.chunks / 8));
  });
});
