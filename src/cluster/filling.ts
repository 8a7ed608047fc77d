import type { MdArray } from "../array/md-array.ts";
import { memberByNumber } from "../array/md-array.ts";
import { type Sector, sector } from "../base/units.ts";
import { sameUuid } from "../superblock/uuid.ts";
import type { NodeContext } from "./node-context.ts";

/** A device that is being filled. Numbers are used again: what was copied to one device says nothing of the next. */
export interface FillTarget {
  readonly number: number;
  readonly deviceUuid: Uint8Array;
}

/** One pass over the members that are being filled. */
export interface Filling {
  readonly type: "recover";
  readonly targets: readonly FillTarget[];
  /** The lowest position that any of them has reached. */
  readonly from: Sector;
}

/** All members that are being filled now; null if there is none. */
export function fillingOf(array: MdArray): Filling | null {
  const targets = array.members.filter(({ state }) => state === "rebuilding");
  if (targets.length === 0) return null;
  return { type: "recover", targets, from: sector(Math.min(...targets.map(({ recoveredTo }) => recoveredTo))) };
}

/** Is this very device still being filled, in the array and in our data plane? */
export function isFilling({ members }: NodeContext, array: MdArray, { number, deviceUuid }: FillTarget): boolean {
  const member = memberByNumber(array, number);
  if (member?.state !== "rebuilding" || member.raidDisk === null) return false;
  return sameUuid(member.deviceUuid, deviceUuid) && members.holds(array, number) && !members.isBlocked(member.raidDisk);
}
