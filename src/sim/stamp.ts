import { SECTOR_SIZE } from "../base/units.ts";

const WORDS = SECTOR_SIZE / 4;

/**
 * Fills sectors of an array from `lo` on, as many as `into` holds: with which write it was and where each belongs, over
 * and over. Zeros are write 0.
 */
export function stampSectors(into: Uint8Array, write: number, lo: number): void {
  const words = new Uint32Array(into.buffer, into.byteOffset, into.byteLength / 4);
  for (let i = 0; i < words.length; i += 2) {
    words[i] = write;
    words[i + 1] = write === 0 ? 0 : lo + Math.floor(i / WORDS);
  }
}

/**
 * Which write a sector's content is of; null: of none, of several, or of another place. The content is the `index`th
 * sector of `words`.
 */
export function readStamp(words: Uint32Array, index: number, sector: number): number | null {
  const first = index * WORDS;
  const write = words[first] ?? 0;
  const place = write === 0 ? 0 : sector;
  for (let i = first; i < first + WORDS; i += 2) if (words[i] !== write || words[i + 1] !== place) return null;
  return write;
}
