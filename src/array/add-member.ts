import { MdError } from "../base/md-error.ts";
import { sector, slotNumber } from "../base/units.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import { MAX_DEVICES } from "../superblock/superblock.ts";
import { encodeSuperblock } from "../superblock/superblock-codec.ts";
import { addSpare } from "./array-state.ts";
import { blankBadBlocks } from "./bad-block-store.ts";
import { readSlot, writeSlot } from "./bitmap-store.ts";
import { inSyncMembers, isClustered, type MdArray, memberByNumber } from "./md-array.ts";
import type { Member } from "./member.ts";
import { wipeSuperblocks } from "./metadata-traces.ts";
import { superblockOf } from "./superblock-of.ts";
import { type MemberDevices, writePadded } from "./write-members.ts";

/** What the new device will be to the array, as mdadm would choose it; `devFlags` of `MemberFlag`. E_DEVICE_SMALL, E_VALUE when no number is left. */
export function planMember(array: MdArray, device: BlockDevice, deviceUuid: Uint8Array, devFlags = 0): Member {
  const [model] = inSyncMembers(array);
  if (model === undefined) throw new MdError("E_NO_DEVICE", `"${array.name}" has no in-sync member`);
  const available = Math.max(0, device.size - model.dataOffset);
  if (available < array.memberSize) {
    const lacking = array.memberSize - available;
    throw new MdError("E_DEVICE_SMALL", `${device.path} is ${lacking} sectors smaller than the array needs`, {
      why: `it has ${device.size} sectors, ${model.dataOffset + array.memberSize} are needed`,
    });
  }
  let number = array.raidDisks;
  while (memberByNumber(array, number) !== null || array.faultyElsewhere.includes(number)) number++;
  if (number >= MAX_DEVICES) throw new MdError("E_VALUE", `"${array.name}" has no device number left`);
  return {
    number,
    raidDisk: null,
    state: "spare",
    recoveredTo: sector(0),
    byBitmap: false,
    isReplacement: false,
    deviceUuid,
    superOffset: model.superOffset,
    dataOffset: model.dataOffset,
    dataSize: sector(available),
    devFlags,
    correctedReads: 0,
    badBlockLog: model.badBlockLog === null ? null : { ...model.badBlockLog, entries: [] },
  };
}

/** Of a superblock that only offers a device: if nothing comes of it no assembly takes the device for a member. */
export const EVENTS_PREPARED = 0;

/**
 * Makes the device ready to be found by all nodes: every slot's bitmap as an in-sync member has it, then, when that is
 * durable, a superblock that calls it a spare. On a device error it is wiped again and the error thrown.
 */
export async function prepareMember(
  array: MdArray,
  devices: MemberDevices,
  spare: Member,
  device: BlockDevice,
): Promise<void> {
  const offered = { ...addSpare(array, spare).array, events: EVENTS_PREPARED };
  try {
    await wipeSuperblocks(device);
    await copyBitmaps(array, devices, spare, device);
    if (!isClustered(array)) await blankBadBlocks(device, spare);
    await writePadded(device, { at: spare.superOffset, bytes: encodeSuperblock(superblockOf(offered, spare)) });
    await device.flush();
  } catch (error) {
    await wipeSuperblocks(device).catch(() => []);
    throw error;
  }
}

/** Every slot's bitmap as the first in-sync member has it, durably. The device's or the member's error is thrown. */
export async function copyBitmaps(
  array: MdArray,
  devices: MemberDevices,
  to: Member,
  device: BlockDevice,
): Promise<void> {
  const [source] = inSyncMembers(array);
  const from = source === undefined ? undefined : devices.get(source.number);
  if (source === undefined || from === undefined) {
    throw new MdError("E_NO_DEVICE", `"${array.name}" has no in-sync member`);
  }
  const alone: MdArray = { ...array, members: [to] };
  for (let slot = 0; slot < array.bitmap.slots; slot++) {
    const content = await readSlot(array, source, from, slotNumber(slot));
    const [failure] = await writeSlot(alone, new Map([[to.number, device]]), slotNumber(slot), content);
    if (failure !== undefined) throw failure.error;
  }
}
