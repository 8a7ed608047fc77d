import fc from "fast-check";
import { expect, it } from "vitest";
import { bitIsSet, countBits, mergeBits, setBits, trimBits } from "../../src/bitmap/bitmap-merge.ts";

const chunkCount = 77;
const chunkSet = fc.uniqueArray(fc.nat(chunkCount - 1));

const bitmapOf = (chunks: readonly number[]): Uint8Array => {
  const bits = new Uint8Array(Math.ceil(chunkCount / 8));
  for (const chunk of chunks) bits[chunk >> 3] = (bits[chunk >> 3] ?? 0) | (1 << (chunk & 7));
  return bits;
};

it("folds one bitmap into another as sets are united", () => {
  fc.assert(
    fc.property(chunkSet, chunkSet, (mine, theirs) => {
      const into = bitmapOf(mine);
      const union = new Set([...mine, ...theirs]);
      expect(mergeBits(into, bitmapOf(theirs))).toBe(union.size - mine.length);
      expect([...setBits(into, chunkCount)]).toEqual([...union].sort((a, b) => a - b));
      expect(countBits(into, chunkCount)).toBe(union.size);
      for (let chunk = 0; chunk < chunkCount; chunk++) expect(bitIsSet(into, chunk)).toBe(union.has(chunk));
    }),
  );
});

it("takes no notice of what lies past the last chunk, and trims it", () => {
  for (let chunks = 1; chunks <= 80; chunks++) {
    const bits = new Uint8Array(10).fill(0xff);
    expect(countBits(bits, chunks)).toBe(chunks);
    expect([...setBits(bits, chunks)]).toHaveLength(chunks);
    trimBits(bits, chunks);
    expect(countBits(bits, 80)).toBe(chunks);
  }
});
