import { sector } from "../base/units.ts";
import { Feature, hasFeature, isActiveRole, roleOf, type Superblock } from "../superblock/superblock.ts";
import { sameUuid } from "../superblock/uuid.ts";
import { addSpare, removeMember, type Transition } from "./array-state.ts";
import {
  inSyncMembers,
  isClustered,
  type MdArray,
  memberByNumber,
  memberByRaidDisk,
  replaceMember,
} from "./md-array.ts";
import type { Member } from "./member.ts";
import { memberOf } from "./superblock-of.ts";

const usual =
  Feature.bitmapOffset | Feature.clustered | Feature.recoveryOffset | Feature.recoveryBitmap | Feature.badBlocks;

/**
 * May the device with this superblock take its old place again, filled only where the bitmaps say so? The member that it
 * becomes, or why not, for people. `eventsCleared`: the highest of all slots; while a raid_disk lacks its copy no bit is
 * cleared, so who has been a member since then has missed nothing else. Source: on-disk format, 11 and 15.3.
 */
export function returningMember(array: MdArray, superblock: Superblock, eventsCleared: number): Member | string {
  const { devNumber: number, events } = superblock;
  const role = roleOf(superblock, number);
  if (!isActiveRole(role)) return "it was a spare when it left";
  if (hasFeature(superblock, Feature.replacement))
    return "it was replacing another member, and not whole, when it left";
  const shape = differingShape(array, superblock);
  if (shape !== null) return `${shape} has changed since it left`;
  const holder = memberByRaidDisk(array, role);
  if (holder !== null) return `raid disk ${role} has member ${holder.number} by now`;
  const other = memberByNumber(array, number);
  if (other !== null && (other.state !== "faulty" || !sameUuid(other.deviceUuid, superblock.deviceUuid))) {
    return `its number ${number} belongs to another device by now`;
  }
  if (hasFeature(superblock, Feature.recoveryOffset) && !hasFeature(superblock, Feature.recoveryBitmap)) {
    return "it was not filled yet when it left";
  }
  if (events > array.events) return `it was written elsewhere since it left (event ${events}, here ${array.events})`;
  if (events < eventsCleared) {
    return `the bitmaps do not reach back to event ${events}, when it left (they were cleared up to ${eventsCleared})`;
  }
  // Who went on alone has a table in which the others are gone.
  if (!inSyncMembers(array).some((one) => isActiveRole(roleOf(superblock, one.number)))) {
    return "none of the present members was one when it left";
  }
  return memberOf(superblock, {
    raidDisk: role,
    state: "rebuilding",
    recoveredTo: sector(0),
    byBitmap: true,
    isReplacement: false,
  });
}

/** What it would have to agree in with the array. */
function differingShape(array: MdArray, superblock: Superblock): string | null {
  if (superblock.size !== array.memberSize) return "the size of the array";
  if (superblock.level !== array.level || superblock.layout !== array.layout) return "the level of the array";
  if (superblock.chunkSectors !== array.chunkSectors) return "the chunk size of the array";
  if (superblock.raidDisks !== array.raidDisks) return "the number of raid disks";
  const { kind, offset } = array.bitmap;
  if (kind === "none") return "nobody kept a bitmap of what";
  const isShared = hasFeature(superblock, Feature.clustered);
  if (!hasFeature(superblock, Feature.bitmapOffset) || isShared !== isClustered(array)) return "the kind of the bitmap";
  if (superblock.minor !== array.minor || superblock.bitmapOffset !== offset) return "the place of the bitmap";
  return (superblock.featureMap & ~usual) === 0 ? null : "the kind of the array";
}

/** `member` as `returningMember` says. If it is bound and faulty, its former life ends with the same step. */
export function returnMember(array: MdArray, member: Member): Transition {
  const { number, raidDisk, recoveredTo, byBitmap, isReplacement } = member;
  const gone: Transition =
    memberByNumber(array, number) === null ? { array, changes: [] } : removeMember(array, number);
  const bound = addSpare(gone.array, member);
  if (raidDisk === null) return { array: bound.array, changes: [...gone.changes, ...bound.changes] };
  return {
    array: replaceMember(bound.array, member),
    changes: [
      ...gone.changes,
      ...bound.changes,
      { type: "rebuilding", number, raidDisk, recoveredTo, byBitmap, isReplacement },
    ],
  };
}
