import { inShape, isInShape } from "../array/bitmap-store.ts";
import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import type { NodeContext } from "./node-context.ts";
import { otherSlots, readSlotBits } from "./slot-bits.ts";
import { takeOverBits } from "./take-over-bits.ts";

/**
 * Every other slot's bitmap superblock must show the array's new form (md-cluster, 21): of a slot that nobody has we see
 * to that ourselves, under its lock; a live node has done so for its own when it acknowledged BITMAP_RESIZE. E_SYNC_RUNNING
 * for one that has not: its owner is about to join, and hears no messages yet.
 */
export async function bringSlotsInForm(context: NodeContext): Promise<void> {
  for (const slot of otherSlots(context)) {
    if (!(await context.slotLocks.tryTake(slot))) {
      await checkSlot(context, slot);
      continue;
    }
    try {
      // All that it does not cover is ours to resync already.
      await takeOverBits(context, slot, { uncovered: "known", hasToken: true });
    } finally {
      await context.slotLocks.release(slot);
    }
  }
}

async function checkSlot({ array, devices, env, node }: NodeContext, slot: SlotNumber): Promise<void> {
  const found = await readSlotBits(array, devices, slot, env.log);
  if (isInShape(array, found.super)) return;
  const owner = node.members.find((member) => member.slot === slot)?.node ?? "a node";
  const { syncSize } = inShape(array, found.super);
  throw new MdError("E_SYNC_RUNNING", `slot ${slot} does not follow: ${owner} is about to join or to take it over`, {
    why: `its bitmap covers ${found.super.syncSize} sectors, not ${syncSize}`,
    hint: "try again",
  });
}
