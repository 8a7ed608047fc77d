import { type Sector, type SlotNumber, slotNumber } from "../base/units.ts";
import { type BitmapLayout, slotStart } from "../bitmap/bitmap-layout.ts";
import type { MdTime, SuperblockMinor } from "../superblock/superblock.ts";
import type { Member } from "./member.ts";
import type { ArrayShape } from "./personality.ts";

/** clustered: one a node; internal: the only one; none: a whole resync follows an unclean end. Only `clustered` is shared. */
export type BitmapKind = "none" | "internal" | "clustered";

/** What the bitmap superblocks of all slots agree on; of an array without bitmap, what is kept in memory. */
export interface ArrayBitmap {
  readonly kind: BitmapKind;
  readonly layout: BitmapLayout;
  /** Sectors from the superblock. */
  readonly offset: number;
  /** Seconds. */
  readonly daemonSleep: number;
  /** Slots on disk: 1 of an internal bitmap, 0 of none. */
  readonly slots: number;
  /** Empty unless clustered. */
  readonly clusterName: string;
}

/**
 * An array and its members, as the superblocks describe them: a value. `superblockOf` turns it back into what
 * each member holds on disk.
 */
export interface MdArray extends ArrayShape {
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** As stored, e.g. `any:md0`. */
  readonly name: string;
  readonly minor: SuperblockMinor;
  readonly created: MdTime;
  readonly updated: MdTime;
  readonly events: number;
  /** As found on disk; every update after the start writes 0 (see `superblockOf`). */
  readonly resyncOffset: bigint;
  readonly bitmap: ArrayBitmap;
  /** Entries in the table of roles; only grows. */
  readonly maxDev: number;
  /** Ascending by `number`. */
  readonly members: readonly Member[];
  /** Numbers of faulty devices that other nodes have bound and we do not: who assembles does not take them. */
  readonly faultyElsewhere: readonly number[];
}

export const memberByNumber = (array: MdArray, number: number): Member | null =>
  array.members.find((member) => member.number === number) ?? null;

export const memberByRaidDisk = (array: MdArray, raidDisk: number): Member | null =>
  array.members.find((member) => member.raidDisk === raidDisk && !member.isReplacement) ?? null;

/** The member that is to take the raid_disk of the one that has it. */
export const replacementAt = (array: MdArray, raidDisk: number): Member | null =>
  array.members.find((member) => member.raidDisk === raidDisk && member.isReplacement) ?? null;

export const inSyncMembers = (array: MdArray): readonly Member[] =>
  array.members.filter((member) => member.state === "in_sync");

/** By raid_disk: 1 where a member is in sync. */
export function inSyncDisks(array: MdArray): Uint8Array {
  const alive = new Uint8Array(array.raidDisks);
  for (const { raidDisk } of inSyncMembers(array)) if (raidDisk !== null) alive[raidDisk] = 1;
  return alive;
}

/** Some raid_disk has no in-sync member: bits of the bitmap must not be cleared. */
export const isDegraded = (array: MdArray): boolean => inSyncMembers(array).length < array.raidDisks;

/** `member` comes in, or takes the place of the one with its number. */
export function replaceMember(array: MdArray, member: Member): MdArray {
  const members = array.members.filter(({ number }) => number !== member.number);
  return { ...array, members: [...members, member].sort((a, b) => a.number - b.number) };
}

/** Superblocks and bitmaps are written to these. */
export const writableMembers = (array: MdArray): readonly Member[] =>
  array.members.filter((member) => member.state !== "faulty");

/** Several nodes may use it at once. */
export const isClustered = ({ bitmap }: Pick<MdArray, "bitmap">): boolean => bitmap.kind === "clustered";

/** Which bitmap on disk is that of the node in `slot`: who is alone has the first. */
export const slotOnDisk = (array: MdArray, slot: SlotNumber): SlotNumber => (isClustered(array) ? slot : slotNumber(0));

/** First sector of the bitmap of the node in `slot` on `member`. */
export const bitmapStart = (array: MdArray, member: Member, slot: SlotNumber): Sector =>
  slotStart(array.bitmap.layout, member.superOffset, array.bitmap.offset, slotOnDisk(array, slot));
