import { assert } from "../base/assert.ts";

/** Bitmaps are `Uint8Array`s of bits, least significant first, as on disk after the superblock. */

const populationOf = Uint8Array.from({ length: 256 }, (_, byte) => {
  let bits = 0;
  for (let rest = byte; rest > 0; rest >>= 1) bits += rest & 1;
  return bits;
});

/** Sets in `into` every bit that `from` has. Returns how many were new. */
export function mergeBits(into: Uint8Array, from: Uint8Array): number {
  assert(into.length === from.length, "bitmaps of one array have one size");
  let added = 0;
  for (let i = 0; i < into.length; i++) {
    const before = into[i] ?? 0;
    const after = before | (from[i] ?? 0);
    added += (populationOf[after] ?? 0) - (populationOf[before] ?? 0);
    into[i] = after;
  }
  return added;
}

export const bitIsSet = (bits: Uint8Array, chunk: number): boolean =>
  ((bits[Math.floor(chunk / 8)] ?? 0) & (1 << (chunk % 8))) !== 0;

/** Set bits among the first `chunks`: what lies past them is filling. */
export function countBits(bits: Uint8Array, chunks: number): number {
  let count = 0;
  const whole = Math.floor(chunks / 8);
  for (let i = 0; i < whole; i++) count += populationOf[bits[i] ?? 0] ?? 0;
  const rest = chunks % 8;
  if (rest > 0) count += populationOf[(bits[whole] ?? 0) & ((1 << rest) - 1)] ?? 0;
  return count;
}

/** Clears what lies past the last chunk, so that filling is never taken for work. */
export function trimBits(bits: Uint8Array, chunks: number): void {
  const rest = chunks % 8;
  const whole = Math.floor(chunks / 8);
  if (rest > 0) bits[whole] = (bits[whole] ?? 0) & ((1 << rest) - 1);
  bits.fill(0, rest > 0 ? whole + 1 : whole);
}

/** Clears the bits of chunks [from, end). */
export function clearBits(bits: Uint8Array, from: number, end: number): void {
  for (let chunk = from; chunk < end; chunk++) bits[chunk >> 3] = (bits[chunk >> 3] ?? 0) & ~(1 << (chunk & 7));
}

/** Numbers of the set bits among the first `chunks`, ascending. */
export function* setBits(bits: Uint8Array, chunks: number): Generator<number> {
  for (let i = 0; i * 8 < chunks; i++) {
    const byte = bits[i] ?? 0;
    if (byte === 0) continue;
    for (let bit = 0; bit < 8 && i * 8 + bit < chunks; bit++) {
      if ((byte & (1 << bit)) !== 0) yield i * 8 + bit;
    }
  }
}
