import { beginReplacement } from "../array/array-state.ts";
import { type MdArray, memberByNumber } from "../array/md-array.ts";
import type { Member } from "../array/member.ts";
import { MdError } from "../base/md-error.ts";
import { protocolFeatures } from "../messages/protocol-version.ts";
import { copyToSpare } from "./device-change.ts";
import { askAll } from "./device-offer.ts";
import { adoptUnannounced, writeAndAnnounce } from "./metadata-update.ts";
import { memberText, type NodeContext, shortName } from "./node-context.ts";

export interface Replacing {
  /** The member that serves until the other one is whole. */
  readonly number: number;
  /** The former spare that is filled. */
  readonly by: number;
  readonly raidDisk: number;
}

/**
 * A spare begins to replace a member, on all nodes at once or on none. From the acknowledgement of the update on every node
 * writes to both; whoever has the `resync` lock fills the new one, and the old one is faulty when that is done
 * (`memberRebuilt`). `spare`: null for any. Nothing has changed after E_MEMBER_NOT_FOUND, E_NO_DEVICE (no spare), E_VALUE,
 * E_MEMBER_ACTIVE (see `beginReplacement`), E_PROTOCOL_VERSION, E_NODE_CANNOT_SEE_DEVICE.
 */
export function replaceByCommand(context: NodeContext, number: number, spare: number | null): Promise<Replacing> {
  return context.bus.withToken(async (send) => {
    await adoptUnannounced(context, send);
    mustBeSpoken(context);
    const by = spare ?? anySpare(context).number;
    const transition = beginReplacement(context.array, number, by);
    const { deviceUuid } = memberByNumber(context.array, by) as Member;
    // A node that does not have the device could not write to it: it looks for it now, or has this refused.
    const message = { type: "newdisk", from: context.lockspace.slot, uuid: deviceUuid, number: by } as const;
    const what = `replace ${memberText(context, number)} by ${memberText(context, by)} in`;
    await askAll(context, send, message, { deviceUuid, what }, async () => {});
    await copyToSpare(context, by);
    await writeAndAnnounce(context, send, transition);
    return begun(context, number, by);
  });
}

/** Nodes of an older version would take the new member of the raid_disk for the only one. */
function mustBeSpoken(context: NodeContext): void {
  if (context.slotLocks.agreedOn(protocolFeatures.replacements)) return;
  throw new MdError("E_PROTOCOL_VERSION", `no member of ${shortName(context)} can be replaced yet`, {
    why: "the nodes speak a version of the cluster protocol that does not know replacements",
    hint: "stop the array on all nodes, upgrade them, and assemble again",
  });
}

function anySpare(context: NodeContext): Member {
  const spare = context.array.members.find(({ state }) => state === "spare");
  if (spare !== undefined) return spare;
  const name = shortName(context);
  throw new MdError("E_NO_DEVICE", `${name} has no spare that could replace a member`, {
    hint: `mdctl ${name} --add-spare DEVICE`,
  });
}

function begun(context: NodeContext, number: number, by: number): Replacing {
  const { raidDisk } = memberByNumber(context.array, by) ?? { raidDisk: null };
  if (raidDisk !== null && isStill(context.array, number)) return { number, by, raidDisk };
  throw new MdError("E_IO", `${memberText(context, by)} cannot replace a member: it, or the member, has failed`);
}

const isStill = (array: MdArray, number: number): boolean => memberByNumber(array, number)?.state === "in_sync";
