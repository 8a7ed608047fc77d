import { BITMAP_PAGE_BYTES, BITMAP_SUPER_BYTES } from "../bitmap/bitmap-layout.ts";
import { superblockChecksum } from "../superblock/checksum.ts";
import { copiesOf, decodeRaid10Layout, raid10LayoutText } from "../superblock/raid10-layout.ts";
import {
  Feature,
  hasFeature,
  IN_SYNC,
  isActiveRole,
  ROLE_JOURNAL,
  roleOf,
  type Superblock,
} from "../superblock/superblock.ts";
import { encodeSuperblock, SUPERBLOCK_MAGIC } from "../superblock/superblock-codec.ts";
import { mdUuidText } from "../superblock/uuid.ts";
import type { Examination } from "./examine.ts";
import { humanSize, levelNames, printable, timeText } from "./mdadm-text.ts";

/** Seconds to add to UTC at that moment, for times as the reader's clock shows them. */
export type UtcOffset = (seconds: number) => number;

/** What `mdadm --examine` (4.4) prints for a device, line by line. */
export function examineText(examination: Examination, utcOffset: UtcOffset): readonly string[] {
  const { superblock, path } = examination;
  return [
    `${printable(path)}:`,
    ...identityLines(examination, utcOffset),
    "",
    ...sizeLines(examination),
    `          State : ${superblock.resyncOffset === IN_SYNC ? "clean" : "active"}`,
    `    Device UUID : ${mdUuidText(superblock.deviceUuid)}`,
    ...bitmapLines(superblock),
    ...flagLines(superblock),
    `    Update Time : ${timeText(superblock.utime.seconds + utcOffset(superblock.utime.seconds))}`,
    ...badBlockLines(superblock),
    `       Checksum : ${checksumOf(superblock).toString(16)} - correct`,
    `         Events : ${superblock.events}`,
    "",
    ...layoutLines(superblock),
    "",
    `   Device Role : ${roleText(superblock)}`,
    `   Array State : ${stateText(superblock)} ('A' == active, '.' == missing, 'R' == replacing)`,
  ];
}

/**
 * What mdadm cannot tell: whether the copies are known to be equal. One line, to stand after the others.
 */
export function cleanlinessLine({ clean, bitmap, bitmapError }: Examination): string {
  if (clean === null) return `   Copies     : unknown, ${bitmapError?.message ?? "the bitmaps cannot be read"}`;
  if (clean) return "   Copies     : clean";
  const dirty = bitmap === null ? "all chunks" : `${bitmap.unionDirty} of ${bitmap.layout.chunks} chunks`;
  return `   Copies     : not clean, ${dirty} may differ`;
}

function identityLines({ superblock, bitmap }: Examination, utcOffset: UtcOffset): string[] {
  const { featureMap, setUuid, setName, minor, ctime, level, raidDisks } = superblock;
  const clustered = bitmap !== null && bitmap.super.nodes > 0;
  return [
    `          Magic : ${SUPERBLOCK_MAGIC.toString(16)}`,
    `        Version : 1.${minor}`,
    `    Feature Map : 0x${featureMap.toString(16)}`,
    `     Array UUID : ${mdUuidText(setUuid)}`,
    `           Name : ${printable(setName)}`,
    ...(clustered ? [`   Cluster Name : ${printable(bitmap.super.clusterName).padEnd(64)}`] : []),
    `  Creation Time : ${timeText(ctime.seconds + utcOffset(ctime.seconds))}`,
    `     Raid Level : ${levelNames.get(level) ?? "-unknown-"}`,
    `   Raid Devices : ${raidDisks}`,
  ];
}

const sizeText = (sectors: number): string => humanSize(BigInt(sectors) * 512n);

function sizeLines(examination: Examination): string[] {
  const { superblock } = examination;
  const { dataSize, dataOffset, superOffset, size } = superblock;
  const { before, after } = unusedSpace(examination);
  const recovering = hasFeature(superblock, Feature.recoveryOffset);
  return [
    ` Avail Dev Size : ${dataSize} sectors${sizeText(dataSize)}`,
    ...arraySizeLines(superblock),
    ...(superblock.level > 0 && size !== dataSize ? [`  Used Dev Size : ${size} sectors${sizeText(size)}`] : []),
    ...(dataOffset > 0 ? [`    Data Offset : ${dataOffset} sectors`] : []),
    `   Super Offset : ${superOffset} sectors`,
    ...(recovering ? [`Recovery Offset : ${superblock.recoveryOffset} sectors`] : []),
    `   Unused Space : before=${before} sectors, after=${after} sectors`,
  ];
}

