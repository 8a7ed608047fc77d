import type { BitmapLayout } from "./bitmap-layout.ts";
import { bitBytes } from "./bitmap-layout.ts";
import { setBits } from "./bitmap-merge.ts";

/** What the two layouts of a conversion have to say. */
type Coverage = Pick<BitmapLayout, "syncSize" | "chunkSectors" | "chunks">;

const emptyBits = (chunks: number): Uint8Array => new Uint8Array(Math.ceil(chunks / 8));

function setRange(bits: Uint8Array, first: number, end: number): void {
  for (let chunk = first; chunk < end; chunk++) bits[chunk >> 3] = (bits[chunk >> 3] ?? 0) | (1 << (chunk & 7));
}

/**
 * The bits of one layout in another: a chunk has a bit if any chunk that it overlaps had one. What `from` did not cover
 * has none.
 */
export function convertBits(bits: Uint8Array, from: Coverage, to: Coverage): Uint8Array {
  const converted = emptyBits(to.chunks);
  for (const chunk of setBits(bits, from.chunks)) {
    const lo = chunk * from.chunkSectors;
    if (lo >= to.syncSize) break;
    const hi = Math.min(lo + from.chunkSectors, from.syncSize);
    setRange(converted, Math.floor(lo / to.chunkSectors), Math.min(Math.ceil(hi / to.chunkSectors), to.chunks));
  }
  return converted;
}

/** Bits for all chunks that [lo, hi) touches. */
export function bitsOfRange(layout: BitmapLayout, lo: number, hi: number): Uint8Array {
  const bits = new Uint8Array(bitBytes(layout));
  const end = Math.min(Math.ceil(hi / layout.chunkSectors), layout.chunks);
  setRange(bits, Math.floor(lo / layout.chunkSectors), end);
  return bits;
}
