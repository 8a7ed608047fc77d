import type { SectorRange } from "../base/units.ts";

/** Where a member's list of bad blocks is, as its superblock says, and what is in it. */
export interface BadBlockLog {
  /** Sectors from the superblock; may be negative. */
  readonly offset: number;
  readonly sectors: number;
  /** Lengths and places are in units of 2^shift sectors. */
  readonly shift: number;
  /** One for each entry on disk. */
  readonly entries: readonly BadBlock[];
}

/** Sectors of the device, data offset included. */
export interface BadBlock {
  readonly at: number;
  readonly sectors: number;
}

const ENTRY_BYTES = 8;
const ENTRIES_PER_SECTOR = 64;
const LENGTH_BITS = 10n;
const LENGTH_MASK = (1n << LENGTH_BITS) - 1n;
const END = 0xffff_ffff_ffff_ffffn;
/** Units that one entry can name. */
const MOST_UNITS = 512;

/** Sectors of a log that we make: 512 entries, as mdadm's. */
export const LOG_SECTORS = 8;

/** How many entries a log of so many sectors takes. */
export const logRoom = (sectors: number): number => sectors * ENTRIES_PER_SECTOR;

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

/** The log of `bytes` bytes that holds these entries; there is room for them. */
export function encodeBadBlocks(entries: readonly BadBlock[], shift: number, bytes: number): Uint8Array {
  const log = new Uint8Array(bytes).fill(0xff);
  const view = new DataView(log.buffer);
  const unit = 2 ** shift;
  for (const [i, { at, sectors }] of entries.entries()) {
    view.setBigUint64(i * ENTRY_BYTES, (BigInt(at / unit) << LENGTH_BITS) | BigInt(sectors / unit), true);
  }
  return log;
}

/** Sectors that one entry can name. */
export const longestEntry = (shift: number): number => MOST_UNITS * 2 ** shift;

/** Entries for ranges of sectors of the device that are ascending, apart, and of whole units. */
export function entriesOf(ranges: readonly SectorRange[], shift: number): readonly BadBlock[] {
  const longest = longestEntry(shift);
  return ranges.flatMap(({ lo, hi }) =>
    Array.from({ length: Math.ceil((hi - lo) / longest) }, (_, i) => {
      const at = lo + i * longest;
      return { at, sectors: Math.min(longest, hi - at) };
    }),
  );
}

const isSame = (a: BadBlock, b: BadBlock): boolean => a.at === b.at && a.sectors === b.sectors;
const overlap = (a: BadBlock, b: BadBlock): boolean => a.at < b.at + b.sectors && b.at < a.at + a.sectors;

/**
 * What is to be written, one after the other and each durably, for a log that holds `held` to hold `wanted`; null: there
 * is no room for it. A power cut may leave any sectors of a write, and no checksum tells. So whatever mixture it leaves
 * must name what both lists name: what is new is put behind the rest, what stays keeps its place or is there twice.
 */
export function logSteps(
  held: readonly BadBlock[],
  wanted: readonly BadBlock[],
  room: number,
): readonly (readonly BadBlock[])[] | null {
  const steps: (readonly BadBlock[])[] = [];
  const added = wanted.filter((one) => !held.some((other) => isSame(one, other)));
  let now = held;
  const keepOnly = (isWanted: (one: BadBlock) => boolean): void => {
    const kept = now.filter((one, i) => isWanted(one) && now.findIndex((other) => isSame(one, other)) === i);
    if (kept.length === now.length) return;
    const moved = compact(now, kept);
    steps.push(moved, moved.slice(0, kept.length));
    now = moved.slice(0, kept.length);
  };
  // What is no longer bad may go first; what is only said in another way may not.
  if (now.length + added.length > room) keepOnly((one) => wanted.some((other) => overlap(one, other)));
  if (now.length + added.length > room) return null;
  const most = now.length + added.length;
  if (added.length > 0) {
    now = [...now, ...added];
    steps.push(now);
  }
  keepOnly((one) => wanted.some((other) => isSame(one, other)));
  // A single sector is written whole or not at all.
  return most <= ENTRIES_PER_SECTOR && steps.length > 1 && held.length <= ENTRIES_PER_SECTOR ? steps.slice(-1) : steps;
}

/** `now` with each of `kept`, which it has, somewhere among its first `kept.length` entries; none has left its old place. */
function compact(now: readonly BadBlock[], kept: readonly BadBlock[]): readonly BadBlock[] {
  const moved = [...now];
  const isThere = (one: BadBlock): boolean => moved.slice(0, kept.length).some((other) => isSame(one, other));
  const late = kept.filter((one) => !isThere(one));
  const seen: BadBlock[] = [];
  for (let i = 0; i < kept.length; i++) {
    const one = moved[i];
    if (one === undefined) continue;
    const stays = kept.some((other) => isSame(one, other)) && !seen.some((other) => isSame(one, other));
    if (stays) seen.push(one);
    else moved[i] = late.shift() ?? one;
  }
  return moved;
}
