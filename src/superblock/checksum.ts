/** Where the checksum itself lies: counted as zero. */
const CHECKSUM_AT = 216;

/**
 * Checksum of a superblock of `256 + 2 * max_dev` bytes: little-endian words added without wrapping, two bytes left
 * over as one half word, then folded once to 32 bits. Source: on-disk format, section 3.
 */
export function superblockChecksum(superblock: Uint8Array): number {
  const view = new DataView(superblock.buffer, superblock.byteOffset, superblock.byteLength);
  let sum = 0;
  let at = 0;
  for (; at + 4 <= superblock.byteLength; at += 4) {
    if (at !== CHECKSUM_AT) sum += view.getUint32(at, true);
  }
  if (at + 2 <= superblock.byteLength) sum += view.getUint16(at, true);
  return ((sum % 2 ** 32) + Math.floor(sum / 2 ** 32)) % 2 ** 32;
}
