import { type SectorRange, type SlotNumber, sectorRange } from "../base/units.ts";
import type { MessageOf } from "../messages/message.ts";
import { askPeer, forgetQuestion } from "./ask-peer.ts";
import type { NodeContext } from "./node-context.ts";

/**
 * A peer resyncs a range, or has ended (RESYNCING; md-cluster, 13.3). Resolves when none of our writes is under way in
 * the range and none will start: only then is the message acknowledged, and only then the peer begins to copy.
 */
export async function receiveResyncing(context: NodeContext, message: MessageOf<"resyncing">): Promise<void> {
  const { from, range, isCheck = false } = message;
  // The value block was written before the message was sent.
  forgetQuestion(context, from);
  if (range !== null) {
    if (!context.remoteSyncs.has(from)) context.remoteSyncs.set(from, { since: context.env.clock.now() });
    await suspendFor(context, from, range, isCheck);
    await tellUnsettled(context);
    return;
  }
  await context.engine.send({ type: "resume", slot: from });
  context.remoteSyncs.delete(from);
  context.dispatch({ type: "window", slot: from, range: null, isCheck: false });
  void askPeer(context, from);
  // It may have left something that we have to do.
  context.lookForWork();
}

/**
 * Copies differ until this node has resynced its chunks, or has told all of a member that failed here: a peer that
 * compares them must be able to see that in our value block once it has our acknowledgement. `ResyncAnnouncer.rest` takes
 * it back.
 */
async function tellUnsettled({ shared, members, ownWindow }: NodeContext): Promise<void> {
  if (ownWindow.needsResync) return;
  if (shared.read("neededChunks") > 0 || members.hasBlocked) await ownWindow.needs(true);
}

/** Holds our writes in the window of another slot; a window that lies outside the array is none. */
export async function suspendFor(
  context: NodeContext,
  slot: SlotNumber,
  range: SectorRange,
  isCheck: boolean,
): Promise<void> {
  const inside = sectorRange(range.lo, Math.min(range.hi, context.array.size));
  if (inside.lo >= inside.hi) return;
  context.dispatch({ type: "window", slot, range: inside, isCheck });
  await context.engine.send({ type: "suspend", slot, range: inside });
}