/** Data disks as a fraction of all, by level. */
function dataDisks({ level, raidDisks, layout }: Superblock): readonly [number, number] {
  if (level === 1) return [1, 1];
  if (level === 4 || level === 5) return [raidDisks - 1, 1];
  if (level === 6) return [raidDisks - 2, 1];
  if (level === 10) return [raidDisks, copiesOf(decodeRaid10Layout(layout))];
  return [0, 1];
}

function arraySizeLines(superblock: Superblock): string[] {
  const [disks, share] = dataDisks(superblock);
  if (disks <= 0) return [];
  const bytes = (BigInt(superblock.size) * 512n * BigInt(disks)) / BigInt(share);
  return [`     Array Size : ${bytes / 1024n} KiB${humanSize(bytes)}`];
}

/** The space that the kernel keeps for itself after a superblock. */
const RESERVED_SECTORS = 72;

/** Sectors around the data that nothing uses, as mdadm counts them: of the bitmaps only the first slot's. */
function unusedSpace({ superblock, bitmap, deviceSize }: Examination): { before: number; after: number } {
  const { superOffset, dataOffset, dataSize, bitmapOffset, bblogOffset, bblogSize } = superblock;
  const hasBitmap = hasFeature(superblock, Feature.bitmapOffset) && bitmapOffset !== 0;
  const hasLog = bblogSize > 0 && bblogOffset !== 0;
  if (dataOffset < superOffset) {
    const starts: number[] = [superOffset];
    if (hasLog) starts.push(superOffset + bblogOffset);
    if (hasBitmap) starts.push(superOffset + bitmapOffset);
    return { before: dataOffset, after: Math.max(0, Math.min(...starts) - dataSize - dataOffset) };
  }
  const ends: number[] = [superOffset + RESERVED_SECTORS];
  if (hasLog) ends.push(superOffset + bblogOffset + bblogSize);
  if (hasBitmap) ends.push(superOffset + bitmapOffset + slotSectors(bitmap));
  return { before: Math.max(0, dataOffset - Math.max(...ends)), after: deviceSize - dataSize - dataOffset };
}

const slotSectors = (bitmap: Examination["bitmap"]): number => {
  const bits = Math.ceil((bitmap?.layout.chunks ?? 0) / 8);
  return (Math.ceil((BITMAP_SUPER_BYTES + bits) / BITMAP_PAGE_BYTES) * BITMAP_PAGE_BYTES) / 512;
};

const bitmapLines = (superblock: Superblock): string[] => [
  "",
  ...(hasFeature(superblock, Feature.bitmapOffset)
    ? [`Internal Bitmap : ${superblock.bitmapOffset} sectors from superblock`]
    : []),
];

function flagLines({ devFlags }: Superblock): string[] {
  if (devFlags === 0) return [];
  const writeMostly = (devFlags & 1) !== 0 ? " write-mostly" : "";
  const failfast = (devFlags & 2) !== 0 ? " failfast" : "";
  return [`          Flags :${writeMostly}${failfast}`];
}

function badBlockLines(superblock: Superblock): string[] {
  const { bblogSize, bblogOffset } = superblock;
  if (bblogSize === 0 || bblogOffset === 0) return [];
  const present = hasFeature(superblock, Feature.badBlocks) ? " - bad blocks present." : "";
  return [`  Bad Block Log : ${bblogSize * 64} entries available at offset ${bblogOffset} sectors${present}`];
}

/** Only correct ones are ever decoded. */
const checksumOf = (superblock: Superblock): number => superblockChecksum(encodeSuperblock(superblock));

function layoutLines(superblock: Superblock): string[] {
  const { level, layout, chunkSectors } = superblock;
  const lines: string[] = [];
  if (level === 10) lines.push(`         Layout : ${raid10LayoutText(layout)}`);
  if ([0, 4, 5, 6, 10].includes(level)) lines.push(`     Chunk Size : ${chunkSectors / 2}K`);
  return lines;
}

function roleText(superblock: Superblock): string {
  const role = roleOf(superblock, superblock.devNumber);
  if (role === ROLE_JOURNAL) return "Journal";
  if (!isActiveRole(role)) return "spare";
  return hasFeature(superblock, Feature.replacement) ? `Replacement device ${role}` : `Active device ${role}`;
}

function stateText({ raidDisks, devRoles }: Superblock): string {
  const holders = new Array<number>(raidDisks).fill(0);
  for (const role of devRoles) {
    if (role < raidDisks) holders[role] = (holders[role] ?? 0) + 1;
  }
  return holders.map((count) => [".", "A", "R"][count] ?? "?").join("");
}
