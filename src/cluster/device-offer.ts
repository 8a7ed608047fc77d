import { MdError } from "../base/md-error.ts";
import type { MessageOf } from "../messages/message.ts";
import type { Send } from "../messages/message-bus.ts";
import { uuidText } from "../superblock/uuid.ts";
import { othersWith } from "./exclusive-use.ts";
import { announce } from "./metadata-update.ts";
import { type NodeContext, shortName } from "./node-context.ts";

interface Offered {
  readonly deviceUuid: Uint8Array;
  /** `add /dev/sdd to`: what cannot be done without it. */
  readonly what: string;
}

/**
 * Asks every node whether it sees the device of `message` (md-cluster, 17). Resolves when all do; the update that makes
 * it a member must follow under the same token. E_NODE_CANNOT_SEE_DEVICE names those that do not, and says what could not
 * be done, `what`. On any failure `undo` is run and the others let go of the device at once.
 */
export async function askAll(
  context: NodeContext,
  send: Send,
  message: MessageOf<"newdisk"> | MessageOf<"re_add">,
  device: Offered,
  undo: () => Promise<unknown>,
): Promise<void> {
  const { noNewDev } = context;
  try {
    await send(message);
    const vote = await noNewDev.convert("EX", { noqueue: true });
    if (vote.status !== "granted") throw await refused(context, device);
    await noNewDev.convert("CR");
  } catch (error) {
    try {
      await undo();
    } finally {
      // Who has confirmed it drops it now: no update has made it a member.
      await announce(context, send);
    }
    throw error;
  }
}

async function refused(context: NodeContext, { deviceUuid, what }: Offered): Promise<MdError> {
  // That is how a node says that it does not see the device.
  const who = (await othersWith(context.lockspace, "no-new-dev")).join(", ") || "some node";
  const seconds = (context.deps.options.confirmMs / 1000).toFixed(1);
  return new MdError("E_NODE_CANNOT_SEE_DEVICE", `cannot ${what} ${shortName(context)}: ${who} cannot see it`, {
    why: `${who} searched for device uuid ${uuidText(deviceUuid)}, ${seconds} s, not found`,
    hint: `on ${who}: lsblk -o NAME,SERIAL,SIZE; then repeat the command`,
  });
}
