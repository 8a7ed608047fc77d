import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import type { NodeContext } from "./node-context.ts";

/** Reads what a live peer says of its bitmap, and passes it on unless something newer was heard meanwhile. */
export async function askPeer(context: NodeContext, slot: SlotNumber): Promise<void> {
  const question = (context.questions.get(slot) ?? 0) + 1;
  context.questions.set(slot, question);
  try {
    const { needsResync } = await context.slotLocks.read(slot);
    if (context.questions.get(slot) === question) context.dispatch({ type: "peer", slot, needsResync });
  } catch (error) {
    // The lockspace is gone; until then the worst holds.
    if (!(error instanceof MdError)) throw error;
  }
}
