import type { SlotNumber } from "../base/units.ts";
import { askPeer } from "./ask-peer.ts";
import type { NodeContext } from "./node-context.ts";
import { otherSlots } from "./slot-bits.ts";
import { suspendFor } from "./suspend-receiver.ts";
import { takeOverBits } from "./take-over-bits.ts";

/**
 * The second half of joining: every other slot either has an owner, who says what it resyncs, or nobody, and then its
 * bits become ours (md-cluster, 10.1 step 5) and are cleared, so that a free slot is clean as long as anybody is here.
 */
export async function probeSlots(context: NodeContext): Promise<void> {
  for (const slot of otherSlots(context)) await probe(context, slot);
}

async function probe(context: NodeContext, slot: SlotNumber): Promise<void> {
  const { slotLocks, history } = context;
  if (!(await takeIfFree(context, slot))) {
    await askPeer(context, slot, async ({ range }) => {
      if (range !== null) await suspendFor(context, slot, range, false);
    });
    return;
  }
  try {
    const dirty = await takeOverBits(context, slot);
    if (dirty > 0)
      history.add("info", "TAKEOVER", `free slot ${slot}: ${dirty} chunks are ours to resync`, { slot, dirty });
  } finally {
    await slotLocks.release(slot);
  }
}

/** A slot without an owner may be locked for a moment, by another node that does the same: its end is waited for. */
async function takeIfFree(context: NodeContext, slot: SlotNumber): Promise<boolean> {
  for (;;) {
    if (await context.slotLocks.tryTake(slot)) return true;
    if (context.node.members.some((member) => member.slot === slot)) return false;
    if (await context.slotLocks.take(slot)) return true;
    if (context.node.phase === "fenced") return false;
  }
}
