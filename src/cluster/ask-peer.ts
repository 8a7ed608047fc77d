import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import type { ResyncWindow } from "../messages/resync-window-codec.ts";
import type { NodeContext } from "./node-context.ts";

/** What was asked of this peer before is out of date: it has told something since. */
export function forgetQuestion(context: NodeContext, slot: SlotNumber): number {
  const question = (context.questions.get(slot) ?? 0) + 1;
  context.questions.set(slot, question);
  return question;
}

/**
 * Reads what a live peer says of its bitmap, and passes it on unless something newer was heard meanwhile; true if it did.
 */
export async function askPeer(
  context: NodeContext,
  slot: SlotNumber,
  use: (window: ResyncWindow) => Promise<void> = async () => {},
): Promise<boolean> {
  const question = forgetQuestion(context, slot);
  try {
    const window = await context.slotLocks.read(slot);
    if (context.questions.get(slot) !== question) return false;
    context.dispatch({ type: "peer", slot, needsResync: window.needsResync });
    await use(window);
    return true;
  } catch (error) {
    // The lockspace is gone; until then the worst holds.
    if (!(error instanceof MdError)) throw error;
    return false;
  }
}
