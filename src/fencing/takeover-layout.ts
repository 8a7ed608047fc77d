import { badBlockSpan } from "../array/bad-block-place.ts";
import { isClustered, type MdArray } from "../array/md-array.ts";
import type { Member } from "../array/member.ts";
import { SECTOR_SIZE, type Sector, type SlotNumber, sector } from "../base/units.ts";
import { slotStart } from "../bitmap/bitmap-layout.ts";
import { MOST_SLOTS } from "../dlm/lockspace.ts";
import { TAKEOVER_BLOCK_BYTES } from "./takeover-blocks.ts";

const BLOCK_SECTORS = TAKEOVER_BLOCK_BYTES / SECTOR_SIZE;

/**
 * Where the records lie on a member: in the space before the data that md leaves unused, counted from its end downwards,
 * so that they neither move when there are more slots nor lie where bitmaps grow. From the data down: the epoch, then for
 * each slot the node's block and its pill. A bad-block log cuts that space in two: the part with more room is taken, the
 * one behind it where both are alike. All in sectors of the device.
 */
export interface TakeoverLayout {
  readonly start: Sector;
  readonly sectors: number;
  readonly epochAt: Sector;
  readonly slots: number;
}

export const nodeAt = ({ epochAt }: TakeoverLayout, slot: SlotNumber | number): Sector =>
  sector(epochAt - BLOCK_SECTORS * (2 * slot + 1));

export const pillAt = ({ epochAt }: TakeoverLayout, slot: SlotNumber | number): Sector =>
  sector(epochAt - BLOCK_SECTORS * (2 * slot + 2));

/** Null: there is no room between the bitmaps and the data, or the superblock lies elsewhere (1.0). */
export function takeoverLayout(array: MdArray, member: Member): TakeoverLayout | null {
  const { layout, offset } = array.bitmap;
  const bitmapsEnd = slotStart(layout, member.superOffset, offset, Math.max(1, array.bitmap.slots));
  const log = badBlockSpan(array, member);
  const behind = partOf(Math.max(bitmapsEnd, log?.hi ?? 0), member.dataOffset);
  const before = log === null ? behind : partOf(bitmapsEnd, Math.min(log.lo, member.dataOffset));
  const { end, room } = before.room > behind.room ? before : behind;
  // Who uses an array alone may come from any slot: there are as many as there is room for.
  const slots = isClustered(array) ? array.bitmap.slots : Math.min(room, MOST_SLOTS);
  if (array.minor !== 2 || room < Math.max(1, slots)) return null;
  const sectors = (2 * slots + 1) * BLOCK_SECTORS;
  return { start: sector(end - sectors), sectors, epochAt: sector(end - BLOCK_SECTORS), slots };
}

/** Of the sectors [lo, hi): where the last whole block ends, and for how many slots there is room. */
function partOf(lo: number, hi: number): { readonly end: number; readonly room: number } {
  const end = Math.floor(hi / BLOCK_SECTORS) * BLOCK_SECTORS;
  return { end, room: Math.floor((Math.floor((end - lo) / BLOCK_SECTORS) - 1) / 2) };
}

/** Nodes that may be in the lockspace of an array at once: each must find a place for its records. */
export function nodeLimit(array: MdArray): number {
  if (isClustered(array)) return array.bitmap.slots;
  return Math.min(MOST_SLOTS, ...array.members.flatMap((member) => takeoverLayout(array, member)?.slots ?? []));
}
