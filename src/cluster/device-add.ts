import { copyBitmaps, planMember, prepareMember } from "../array/add-member.ts";
import { activateSpares, addSpare, type Transition } from "../array/array-state.ts";
import { badBlockLogFault } from "../array/bad-block-place.ts";
import { readBadBlocks } from "../array/bad-block-store.ts";
import { isClustered, memberByNumber } from "../array/md-array.ts";
import { type Member, MemberFlag } from "../array/member.ts";
import { wipeSuperblocks } from "../array/metadata-traces.ts";
import { returningMember, returnMember } from "../array/return-member.ts";
import { readSuperblock } from "../array/superblock-store.ts";
import { writePadded } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import { blankRecords } from "../fencing/takeover-store.ts";
import type { Send } from "../messages/message-bus.ts";
import type { Superblock } from "../superblock/superblock.ts";
import { sameUuid } from "../superblock/uuid.ts";
import { askAll } from "./device-offer.ts";
import { gatherDirtyChunks } from "./dirty-chunks.ts";
import { adoptUnannounced, writeAndAnnounce } from "./metadata-update.ts";
import { checkBlockSize, type NodeContext, shortName } from "./node-context.ts";

/** add: back into its old place if the bitmaps allow it, else as a new device. */
export type AddHow = "add" | "re-add" | "add-spare";

export interface AddedMember {
  readonly number: number;
  /** Null: it became a spare. */
  readonly raidDisk: number | null;
  /** re-add: only what it has missed is copied. */
  readonly as: "spare" | "re-add";
}

/** Of `MemberFlag`: those that the device is to have, and those that it is to have no more. */
export interface MarkChange {
  readonly set: number;
  readonly clear: number;
}

export const noMarks: MarkChange = { set: 0, clear: 0 };

/**
 * A device joins the array on all nodes at once, or on none (md-cluster, 17 and 20): every node is asked whether it sees
 * it, and the update that makes it a member follows under the same token. E_NO_DEVICE, E_DEVICE_IN_ARRAY,
 * E_DEVICE_SMALL, E_MEMBER_ACTIVE, E_NODE_CANNOT_SEE_DEVICE; re-add alone: E_NO_SUPERBLOCK, and E_VALUE when what it has
 * missed is not known.
 */
export async function addByCommand(
  context: NodeContext,
  path: string,
  how: AddHow,
  marks: MarkChange,
): Promise<AddedMember> {
  if (isClustered(context.array) && (marks.set & MemberFlag.writeMostly) !== 0) {
    throw new MdError("E_VALUE", `${shortName(context)} is clustered: it has no write-mostly members`, {
      why: "while copies may differ all nodes read the same one",
    });
  }
  const device = await context.opener.open(path, { readOnly: false });
  let kept = false;
  const keep = async (number: number): Promise<void> => {
    // A faulty member that comes back is open already, under its old path perhaps.
    await context.devices.get(number)?.close();
    context.devices.set(number, device);
    kept = true;
  };
  try {
    return await context.bus.withToken(async (send) => {
      await adoptUnannounced(context, send);
      // Under the token: while we waited for it somebody else may have added the same device.
      const found = await findOurs(context, device, how);
      checkBlockSize(context, device);
      const returning =
        found === null || how === "add-spare" ? "it holds nothing" : await judge(context, device, found);
      if (typeof returning !== "string") return enterAgain(context, send, device, marked(returning, marks), keep);
      if (how === "re-add") refuseReturn(context, device, returning);
      return enterNew(context, send, device, marks, keep);
    });
  } finally {
    if (!kept) await device.close();
  }
}

async function judge(context: NodeContext, device: BlockDevice, found: Superblock): Promise<Member | string> {
  const member = returningMember(context.array, found, (await gatherDirtyChunks(context)).eventsCleared);
  if (typeof member === "string" || member.badBlockLog === null) return member;
  const fault = badBlockLogFault(context.array, member);
  if (fault !== null) return fault;
  return { ...member, badBlockLog: { ...member.badBlockLog, entries: await readBadBlocks(device, found) } };
}

const marked = (member: Member, { set, clear }: MarkChange): Member => ({
  ...member,
  devFlags: (member.devFlags & ~clear) | set,
});

