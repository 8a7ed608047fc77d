import { MdError } from "../base/md-error.ts";
import { SECTOR_SIZE, sector } from "../base/units.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import { type BadBlock, decodeBadBlocks, encodeBadBlocks, logRoom, logSteps } from "../superblock/bad-block-log.ts";
import { Feature, hasFeature, type Superblock } from "../superblock/superblock.ts";
import type { Member } from "./member.ts";
import { readBytes, writePadded } from "./write-members.ts";

/** What the log of a member lists. E_IO, E_SUPERBLOCK_BAD: an entry that md would not take either. */
export async function readBadBlocks(device: BlockDevice, superblock: Superblock): Promise<readonly BadBlock[]> {
  // Without the flag nothing was ever written there, or nothing that still holds.
  if (!hasFeature(superblock, Feature.badBlocks)) return [];
  const { superOffset, bblogOffset, bblogSize, bblogShift } = superblock;
  const blocks = decodeBadBlocks(
    await readBytes(device, superOffset + bblogOffset, bblogSize * SECTOR_SIZE),
    bblogShift,
  );
  const empty = blocks.find(({ sectors }) => sectors === 0);
  if (empty !== undefined) {
    throw new MdError("E_SUPERBLOCK_BAD", `${device.path}: its list of bad blocks has an empty entry at ${empty.at}`, {
      hint: `mdctl examine-badblocks ${device.path}`,
    });
  }
  return blocks;
}

/**
 * Brings the member's log on the device up to what `member` says, durably, before any superblock speaks of it; the data
 * are durable. Nothing is written if it says so already. E_IO; E_VALUE if there is no room for all of it.
 */
export async function putBadBlocks(device: BlockDevice, { superOffset, badBlockLog }: Member): Promise<void> {
  if (badBlockLog === null) return;
  const { offset, sectors, shift, entries } = badBlockLog;
  const at = sector(superOffset + offset);
  const bytes = sectors * SECTOR_SIZE;
  const held = decodeBadBlocks(await readBytes(device, at, bytes), shift);
  const steps = logSteps(held, entries, logRoom(sectors));
  if (steps === null) throw new MdError("E_VALUE", `the bad-block log of ${device.path} is full`);
  for (const step of steps) {
    await writePadded(device, { at, bytes: encodeBadBlocks(step, shift, bytes) });
    await device.flush();
  }
}

/** Makes the place of a new log an empty one, durably. */
export async function blankBadBlocks(device: BlockDevice, { superOffset, badBlockLog }: Member): Promise<void> {
  if (badBlockLog === null) return;
  const { offset, sectors, shift } = badBlockLog;
  const bytes = encodeBadBlocks([], shift, sectors * SECTOR_SIZE);
  await writePadded(device, { at: sector(superOffset + offset), bytes });
  await device.flush();
}
