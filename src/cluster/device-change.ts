import { planMember, prepareMember } from "../array/add-member.ts";
import { activateSpares, addSpare, failMember, removeMember, type Transition } from "../array/array-state.ts";
import { readSlot, writeSlot } from "../array/bitmap-store.ts";
import { inSyncMembers, type MdArray, memberByNumber } from "../array/md-array.ts";
import type { Member } from "../array/member.ts";
import { readSuperblock, wipeSuperblocks } from "../array/superblock-store.ts";
import { writePadded } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import { slotNumber } from "../base/units.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import { blankRecords } from "../fencing/takeover-store.ts";
import type { Send } from "../messages/message-bus.ts";
import { sameUuid, uuidText } from "../superblock/uuid.ts";
import { adoptUnannounced, updateMetadata, writeAndAnnounce } from "./metadata-update.ts";
import { checkBlockSize, type NodeContext } from "./node-context.ts";

/** By command: E_LAST_COPY, E_MEMBER_NOT_FOUND. */
export function failByCommand(context: NodeContext, number: number): Promise<void> {
  return updateMetadata(context, (array) => failMember(array, number));
}

/** A faulty member or a spare leaves the array (md-cluster, 18). E_MEMBER_ACTIVE, E_MEMBER_NOT_FOUND. */
export function removeByCommand(context: NodeContext, number: number): Promise<void> {
  return context.bus.withToken(async (send) => {
    await adoptUnannounced(context, send);
    const transition = removeMember(context.array, number);
    await send({ type: "remove", from: context.lockspace.slot, number });
    await writeAndAnnounce(context, send, transition);
  });
}

export interface AddedMember {
  readonly number: number;
  /** Null: it became a spare. */
  readonly raidDisk: number | null;
}

/**
 * A device joins the array on all nodes at once, or on none (md-cluster, 17): it is prepared, every node is asked whether
 * it sees it (NEWDISK), and the update that makes it a member follows under the same token. E_NO_DEVICE,
 * E_DEVICE_IN_ARRAY, E_DEVICE_SMALL, E_NODE_CANNOT_SEE_DEVICE.
 */
export async function addByCommand(context: NodeContext, path: string): Promise<AddedMember> {
  const device = await context.open(path, { readOnly: false });
  let kept = false;
  try {
    return await context.bus.withToken(async (send) => {
      await adoptUnannounced(context, send);
      // Under the token: while we waited for it somebody else may have added the same device.
      await checkFree(context, device);
      checkBlockSize(context, device);
      const spare = await offer(context, send, device);
      context.devices.set(spare.number, device);
      kept = true;
      const bound = addSpare(context.array, spare);
      await writeAndAnnounce(context, send, join(bound, activateSpares(bound.array)));
      const added = memberByNumber(context.array, spare.number);
      if (added === null) throw new MdError("E_IO", `${path} cannot be used by this node: it was taken out again`);
      return { number: spare.number, raidDisk: added.raidDisk };
    });
  } finally {
    if (!kept) await device.close();
  }
}

const join = (first: Transition, second: Transition): Transition => ({
  array: second.array,
  changes: [...first.changes, ...second.changes],
});

/** Never a device that somebody uses: of another array, or a member of this one. */
async function checkFree(context: NodeContext, device: BlockDevice): Promise<void> {
  for (const [number, member] of context.devices) {
    if (member.path !== device.path) continue;
    throw new MdError("E_DEVICE_IN_ARRAY", `${device.path} is member ${number} of this array already`);
  }
  let found: Awaited<ReturnType<typeof readSuperblock>>;
  try {
    found = await readSuperblock(device);
  } catch (error) {
    // Nothing there, or nothing that any array would start with.
    if (error instanceof MdError && error.code !== "E_IO") return;
    throw error;
  }
  if (!sameUuid(found.setUuid, context.array.uuid)) {
    throw new MdError("E_DEVICE_IN_ARRAY", `${device.path} belongs to the array "${found.setName}"`, {
      hint: `mdctl zero-superblock ${device.path}`,
    });
  }
  const twin = context.array.members.find((member) => sameUuid(member.deviceUuid, found.deviceUuid));
  if (twin !== undefined && twin.state !== "faulty") {
    throw new MdError("E_DEVICE_IN_ARRAY", `${device.path} is another path to member ${twin.number}`);
  }
}

/** Asks all nodes; on a refusal nothing remains of it anywhere. */
async function offer(context: NodeContext, send: Send, device: BlockDevice): Promise<Member> {
  const { array, devices, noNewDev, env } = context;
  const spare = planMember(array, device, env.random.bytes(16));
  for (const blank of blankRecords(array, spare)) await writePadded(device, blank);
  await prepareMember(array, devices, spare, device);
  try {
    const { deviceUuid: uuid, number } = spare;
    await send({ type: "newdisk", from: context.lockspace.slot, uuid, number });
    const vote = await noNewDev.convert("EX", { noqueue: true });
    if (vote.status === "granted") {
      await noNewDev.convert("CR");
      return spare;
    }
  } catch (error) {
    await wipeSuperblocks(device);
    throw error;
  }
  await wipeSuperblocks(device);
  // Who has confirmed it drops it now: it is neither in the superblocks nor does it carry one.
  await writeAndAnnounce(context, send, { array, changes: [] });
  throw new MdError("E_NODE_CANNOT_SEE_DEVICE", `some node does not see ${device.path}`, {
    why: "a member must be visible on every node that has the array",
    hint: "make the device visible there and add it again",
  });
}

/**
 * Vacant raid_disks take spares. Free slots' bitmaps have changed since the spare was prepared (a spare takes no
 * writes): they are copied anew; live nodes write their own when they hear of it.
 */
export function activateByPlan(context: NodeContext): Promise<void> {
  return context.bus.withToken(async (send) => {
    await adoptUnannounced(context, send);
    const transition = activateSpares(context.array);
    for (const { number } of transition.changes) await copyBitmaps(context, context.array, number);
    if (transition.changes.length > 0) await writeAndAnnounce(context, send, transition);
  });
}

async function copyBitmaps(context: NodeContext, array: MdArray, number: number): Promise<void> {
  const [source] = inSyncMembers(array);
  const spare = memberByNumber(array, number);
  const from = source === undefined ? undefined : context.devices.get(source.number);
  if (source === undefined || from === undefined || spare === null) return;
  const alone: MdArray = { ...array, members: [spare] };
  for (let slot = 0; slot < array.bitmap.slots; slot++) {
    const content = await readSlot(array, source, from, slotNumber(slot));
    const [failure] = await writeSlot(alone, context.devices, slotNumber(slot), content);
    // The superblock update that follows meets the same error and fails the member.
    if (failure !== undefined) {
      context.env.log.warn({ evt: "spare-error", uuid: uuidText(spare.deviceUuid) }, failure.error.message);
      return;
    }
  }
}
