import { SECTOR_SIZE } from "../base/units.ts";

/** What sectors are filled with: which write it was and where it belongs, over and over. Zeros are write 0. */
export function stampSector(into: Uint8Array, write: number, sector: number): void {
  const words = new Uint32Array(into.buffer, into.byteOffset, SECTOR_SIZE / 4);
  for (let i = 0; i < words.length; i += 2) {
    words[i] = write;
    words[i + 1] = write === 0 ? 0 : sector;
  }
}

/** Which write a sector's content is of; null: of none, of several, or of another place. */
export function readStamp(content: Uint8Array, sector: number): number | null {
  const view = new DataView(content.buffer, content.byteOffset, SECTOR_SIZE);
  const write = view.getUint32(0, true);
  const place = write === 0 ? 0 : sector;
  for (let i = 0; i < SECTOR_SIZE; i += 8) {
    if (view.getUint32(i, true) !== write || view.getUint32(i + 4, true) !== place) return null;
  }
  return write;
}
