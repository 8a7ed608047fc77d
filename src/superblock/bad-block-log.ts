/** Where a member's list of bad blocks is, as its superblock says. */
export interface BadBlockLog {
  /** Sectors from the superblock; may be negative. */
  readonly offset: number;
  readonly sectors: number;
  /** Lengths and places are in units of 2^shift sectors. */
  readonly shift: number;
}

/** Sectors of the device, data offset included. */
export interface BadBlock {
  readonly at: number;
  readonly sectors: number;
}

const ENTRY_BYTES = 8;
const LENGTH_BITS = 10n;
const LENGTH_MASK = (1n << LENGTH_BITS) - 1n;
const END = 0xffff_ffff_ffff_ffffn;

/** The entries before the first one of all ones (on-disk format, section 5). */
export function decodeBadBlocks(log: Uint8Array, shift: number): readonly BadBlock[] {
  const view = new DataView(log.buffer, log.byteOffset, log.byteLength);
  const found: BadBlock[] = [];
  for (let at = 0; at + ENTRY_BYTES <= log.byteLength; at += ENTRY_BYTES) {
    const entry = view.getBigUint64(at, true);
    if (entry === END) break;
    const unit = 2 ** shift;
    found.push({ at: Number(entry >> LENGTH_BITS) * unit, sectors: Number(entry & LENGTH_MASK) * unit });
  }
  return found;
}
