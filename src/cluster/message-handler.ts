import { AssertionError, unreachable } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { type ClusterMessage, mayBeRefused } from "../messages/message.ts";
import type { AfterAll } from "../messages/message-bus.ts";
import { applyMetadata } from "./apply-metadata.ts";
import { askPeer } from "./ask-peer.ts";
import { receiveRemove, voteOnDevice, voteOnReturn } from "./device-vote.ts";
import { receiveCapacity, receiveResize } from "./grow-receiver.ts";
import type { NodeContext } from "./node-context.ts";
import { receiveResyncing } from "./suspend-receiver.ts";

/**
 * What each message does to this node. When it resolves the message is acknowledged: all of it has happened. What cannot
 * be carried out is refused where the sender can do without; else this node must not go on as if it had done it: it drops
 * out without an answer, and the sender goes on when it has been declared dead.
 */
export async function handleMessage(
  context: NodeContext,
  message: ClusterMessage,
  orphaned: boolean,
): Promise<AfterAll | null> {
  if (orphaned && isOfSenderOnly(message)) return null;
  try {
    return await carryOut(context, message);
  } catch (error) {
    if (error instanceof AssertionError || mayBeRefused(message)) throw error;
    // A data plane that has come to its end, as this node is leaving, does nothing wrong any more.
    if (await context.engine.hasStopped()) return null;
    context.fail(`${message.type} could not be carried out: ${error instanceof Error ? error.message : String(error)}`);
    throw error;
  }
}

/**
 * What a node says of its own slot is over with its death, which every other node clears up after by itself; and the slot
 * may have another owner by now.
 */
const isOfSenderOnly = ({ type }: ClusterMessage): boolean =>
  type === "resyncing" || type === "resyncing_start" || type === "bitmap_needs_sync";

async function carryOut(context: NodeContext, message: ClusterMessage): Promise<AfterAll | null> {
  switch (message.type) {
    case "metadata_updated": {
      const afterAll = await applyMetadata(context, message);
      // A node that has just joined tells so in this way.
      void askPeer(context, message.from);
      return afterAll;
    }
    case "resyncing":
      context.adderFirst.over(message.from);
      await receiveResyncing(context, message);
      return null;
    case "resyncing_start":
      context.remoteSyncs.set(message.from, { since: context.env.clock.now() });
      context.adderFirst.over(message.from);
      return null;
    case "bitmap_needs_sync":
      context.dispatch({ type: "needs_sync", slot: message.from });
      return null;
    case "newdisk":
      await voteOnDevice(context, message);
      return null;
    case "remove":
      await receiveRemove(context, message);
      return null;
    case "re_add":
      await voteOnReturn(context, message);
      return null;
    case "change_capacity":
      await receiveCapacity(context, message);
      return null;
    case "bitmap_resize":
      await receiveResize(context, message);
      return null;
    case "unknown":
      throw new MdError("E_PROTOCOL_VERSION", `message type ${message.raw} is unknown`);
    default:
      return unreachable(message);
  }
}
