import { clearSlot, freshBitmapSuper, readSlot, type SlotContent } from "../array/bitmap-store.ts";
import { inSyncMembers, isClustered, type MdArray } from "../array/md-array.ts";
import type { MemberDevices } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import { type SlotNumber, slotNumber } from "../base/units.ts";
import { bitBytes } from "../bitmap/bitmap-layout.ts";
import { mergeBits, trimBits } from "../bitmap/bitmap-merge.ts";
import { bitsOfRange } from "../bitmap/resize-bits.ts";
import type { Logger } from "../env/logger.ts";
import { IN_SYNC } from "../superblock/superblock.ts";
import type { NodeContext } from "./node-context.ts";

/** The slots of other nodes that have a bitmap on disk: none of an array that one node uses alone. */
export const otherSlots = ({ array, lockspace }: Pick<NodeContext, "array" | "lockspace">): readonly SlotNumber[] =>
  isClustered(array)
    ? Array.from({ length: array.bitmap.slots }, (_, n) => slotNumber(n)).filter((slot) => slot !== lockspace.slot)
    : [];

/**
 * A slot's bitmap as all in-sync members have it together: one whose failure died with the slot's owner, or that lost in a
 * power cut what it had said to be durable, lacks bits that the others have, and may be the first. One that makes no sense counts as "everything may differ" if there is no
 * other: copying too much is safe. E_IO if no member can be read.
 */
export async function readSlotBits(
  array: MdArray,
  devices: MemberDevices,
  slot: SlotNumber,
  log: Logger,
): Promise<SlotContent> {
  let found: SlotContent | null = null;
  let broken = false;
  let unread: MdError | null = null;
  for (const member of inSyncMembers(array)) {
    const device = devices.get(member.number);
    if (device === undefined) continue;
    try {
      found = union(found, await readSlot(array, member, device, slot));
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      log.warn(
        { evt: "bitmap-unreadable", path: device.path, slot, err: error.message },
        "slot's bitmap cannot be used",
      );
      if (error.code === "E_IO") unread = error;
      else broken = true;
    }
  }
  if (found !== null) return found;
  if (!broken) throw unread ?? new MdError("E_IO", `no in-sync member to read slot ${slot}'s bitmap from`);
  const bits = new Uint8Array(bitBytes(array.bitmap.layout)).fill(0xff);
  trimBits(bits, array.bitmap.layout.chunks);
  return { super: freshBitmapSuper(array), bits };
}

function union(one: SlotContent | null, other: SlotContent): SlotContent {
  if (one === null) return other;
  const bits = one.bits.slice();
  mergeBits(bits, other.bits);
  const events = Math.max(one.super.events, other.super.events);
  const eventsCleared = Math.max(one.super.eventsCleared, other.super.eventsCleared);
  return { super: { ...one.super, events, eventsCleared }, bits };
}

/** What our bitmap begins with. */
export interface OwnBits extends SlotContent {
  /** Bits of chunks whose copies are equal. */
  readonly idle: Uint8Array;
}

/**
 * Our own bitmap at a join, for the holder of its slot's lock. Of an array that nobody has started since it was made of
 * equal members (only then does its superblock say "in sync") the bits that mdadm writes into slot 0 say nothing: they
 * are cleared, as md does. Errors as of `readSlotBits`.
 */
export async function ownBits(
  array: MdArray,
  devices: MemberDevices,
  slot: SlotNumber,
  { alone, log }: { readonly alone: boolean; readonly log: Logger },
): Promise<OwnBits> {
  if (array.bitmap.kind === "none") return withoutBitmap(array);
  const found = await readSlotBits(array, devices, slot, log);
  const none = new Uint8Array(found.bits.byteLength);
  if (!isClustered(array)) return ofInternal(array, found, log);
  if (array.resyncOffset !== IN_SYNC || !alone) return { ...found, idle: none };
  const failures = await clearSlot(array, devices, slot, found);
  // Bits that stay on some member are worth a resync, and no more.
  return failures.length > 0 ? { ...found, idle: none } : { super: found.super, bits: none, idle: none };
}

/** Equal as far as the superblock says; of who left before, nothing is known (on-disk format, 12). */
function withoutBitmap(array: MdArray): OwnBits {
  const { layout } = array.bitmap;
  const idle = new Uint8Array(bitBytes(layout));
  const { resyncOffset, size } = array;
  const isEqual = resyncOffset === IN_SYNC || resyncOffset >= BigInt(size);
  const bits = isEqual ? idle : bitsOfRange(layout, Number(resyncOffset), size);
  return { super: { ...freshBitmapSuper(array), eventsCleared: array.events }, bits, idle };
}

/** One that is older than its array has missed what was written since: some host used the array without it. */
function ofInternal(array: MdArray, found: SlotContent, log: Logger): OwnBits {
  const { layout } = array.bitmap;
  const none = new Uint8Array(bitBytes(layout));
  if (found.super.events < array.events) {
    log.warn({ evt: "bitmap-stale", array: array.name }, "the bitmap is out of date: all of the array is resynced");
    const bits = none.slice().fill(0xff);
    trimBits(bits, layout.chunks);
    return { super: { ...found.super, eventsCleared: array.events }, bits, idle: none };
  }
  // Stopped in order: what is marked still was written, or is for a member that is away.
  return array.resyncOffset === IN_SYNC
    ? { super: found.super, bits: none, idle: found.bits }
    : { ...found, idle: none };
}
