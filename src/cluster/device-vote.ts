import { removeMember } from "../array/array-state.ts";
import { memberByNumber } from "../array/md-array.ts";
import { readSuperblock } from "../array/superblock-store.ts";
import { sleep } from "../env/clock.ts";
import type { MessageOf } from "../messages/message.ts";
import { sameUuid, uuidText } from "../superblock/uuid.ts";
import { closeRemoved } from "./metadata-update.ts";
import { checkBlockSize, type NodeContext, recordChanges } from "./node-context.ts";

/**
 * A peer offers a new device (NEWDISK). Who finds it gives up `no-new-dev`, which the peer can then have alone; who does
 * not keeps it. Either way the message is acknowledged within `confirmMs`.
 */
export async function voteOnDevice(context: NodeContext, { uuid, number }: MessageOf<"newdisk">): Promise<void> {
  const { env, deps, history } = context;
  const inTime = new AbortController();
  const path = await Promise.race([
    deps.findDevice(uuid),
    sleep(env.clock, deps.options.confirmMs, inTime.signal).then(() => null),
  ]);
  inTime.abort();
  if (path === null) {
    history.add("warn", "NEWDISK", `device ${uuidText(uuid)} is to be added, but cannot be seen here`, { number });
    return;
  }
  const device = await context.open(path, { readOnly: false });
  try {
    checkBlockSize(context, device);
    const superblock = await readSuperblock(device);
    if (!sameUuid(superblock.deviceUuid, uuid) || superblock.devNumber !== number) throw new Error("another device");
  } catch (error) {
    await device.close();
    history.add("warn", "NEWDISK", `${path} does not hold what was offered: ${String(error)}`, { number });
    return;
  }
  context.candidates.set(number, { device, deviceUuid: uuid });
  await context.noNewDev.convert("NL");
}

/** A peer removes a member (REMOVE); the superblocks that say so follow. */
export async function receiveRemove(context: NodeContext, { from, number }: MessageOf<"remove">): Promise<void> {
  if (memberByNumber(context.array, number) === null) return;
  const { array, changes } = removeMember(context.array, number);
  await context.members.begin(array, changes);
  context.array = array;
  await closeRemoved(context, changes);
  recordChanges(context, changes, `slot ${from}`);
}
