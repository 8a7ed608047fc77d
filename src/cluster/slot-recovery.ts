import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import { sleep } from "../env/clock.ts";
import { updateMetadata } from "./metadata-update.ts";
import type { NodeContext } from "./node-context.ts";
import type { RecoveringSlot } from "./node-machine.ts";
import { takeOverBits } from "./take-over-bits.ts";

const RETRY_MS = 1000;
/** After so many failures the disks are gone for us: others may see them. */
const MOST_TRIES = 10;

/**
 * Takes over a slot whose owner is gone (md-cluster, 12.3). Every survivor does this; the first to get the lock finds the
 * bits, the others find none. A death at any point leaves the bits in the dead slot, in ours, or in both.
 */
export async function recoverSlot(context: NodeContext, { slot, node, why }: RecoveringSlot): Promise<void> {
  const dirty = await takeSlotOver(context, slot);
  // The slot has a new owner, who reads the bits as its own; or we are leaving.
  if (dirty === null) return;
  if (dirty > 0 || why === "died") {
    const text = dirty === 0 ? "nothing left to take over" : `${dirty} chunks are ours to resync`;
    context.history.add("info", "TAKEOVER", `slot ${slot} of ${node} (${why}): ${text}`, { slot, node, dirty });
  }
  if (isOpen(context, slot)) context.remoteSyncs.delete(slot);
  context.dispatch({ type: "recovered", slot });
  context.lookForWork();
  // What the dead node wrote last may not have been announced to all.
  if (why === "died") await updateMetadata(context, (array) => ({ array, changes: [] }));
}

/**
 * The number of chunks taken over; null: it is not ours to do any more. The bits must not be forgotten, so what fails is
 * tried again, but whoever cannot reach a member must not keep the slot from those who can.
 */
async function takeSlotOver(context: NodeContext, slot: SlotNumber): Promise<number | null> {
  for (let tries = 1; ; tries++) {
    if (!(await context.slotLocks.take(slot))) return null;
    try {
      return await takeOverBits(context, slot);
    } catch (error) {
      if (!(error instanceof MdError) || context.node.phase !== "active") throw error;
      context.env.log.error({ evt: "takeover-failed", slot, err: error.message }, "takeover is tried again");
      if (tries >= MOST_TRIES) {
        context.fail(`slot ${slot} cannot be taken over: ${error.message}`);
        throw error;
      }
    } finally {
      await context.slotLocks.release(slot);
    }
    await sleep(context.env.clock, RETRY_MS);
    if (!isOpen(context, slot) || context.node.phase !== "active") return null;
  }
}

/** Until it has its next owner. */
const isOpen = ({ node }: NodeContext, slot: SlotNumber): boolean =>
  node.recovering.some((target) => target.slot === slot);
