import { clearSlot, isInShape, type SlotContent } from "../array/bitmap-store.ts";
import { isDegraded, type MdArray } from "../array/md-array.ts";
import type { MemberFailure } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import { clearBits, countBits } from "../bitmap/bitmap-merge.ts";
import { sleep } from "../env/clock.ts";
import { updateMetadata } from "./metadata-update.ts";
import type { NodeContext } from "./node-context.ts";
import type { RecoveringSlot } from "./node-machine.ts";
import { readSlotBits } from "./slot-bits.ts";
import { condemn } from "./takeover-records.ts";

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
  context.remoteSyncs.delete(slot);
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
    const isOpen = context.node.recovering.some((target) => target.slot === slot);
    if (!isOpen || context.node.phase !== "active") return null;
  }
}

/** If the slot's owner is not dead after all, it must find out before it writes: the bits are ours in a moment. */
async function warnOwner(context: NodeContext, slot: SlotNumber): Promise<void> {
  const { array, devices, env, history, deps } = context;
  const owner = await condemn({ array, devices, env, nodeName: deps.nodeName }, slot);
  if (owner === null) return;
  const { node, incarnation } = owner;
  history.add("info", "PILL", `the members say that ${node} must not write any more (slot ${slot})`, {
    slot,
    node,
    incarnation,
  });
}

/**
 * While a member is missing somebody may be reading what it lacks from all slots, one after the other: bits must not
 * move from one that is still to be read to one that was read before. Who reads holds the token.
 */
function clear(context: NodeContext, slot: SlotNumber, found: SlotContent): Promise<readonly MemberFailure[]> {
  const { array, devices, bus } = context;
  if (!isDegraded(array)) return clearSlot(array, devices, slot, found);
  return bus.withToken(() => clearSlot(context.array, devices, slot, found));
}

/**
 * For the holder of the slot's lock: folds its bits into ours, durably, and only then clears them on disk; the slot has
 * the array's form then. Returns the number of chunks. On an error they are still there. `uncovered`: whether chunks that
 * the slot's bitmap does not cover (the array has become larger) are dirty; `known`: if they are, our bitmap says so.
 */
export async function takeOverBits(
  context: NodeContext,
  slot: SlotNumber,
  how: { readonly uncovered: "dirty" | "known"; readonly hasToken: boolean } = { uncovered: "dirty", hasToken: false },
): Promise<number> {
  await warnOwner(context, slot);
  await context.formChange;
  const { array, devices, env } = context;
  const { layout } = array.bitmap;
  const found = await readSlotBits(array, devices, slot, env.log);
  if (how.uncovered === "known" && found.super.syncSize < layout.syncSize) {
    clearBits(found.bits, Math.ceil(found.super.syncSize / layout.chunkSectors), layout.chunks);
  }
  const dirty = countBits(found.bits, layout.chunks);
  if (dirty === 0 && isInShape(array, found.super)) return 0;
  if (dirty > 0) {
    if (!(await mergeBits(context, array, found.bits))) return takeOverBits(context, slot, how);
    // Before the lock is free: the others ask us next, and must hear that we have work.
    await context.ownWindow.needs(true);
  }
  const failures = await (how.hasToken ? clearSlot(array, devices, slot, found) : clear(context, slot, found));
  for (const { number, error } of failures) {
    // Bits that stay are resynced once more, by whoever takes the slot; the member's failure shows by itself.
    env.log.warn({ evt: "slot-not-cleared", slot, member: number, err: error.message }, "a stale bitmap remains");
  }
  return dirty;
}

/** False: our bitmap has taken another form since the bits were read. */
async function mergeBits(context: NodeContext, { bitmap }: MdArray, bits: Uint8Array): Promise<boolean> {
  try {
    await context.engine.send({ type: "mergeBits", bits });
    return true;
  } catch (error) {
    await context.formChange;
    if (context.array.bitmap.layout === bitmap.layout) throw error;
    return false;
  }
}
