import { sector } from "../base/units.ts";
import { Feature, type MdTime, ROLE_FAULTY, ROLE_SPARE, type Superblock } from "../superblock/superblock.ts";
import type { MdArray } from "./md-array.ts";
import type { Member } from "./member.ts";

/**
 * What `member` of a clustered array holds on disk. No bad-block log: such arrays have none, and the place that mdadm
 * gives it on an added disk is the bitmap of slot 1.
 */
export function superblockOf(array: MdArray, member: Member): Superblock {
  const rebuilding = member.state === "rebuilding";
  const recovery = rebuilding ? Feature.recoveryOffset | (member.byBitmap ? Feature.recoveryBitmap : 0) : 0;
  const filling = recovery | (member.isReplacement ? Feature.replacement : 0);
  return {
    minor: array.minor,
    featureMap: Feature.bitmapOffset | Feature.clustered | filling,
    setUuid: array.uuid,
    setName: array.name,
    ctime: array.created,
    level: array.level,
    layout: array.layout,
    size: array.memberSize,
    chunkSectors: array.chunkSectors,
    raidDisks: array.raidDisks,
    bitmapOffset: array.bitmap.offset,
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
    bblogShift: 0,
    bblogSize: 0,
    bblogOffset: 0,
    utime: array.updated,
    events: array.events,
    resyncOffset: array.resyncOffset,
    devRoles: rolesOf(array),
  };
}

function rolesOf(array: MdArray): readonly number[] {
  const roles = new Array<number>(array.maxDev).fill(ROLE_SPARE);
  for (const member of array.members) {
    roles[member.number] = member.state === "faulty" ? ROLE_FAULTY : (member.raidDisk ?? ROLE_SPARE);
  }
  return roles;
}

/**
 * The array as its next superblock update writes it: one event later. From the first start on a clustered array never
 * claims to be in sync (only its bitmaps know).
 */
export const nextUpdate = (array: MdArray, now: MdTime): MdArray => ({
  ...array,
  events: array.events + 1,
  updated: now,
  resyncOffset: 0n,
});

/** The member that a superblock describes, in the role that was chosen for it. */
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
});
