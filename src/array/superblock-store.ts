import { MdError } from "../base/md-error.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import type { Superblock } from "../superblock/superblock.ts";
import { decodeSuperblock, encodeSuperblock, hasSuperblockMagic } from "../superblock/superblock-codec.ts";
import { SUPERBLOCK_READ_BYTES, superblockPlaces } from "../superblock/superblock-location.ts";
import { putBadBlocks } from "./bad-block-store.ts";
import { isClustered, type MdArray, writableMembers } from "./md-array.ts";
import type { Member } from "./member.ts";
import { superblockOf } from "./superblock-of.ts";
import {
  flushMembers,
  type MemberDevices,
  type MemberFailure,
  readBytes,
  withMembers,
  writeMembers,
} from "./write-members.ts";

/**
 * The superblock of a device, wherever it lies: of several whole ones the array created last counts, as for mdadm.
 * E_NO_SUPERBLOCK, or the error of the first place that holds a broken one.
 */
export async function readSuperblock(device: BlockDevice): Promise<Superblock> {
  const { path, size } = device;
  let best: Superblock | null = null;
  let broken: MdError | null = null;
  for (const { minor, at } of superblockPlaces(size)) {
    const found = await readBytes(device, at, SUPERBLOCK_READ_BYTES);
    if (!hasSuperblockMagic(found)) continue;
    try {
      const superblock = decodeSuperblock(found, { path, minor, at, deviceSize: size });
      if (best === null || superblock.ctime.seconds > best.ctime.seconds) best = superblock;
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      // At the usual place a broken one is no accident: what lies elsewhere may be somebody's data.
      if (minor === 2) throw error;
      broken ??= error;
    }
  }
  if (best !== null) return best;
  throw broken ?? new MdError("E_NO_SUPERBLOCK", `${path} has no md superblock`);
}

/**
 * Writes every non-faulty member's superblock as `array` says, durably. Resolves with the members that could not be
 * written: they must be failed and all superblocks written once more (on-disk format, 14).
 *
 * What a superblock says of the data is true only once the data is durable: that one member was rebuilt is told by all.
 * So all of them are flushed before any is written, and none is if one cannot be.
 */
export async function writeSuperblocks(
  array: MdArray,
  devices: MemberDevices,
  members: readonly Member[] = writableMembers(array),
): Promise<readonly MemberFailure[]> {
  const lossy = await flushMembers(members, devices);
  return lossy.length > 0 ? lossy : putSuperblocks(array, devices, members);
}

/**
 * The same for members that were flushed: with some of them written it may fail at others. The bad-block logs come first:
 * whoever believes a superblock finds them complete.
 */
export async function putSuperblocks(
  array: MdArray,
  devices: MemberDevices,
  members: readonly Member[],
): Promise<readonly MemberFailure[]> {
  if (!isClustered(array) && members.some(({ badBlockLog }) => badBlockLog !== null)) {
    const full = await withMembers(members, devices, putBadBlocks);
    if (full.length > 0) return full;
  }
  return writeMembers(members, devices, (member) => [
    { at: member.superOffset, bytes: encodeSuperblock(superblockOf(array, member)) },
  ]);
}
