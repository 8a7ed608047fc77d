import { sector } from "../base/units.ts";
import type { BadBlockLog } from "../superblock/bad-block-log.ts";
import { Feature, type MdTime, ROLE_FAULTY, ROLE_SPARE, type Superblock } from "../superblock/superblock.ts";
import type { BitmapKind, MdArray } from "./md-array.ts";
import type { Member } from "./member.ts";

/**
 * What `member` holds on disk. Clustered arrays have no bad-block log: the place that mdadm gives it is the bitmap of
 * slot 1.
 */
export function superblockOf(array: MdArray, member: Member): Superblock {
  const rebuilding = member.state === "rebuilding";
  const recovery = rebuilding ? Feature.recoveryOffset | (member.byBitmap ? Feature.recoveryBitmap : 0) : 0;
  const log = array.bitmap.kind === "clustered" ? null : member.badBlockLog;
  const listed = log !== null && log.entries.length > 0 ? Feature.badBlocks : 0;
  const ofMember = recovery | (member.isReplacement ? Feature.replacement : 0) | listed;
  return {
    minor: array.minor,
    featureMap: bitmapFeatures[array.bitmap.kind] | ofMember,
    setUuid: array.uuid,
    setName: array.name,
    ctime: array.created,
    level: array.level,
    layout: array.layout,
    size: array.memberSize,
    chunkSectors: array.chunkSectors,
    raidDisks: array.raidDisks,
    bitmapOffset: array.bitmap.kind === "none" ? 0 : array.bitmap.offset,
    newLevel: 0,
    reshapePosition: 0n,
    deltaDisks: 0,
    newLayout: 0,
    newChunk: 0,
    newOffset: 0,
    dataOffset: member.dataOffset,
    dataSize: member.dataSize,
    superOffset: member.superOffset,
    recoveryOffset: rebuilding ? BigInt(member.recoveredTo) : 0n,
    devNumber: member.number,
    correctedReads: member.correctedReads,
    deviceUuid: member.deviceUuid,
    devFlags: member.devFlags,
    bblogShift: log?.shift ?? 0,
    bblogSize: log?.sectors ?? 0,
    bblogOffset: log?.offset ?? 0,
    utime: array.updated,
    events: array.events,
    resyncOffset: array.resyncOffset,
    devRoles: rolesOf(array),
  };
}

const bitmapFeatures: Readonly<Record<BitmapKind, number>> = {
  none: 0,
  internal: Feature.bitmapOffset,
  clustered: Feature.bitmapOffset | Feature.clustered,
};

/** The numbers that its table calls faulty. */
export const faultyNumbers = ({ devRoles }: Superblock): readonly number[] =>
  devRoles.flatMap((role, number) => (role === ROLE_FAULTY ? [number] : []));

function rolesOf(array: MdArray): readonly number[] {
  const roles = new Array<number>(array.maxDev).fill(ROLE_SPARE);
  for (const number of array.faultyElsewhere) roles[number] = ROLE_FAULTY;
  for (const member of array.members) {
    roles[member.number] = member.state === "faulty" ? ROLE_FAULTY : (member.raidDisk ?? ROLE_SPARE);
  }
  return roles;
}

/**
 * The array as its next superblock update writes it: one event later. From the first start on a clustered array never
 * claims to be in sync (only its bitmaps know), and others do not while they are written to; else the copies are equal
 * below `resyncOffset`.
 */
export const nextUpdate = (array: MdArray, now: MdTime, resyncOffset = 0n): MdArray => ({
  ...array,
  events: array.events + 1,
  updated: now,
  resyncOffset,
});

const logOf = ({ bblogOffset, bblogSize, bblogShift }: Superblock): BadBlockLog | null =>
  bblogSize === 0 || bblogOffset === 0
    ? null
    : { offset: bblogOffset, sectors: bblogSize, shift: bblogShift, entries: [] };

/** The member that a superblock describes, in the role that was chosen for it. What its bad-block log lists is not in it. */
export const memberOf = (
  superblock: Superblock,
  role: Pick<Member, "raidDisk" | "state" | "recoveredTo" | "byBitmap" | "isReplacement">,
): Member => ({
  number: superblock.devNumber,
  raidDisk: role.raidDisk,
  state: role.state,
  recoveredTo: sector(role.recoveredTo),
  byBitmap: role.byBitmap,
  isReplacement: role.isReplacement,
  deviceUuid: superblock.deviceUuid,
  superOffset: superblock.superOffset,
  dataOffset: superblock.dataOffset,
  dataSize: superblock.dataSize,
  devFlags: superblock.devFlags,
  correctedReads: superblock.correctedReads,
  badBlockLog: logOf(superblock),
});
