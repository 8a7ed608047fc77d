import { isClustered } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import type { Send } from "../messages/message-bus.ts";
import { othersWith } from "./exclusive-use.ts";
import { type NodeContext, shortName } from "./node-context.ts";
import { otherSlots } from "./slot-bits.ts";
import { takeOverBits } from "./take-over-bits.ts";
import { refuseIfSyncing, withoutResync } from "./without-resync.ts";

/**
 * A change that only the one node that uses the array can make: without a resync, under the token. Of E_SYNC_RUNNING and
 * E_HELD the second, which names the others: it would stay so after the resync.
 */
export async function whileAlone<T>(
  context: NodeContext,
  what: string,
  change: (send: Send) => Promise<T>,
): Promise<T> {
  try {
    return await withoutResync(context, change);
  } catch (error) {
    const { array, lockspace } = context;
    const isSyncing = error instanceof MdError && error.code === "E_SYNC_RUNNING";
    const other = lockspace.members.find(({ slot }) => slot !== lockspace.slot);
    if (!isSyncing || !isClustered(array) || other === undefined) throw error;
    throw await heldBy(context, what, other.slot);
  }
}

/**
 * For the holder of the token: runs `change` while this node is the only one that uses the array (lock_all_bitmaps;
 * md-cluster, 22). Every other slot's lock is held, its bits are ours, and nobody is in the middle of taking one over
 * (E_SYNC_RUNNING). E_HELD names who is there; then all of them are given back.
 */
export async function withAllSlots<T>(
  context: NodeContext,
  what: string,
  change: (others: readonly SlotNumber[]) => Promise<T>,
): Promise<T> {
  if (!isClustered(context.array)) return change([]);
  const taken: SlotNumber[] = [];
  try {
    for (const slot of otherSlots(context)) {
      if (!(await context.slotLocks.tryTake(slot))) throw await heldBy(context, what, slot);
      taken.push(slot);
    }
    // Those who are about to join have no slot's lock, perhaps, but wait for the token before they use anything.
    const { status } = await context.exclusive.convert("EX", { noqueue: true });
    if (status !== "granted") throw await heldBy(context, what, null);
    for (const slot of taken) await takeOverBits(context, slot, { uncovered: "known", hasToken: true });
    refuseIfSyncing(context);
    return await change(taken);
  } finally {
    if (isClustered(context.array)) await context.exclusive.convert("CR");
    for (const slot of taken) await context.slotLocks.release(slot);
  }
}

async function heldBy(context: NodeContext, what: string, slot: SlotNumber | null): Promise<MdError> {
  const { lockspace } = context;
  const there = lockspace.members.filter((member) => member.slot === slot).map(({ node }) => node);
  const holders = there.length > 0 ? there : await othersWith(lockspace, "exclusive");
  // Nobody uses it: some node, perhaps this one, is in the middle of taking the slot over.
  if (holders.length === 0 && slot !== null) {
    return new MdError("E_SYNC_RUNNING", `a takeover of slot ${slot} is under way`, { hint: "try again" });
  }
  const who = holders.join(", ") || "another node";
  const name = shortName(context);
  return new MdError("E_HELD", `${what} of ${name} cannot change: ${who} uses it, too`, {
    why: slot === null ? `${who} is a member of its lockspace` : `the bitmap of slot ${slot} is locked`,
    hint: `on ${who}: mdctl stop ${name}; then try again`,
    details: { nodes: holders },
  });
}