function refuseReturn(context: NodeContext, { path }: BlockDevice, why: string): never {
  throw new MdError("E_VALUE", `re-add of ${path} to ${shortName(context)} is not possible: ${why}`, {
    why: "it would have to be filled from the start",
    hint: `mdctl add ${path}`,
  });
}

/** Its old place, and nothing but what it has missed to copy. */
async function enterAgain(
  context: NodeContext,
  send: Send,
  device: BlockDevice,
  member: Member,
  keep: (number: number) => Promise<void>,
): Promise<AddedMember> {
  const { array, devices, lockspace } = context;
  const { number, deviceUuid } = member;
  const from = lockspace.slot;
  const isBound = memberByNumber(array, number) !== null;
  const message = isBound
    ? ({ type: "re_add", from, number } as const)
    : ({ type: "newdisk", from, uuid: deviceUuid, number } as const);
  await copyBitmaps(array, devices, member, device);
  await askAll(context, send, message, { deviceUuid, what: `add ${device.path} to` }, async () => {});
  await keep(number);
  await writeAndAnnounce(context, send, returnMember(array, member));
  return entered(context, device, number, "re-add");
}

async function enterNew(
  context: NodeContext,
  send: Send,
  device: BlockDevice,
  marks: MarkChange,
  keep: (number: number) => Promise<void>,
): Promise<AddedMember> {
  const { array, devices, env, lockspace } = context;
  const spare = planMember(array, device, env.random.bytes(16), marks.set);
  for (const blank of blankRecords(array, spare)) await writePadded(device, blank);
  await prepareMember(array, devices, spare, device);
  const { deviceUuid: uuid, number } = spare;
  const message = { type: "newdisk", from: lockspace.slot, uuid, number } as const;
  await askAll(context, send, message, { deviceUuid: uuid, what: `add ${device.path} to` }, () =>
    wipeSuperblocks(device),
  );
  await keep(number);
  const bound = addSpare(array, spare);
  await writeAndAnnounce(context, send, join(bound, activateSpares(bound.array)));
  return entered(context, device, number, "spare");
}

function entered(context: NodeContext, { path }: BlockDevice, number: number, as: AddedMember["as"]): AddedMember {
  const member = memberByNumber(context.array, number);
  if (member !== null && member.state !== "faulty") return { number, raidDisk: member.raidDisk, as };
  throw new MdError("E_IO", `${path} cannot be used by this node: it was taken out again`);
}

const join = (first: Transition, second: Transition): Transition => ({
  array: second.array,
  changes: [...first.changes, ...second.changes],
});

/**
 * The superblock of this array on the device, null if it has none. Never a device that somebody uses: of another array,
 * or a member of this one, unless it is faulty and wanted back.
 */
async function findOurs(context: NodeContext, device: BlockDevice, how: AddHow): Promise<Superblock | null> {
  const { array } = context;
  for (const [number, member] of context.devices) {
    if (member.path !== device.path) continue;
    const isFaulty = memberByNumber(array, number)?.state === "faulty";
    if (how === "re-add" && isFaulty) continue;
    throw new MdError("E_DEVICE_IN_ARRAY", `${device.path} is member ${number} of this array already`);
  }
  const found = await superblockOf(device, how);
  if (found === null) return null;
  if (!sameUuid(found.setUuid, array.uuid)) {
    throw new MdError("E_DEVICE_IN_ARRAY", `${device.path} belongs to the array "${found.setName}"`, {
      hint: `mdctl zero-superblock ${device.path}`,
    });
  }
  const twin = array.members.find((member) => sameUuid(member.deviceUuid, found.deviceUuid));
  if (twin !== undefined && twin.state !== "faulty") {
    throw new MdError("E_DEVICE_IN_ARRAY", `${device.path} is another path to member ${twin.number}`);
  }
  return found;
}

async function superblockOf(device: BlockDevice, how: AddHow): Promise<Superblock | null> {
  try {
    return await readSuperblock(device);
  } catch (error) {
    // Nothing there, or nothing that any array would start with: for a new member that is as good.
    if (how !== "re-add" && error instanceof MdError && error.code !== "E_IO") return null;
    throw error;
  }
}
