import type { Sector } from "../base/units.ts";
import type { BadBlockLog } from "../superblock/bad-block-log.ts";

/**
 * in_sync: a full copy. rebuilding: has a raid_disk, good below `recoveredTo`. spare: bound, without a raid_disk.
 * faulty: has failed and is still bound; nothing is read from it or written to it.
 */
type MemberState = "in_sync" | "rebuilding" | "spare" | "faulty";

/** writeMostly: read only where no other copy is. failfast: taken out by its first read error (as by a write error). */
export const MemberFlag = { writeMostly: 1, failfast: 2 } as const;

/** A device of the array, as the superblocks describe it. A value: devices themselves are kept beside it, by `number`. */
export interface Member {
  /** Permanent device number (descriptor number): the index into the table of roles. */
  readonly number: number;
  /** Place in the array; null for spares and faulty members. */
  readonly raidDisk: number | null;
  readonly state: MemberState;
  /** Rebuilding: sectors from the start of data that are good. Else 0. */
  readonly recoveredTo: Sector;
  /** Rebuilding: above `recoveredTo` it lacks only what the bitmaps of all slots say (it was a full copy before). */
  readonly byBitmap: boolean;
  /** Rebuilding: its raid_disk has another member, which serves until this one is whole and takes its place. */
  readonly isReplacement: boolean;
  readonly deviceUuid: Uint8Array;
  /** Sectors of the device. */
  readonly superOffset: Sector;
  readonly dataOffset: Sector;
  readonly dataSize: Sector;
  /** Of `MemberFlag`. */
  readonly devFlags: number;
  readonly correctedReads: number;
  /** Null: none. Clustered arrays have none. */
  readonly badBlockLog: BadBlockLog | null;
}

export const hasFlag = ({ devFlags }: Member, flag: number): boolean => (devFlags & flag) !== 0;
