import { copyBitmaps } from "../array/add-member.ts";
import { activateSpares, failMember, removeMember } from "../array/array-state.ts";
import { memberByNumber } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import { uuidText } from "../superblock/uuid.ts";
import { adoptUnannounced, updateMetadata, writeAndAnnounce } from "./metadata-update.ts";
import type { NodeContext } from "./node-context.ts";

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

/**
 * Vacant raid_disks take spares. Free slots' bitmaps have changed since the spare was prepared (a spare takes no
 * writes): they are copied anew; live nodes write their own when they hear of it.
 */
export function activateByPlan(context: NodeContext): Promise<void> {
  return context.bus.withToken(async (send) => {
    await adoptUnannounced(context, send);
    const transition = activateSpares(context.array);
    for (const { number } of transition.changes) await copyToSpare(context, number);
    if (transition.changes.length > 0) await writeAndAnnounce(context, send, transition);
  });
}

/** A device error is found by the superblock update that follows. */
export async function copyToSpare(context: NodeContext, number: number): Promise<void> {
  const { array, devices, env } = context;
  const spare = memberByNumber(array, number);
  const device = devices.get(number);
  if (spare === null || device === undefined) return;
  try {
    await copyBitmaps(array, devices, spare, device);
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    // The superblock update that follows meets the same error and fails the member.
    env.log.warn({ evt: "spare-error", uuid: uuidText(spare.deviceUuid) }, error.message);
  }
}
