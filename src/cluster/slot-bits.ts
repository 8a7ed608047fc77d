import { clearSlot, freshBitmapSuper, readSlot, type SlotContent } from "../array/bitmap-store.ts";
import { inSyncMembers, type MdArray } from "../array/md-array.ts";
import type { MemberDevices } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import { bitBytes } from "../bitmap/bitmap-layout.ts";
import { trimBits } from "../bitmap/bitmap-merge.ts";
import type { Logger } from "../env/logger.ts";
import { IN_SYNC } from "../superblock/superblock.ts";

/**
 * A slot's bitmap, from the first in-sync member that can be read. One that makes no sense counts as "everything may
 * differ": copying too much is safe. E_IO if no member can be read.
 */
export async function readSlotBits(
  array: MdArray,
  devices: MemberDevices,
  slot: SlotNumber,
  log: Logger,
): Promise<SlotContent> {
  let broken = false;
  let unread: MdError | null = null;
  for (const member of inSyncMembers(array)) {
    const device = devices.get(member.number);
    if (device === undefined) continue;
    try {
      return await readSlot(array, member, device, slot);
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
  if (!broken) throw unread ?? new MdError("E_IO", `no in-sync member to read slot ${slot}'s bitmap from`);
  const bits = new Uint8Array(bitBytes(array.bitmap.layout)).fill(0xff);
  trimBits(bits, array.bitmap.layout.chunks);
  return { super: freshBitmapSuper(array), bits };
}

/**
 * Our own slot's bitmap at a join, for the holder of its lock. Of an array that nobody has started since it was made of
 * equal members (only then does its superblock say "in sync") the bits that mdadm writes into slot 0 say nothing: they
 * are cleared, as md does. Errors as of `readSlotBits`.
 */
export async function ownBits(
  array: MdArray,
  devices: MemberDevices,
  slot: SlotNumber,
  { alone, log }: { readonly alone: boolean; readonly log: Logger },
): Promise<SlotContent> {
  const found = await readSlotBits(array, devices, slot, log);
  if (array.resyncOffset !== IN_SYNC || !alone) return found;
  const failures = await clearSlot(array, devices, slot, found);
  // Bits that stay on some member are worth a resync, and no more.
  return failures.length > 0 ? found : { super: found.super, bits: new Uint8Array(found.bits.byteLength) };
}
