import { type MdArray, memberByNumber } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import type { MessageOf } from "../messages/message.ts";
import type { AfterAll } from "../messages/message-bus.ts";
import { followShape } from "./grow-receiver.ts";
import { closeRemoved } from "./metadata-update.ts";
import { type NodeContext, recordChanges } from "./node-context.ts";
import { decideCandidates, type FoundUpdate, readPeerUpdate } from "./peer-update.ts";

/**
 * A peer has written superblocks (METADATA_UPDATED; md-cluster, 16): read them, make our state the same. When the sender
 * has all acknowledgements, nobody reads from a failed member any more, and our writes may leave it out.
 */
export async function applyMetadata(
  context: NodeContext,
  { from, number }: MessageOf<"metadata_updated">,
): Promise<AfterAll> {
  // Whatever goes wrong: going on with old knowledge would write to the wrong set of members (`handleMessage`).
  const found = await readPeerUpdate(context, number);
  await decideCandidates(context, found.accepted);
  const isToBeFilled = found.changes.some(
    (change) =>
      change.type === "rebuilding" &&
      (found.accepted.has(change.number) || (change.isReplacement && !isReplacing(context.array, change.number))),
  );
  if (isToBeFilled) context.adderFirst.expect(from);
  await follow(context, found, from);
  return async () => {
    // If the sender died instead, some node may have missed the message: whoever takes over announces it once more.
    if (context.node.recovering.some((target) => target.slot === from && target.why === "died")) return;
    try {
      await context.members.settle(context.array);
    } catch (error) {
      // The data plane is gone, and with it everything that it could do to the member.
      if (!(error instanceof MdError)) throw error;
    }
  };
}

const isReplacing = (array: MdArray, number: number): boolean => memberByNumber(array, number)?.isReplacement === true;

/** What the superblocks say by now, as a message of `from` shows that we have missed some of it. */
export async function applyNewest(context: NodeContext, from: SlotNumber): Promise<void> {
  const found = await readPeerUpdate(context, null);
  await decideCandidates(context, found.accepted);
  await follow(context, found, from);
}

async function follow(context: NodeContext, found: FoundUpdate, from: SlotNumber): Promise<void> {
  context.members.learnEvents(found.array.events);
  const array = await followShape(context, found.array);
  await context.members.begin(array, found.changes);
  context.array = array;
  await closeRemoved(context, found.changes);
  const sender = context.node.members.find(({ slot }) => slot === from)?.node ?? `slot ${from}`;
  recordChanges(context, found.changes, sender);
  context.lookForWork();
}
