import { removeMember } from "../array/array-state.ts";
import { memberByNumber } from "../array/md-array.ts";
import { readSuperblock } from "../array/superblock-store.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import { sleep } from "../env/clock.ts";
import type { MessageOf } from "../messages/message.ts";
import { sameUuid, uuidText } from "../superblock/uuid.ts";
import { applyNewest } from "./apply-metadata.ts";
import { closeRemoved } from "./metadata-update.ts";
import { checkBlockSize, type NodeContext, recordChanges } from "./node-context.ts";

/** Between two searches for a device that a peer offers: it may be on its way to this host. */
const SEARCH_MS = 500;

/** A peer offers a new device (NEWDISK), or one that was a member before. */
export function voteOnDevice(context: NodeContext, { uuid, number }: MessageOf<"newdisk">): Promise<void> {
  return vote(context, uuid, number);
}

/** A peer wants a faulty member back (RE_ADD). Unlike md we do not trust it before it was read here. */
export async function voteOnReturn(context: NodeContext, { number }: MessageOf<"re_add">): Promise<void> {
  const member = memberByNumber(context.array, number);
  if (member?.state === "faulty") await vote(context, member.deviceUuid, number);
}

/**
 * Who finds the device gives up `no-new-dev`, which the peer can then have alone; who does not keeps it, and is named by
 * that. Either way the message is acknowledged within `confirmMs`.
 */
async function vote(context: NodeContext, uuid: Uint8Array, number: number): Promise<void> {
  const { env, deps, history } = context;
  const late = new AbortController();
  const found = await Promise.race([
    find(context, uuid, number, late.signal),
    sleep(env.clock, deps.options.confirmMs, late.signal).then(() => null),
  ]);
  late.abort();
  context.asked.end();
  if (found === null) {
    history.add("warn", "NEWDISK", `device ${uuidText(uuid)} is to be added, but cannot be seen here`, { number });
    return;
  }
  context.candidates.set(number, { device: found, deviceUuid: uuid });
  await context.noNewDev.convert("NL");
}

/** The device, open, as its superblock names it; null when an operator says that it is missing, or too `late`. */
async function find(
  context: NodeContext,
  uuid: Uint8Array,
  number: number,
  late: AbortSignal,
): Promise<BlockDevice | null> {
  const { env, deps, asked } = context;
  const confirmed = asked.ask(number);
  let answered = false;
  void confirmed.then(() => {
    answered = true;
  });
  while (!late.aborted) {
    const path = await Promise.race([confirmed, deps.findDevice(uuid)]);
    const device = path === null ? null : await openOffered(context, path, uuid, number);
    if (device !== null && !late.aborted) return device;
    await device?.close();
    if (answered) return null;
    const pause = new AbortController();
    await Promise.race([confirmed, sleep(env.clock, SEARCH_MS, pause.signal)]);
    pause.abort();
  }
  return null;
}

/** Null for one that is not what was offered, or cannot be used here. */
async function openOffered(
  context: NodeContext,
  path: string,
  uuid: Uint8Array,
  number: number,
): Promise<BlockDevice | null> {
  let device: BlockDevice | null = null;
  try {
    device = await context.opener.open(path, { readOnly: false });
    checkBlockSize(context, device);
    const superblock = await readSuperblock(device);
    if (sameUuid(superblock.deviceUuid, uuid) && superblock.devNumber === number) return device;
    throw new Error("it has another device uuid or number");
  } catch (error) {
    await device?.close();
    context.history.add("warn", "NEWDISK", `${path} does not hold what was offered: ${String(error)}`, { number });
    return null;
  }
}

/**
 * A peer removes a member (REMOVE); the superblocks that say so follow. It must not get lost because we have missed that
 * the member failed, from a node that died over it: then the superblocks say so, and are read first (md-cluster, 26.22).
 */
export async function receiveRemove(context: NodeContext, { from, number }: MessageOf<"remove">): Promise<void> {
  const member = memberByNumber(context.array, number);
  if (member === null) return;
  if (member.state === "in_sync" || member.state === "rebuilding") await applyNewest(context, from);
  if (memberByNumber(context.array, number) === null) return;
  const { array, changes } = removeMember(context.array, number);
  await context.members.begin(array, changes);
  context.array = array;
  await closeRemoved(context, changes);
  recordChanges(context, changes, `slot ${from}`);
}
