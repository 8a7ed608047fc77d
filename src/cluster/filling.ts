import type { MdArray } from "../array/md-array.ts";
import { memberByNumber } from "../array/md-array.ts";
import { type Sector, type SectorRange, sector, sectorRange } from "../base/units.ts";
import { countBits } from "../bitmap/bitmap-merge.ts";
import { personalityOf } from "../engine/personalities.ts";
import { sameUuid } from "../superblock/uuid.ts";
import { gatherDirtyChunks, nextDirtyRange } from "./dirty-chunks.ts";
import { fillEnd, fillPosition, nextInFill } from "./fill-order.ts";
import { adoptUnannounced, announce } from "./metadata-update.ts";
import type { NodeContext } from "./node-context.ts";

/**
 * A device that is being filled. Numbers are used again, and a device may come back: what was copied to one device, or
 * in one life of it, says nothing of the next.
 */
export interface FillTarget {
  readonly number: number;
  readonly deviceUuid: Uint8Array;
  readonly life: number;
}

/** One pass over the members that are being filled. */
export interface Filling {
  readonly type: "recover";
  readonly targets: readonly FillTarget[];
  /** The position (see `fillPosition`) from where on something is to be copied: none of them lacks anything before. */
  readonly from: Sector;
  /** Chunks that any of them may lack; null: everything. */
  readonly bits: Uint8Array | null;
}

/**
 * All members that are being filled now, and what they lack; null if there are none. Before anything is read for them
 * every node must write to them: one that a dead node told of to some only is announced (once more) to all.
 */
export function beginFilling(context: NodeContext, signal: AbortSignal): Promise<Filling | null> {
  return context.bus.withToken(async (send) => {
    await adoptUnannounced(context, send);
    const { array, members } = context;
    const filled = array.members.filter(({ state }) => state === "rebuilding");
    if (filled.length === 0) return null;
    await announce(context, send);
    const byBitmap = array.bitmap.kind !== "none" && filled.every((member) => member.byBitmap);
    return {
      type: "recover",
      targets: filled.map(({ number, deviceUuid }) => ({ number, deviceUuid, life: members.lifeOf(number) })),
      from: fillPosition(personalityOf(array), sector(Math.min(...filled.map(({ recoveredTo }) => recoveredTo)))),
      bits: byBitmap ? (await gatherDirtyChunks(context)).bits : null,
    };
  }, signal);
}

/** What is to be copied next, from `from` on; null for nothing. */
export function nextToFill({ bits }: Filling, array: MdArray, from: Sector): SectorRange | null {
  const { layout } = array.bitmap;
  return nextInFill(personalityOf(array), from, (at) => {
    if (bits !== null) return nextDirtyRange(bits, layout, array.size, at);
    return at < array.size ? sectorRange(at, array.size) : null;
  });
}

/** Sectors to copy in all: of a RAID10 each member has its share only. */
export function sectorsToFill({ bits, from, targets }: Filling, array: MdArray): number {
  const { layout } = array.bitmap;
  const personality = personalityOf(array);
  const { copies, raidDisks } = personality;
  const end = fillEnd(personality);
  const lacking =
    bits === null
      ? ((end - from) * array.size) / end
      : Math.min(countBits(bits, layout.chunks) * layout.chunkSectors, array.size);
  return Math.ceil(lacking * Math.min(1, (targets.length * copies) / raidDisks));
}

/** Is this very device still being filled, in the array and in our data plane? */
export function isFilling({ members }: NodeContext, array: MdArray, { number, deviceUuid, life }: FillTarget): boolean {
  const member = memberByNumber(array, number);
  if (member?.state !== "rebuilding" || member.raidDisk === null || members.lifeOf(number) !== life) return false;
  return sameUuid(member.deviceUuid, deviceUuid) && members.holds(array, number) && !members.isBlockedMember(number);
}
