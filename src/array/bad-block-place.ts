import { overlaps, SECTOR_SIZE, type SectorRange, sectorRange } from "../base/units.ts";
import { bitmapSpace } from "../bitmap/bitmap-layout.ts";
import { type BadBlockLog, LOG_SECTORS } from "../superblock/bad-block-log.ts";
import { isClustered, type MdArray } from "./md-array.ts";
import type { Member } from "./member.ts";

/** Sectors of the device that the member's bad-block log takes; null: it has none. Clustered arrays have none. */
export function badBlockSpan(array: Pick<MdArray, "bitmap">, member: Member): SectorRange | null {
  const { badBlockLog, superOffset } = member;
  if (badBlockLog === null || isClustered(array)) return null;
  const lo = superOffset + badBlockLog.offset;
  return sectorRange(lo, lo + badBlockLog.sectors);
}

/** Where the bitmaps have to end on a member: at the data, or before them at the bad-block log. */
export function bitmapLimit(array: Pick<MdArray, "bitmap">, member: Member): number {
  const log = badBlockSpan(array, member);
  return log === null || log.lo < member.superOffset ? member.dataOffset : Math.min(log.lo, member.dataOffset);
}

/**
 * An empty log where mdadm puts it: behind the bitmap, or the space that it keeps for one, or else right before the data,
 * where there is no bitmap. Null: there is no room. Source: on-disk format, section 5.
 */
export function newBadBlockLog(
  { bitmap, memberSize }: Pick<MdArray, "bitmap" | "memberSize">,
  { superOffset, dataOffset }: Pick<Member, "superOffset" | "dataOffset">,
): BadBlockLog | null {
  const log = { sectors: LOG_SECTORS, shift: 0, entries: [] };
  const { kind, layout, offset } = bitmap;
  const behind = offset + (kind === "none" ? bitmapSpace(memberSize) : layout.slotSectors);
  if (superOffset + behind + LOG_SECTORS <= dataOffset) return { ...log, offset: behind };
  const last = dataOffset - LOG_SECTORS - superOffset;
  return kind === "none" && last >= offset ? { ...log, offset: last } : null;
}

const MOST_SHIFT = 20;

/**
 * Why nothing may be written where the member says that its bad-block log is; null: it may. Metadata 1.2: behind the
 * superblock and the bitmap, before the data.
 */
export function badBlockLogFault(array: Pick<MdArray, "bitmap" | "maxDev">, member: Member): string | null {
  const span = badBlockSpan(array, member);
  const { badBlockLog, superOffset, dataOffset } = member;
  if (span === null || badBlockLog === null) return null;
  const { sectors, shift, offset } = badBlockLog;
  const { kind, layout, offset: bitmapOffset } = array.bitmap;
  if (sectors > LOG_SECTORS) return `bblog_size is ${sectors}: more than ${LOG_SECTORS} sectors`;
  if (shift > MOST_SHIFT) return `bblog_shift is ${shift}: blocks larger than any disk`;
  const superEnd = superOffset + Math.ceil((256 + 2 * array.maxDev) / SECTOR_SIZE);
  if (span.lo < superEnd || span.hi > dataOffset) return `bblog_offset is ${offset}: not between superblock and data`;
  const bitmap = sectorRange(superOffset + bitmapOffset, superOffset + bitmapOffset + layout.slotSectors);
  return kind === "internal" && overlaps(span, bitmap) ? `bblog_offset is ${offset}: the bitmap lies there` : null;
}
