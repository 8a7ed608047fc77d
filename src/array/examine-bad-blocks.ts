import { SECTOR_SIZE } from "../base/units.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import { type BadBlock, decodeBadBlocks } from "../superblock/bad-block-log.ts";
import { Feature, hasFeature } from "../superblock/superblock.ts";
import { readSuperblock } from "./superblock-store.ts";
import { readBytes } from "./write-members.ts";

/** Longer logs are none, mdadm says: a superblock with one is damaged. */
const MOST_SECTORS = 100;

/** What a member says of its bad blocks; null: it has no list. */
export interface BadBlocksExamination {
  readonly path: string;
  readonly blocks: readonly BadBlock[] | null;
  /** The superblock says that something is in it. */
  readonly isUsed: boolean;
}

/** Errors as of `readSuperblock`, and E_IO. */
export async function examineBadBlocks(device: BlockDevice): Promise<BadBlocksExamination> {
  const { path } = device;
  const superblock = await readSuperblock(device);
  const { bblogOffset, bblogSize, bblogShift, superOffset } = superblock;
  if (bblogSize === 0 || bblogSize > MOST_SECTORS || bblogOffset === 0) return { path, blocks: null, isUsed: false };
  // Only then anything has been written there.
  if (!hasFeature(superblock, Feature.badBlocks)) return { path, blocks: [], isUsed: false };
  const log = await readBytes(device, superOffset + bblogOffset, bblogSize * SECTOR_SIZE);
  return { path, blocks: decodeBadBlocks(log, bblogShift), isUsed: true };
}

/** In mdadm's words. */
export function badBlocksText({ path, blocks, isUsed }: BadBlocksExamination): readonly string[] {
  if (blocks === null) return [`No bad-blocks list configured on ${path}`];
  if (!isUsed) return [`Bad-blocks list is empty in ${path}`];
  const lines = blocks.map(({ at, sectors }) => `${String(at).padStart(20)} for ${sectors} sectors`);
  return [`Bad-blocks on ${path}:`, ...lines];
}
