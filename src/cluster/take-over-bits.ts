import { clearSlot, isInShape, type SlotContent } from "../array/bitmap-store.ts";
import { isClustered, isDegraded, type MdArray } from "../array/md-array.ts";
import type { MemberFailure } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import { clearBits, countBits } from "../bitmap/bitmap-merge.ts";
import type { NodeContext } from "./node-context.ts";
import { readSlotBits } from "./slot-bits.ts";
import { condemn } from "./takeover-records.ts";

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
  // Whoever was there has been refused: it had no bitmap.
  if (!isClustered(array)) return 0;
  const { layout } = array.bitmap;
  const found = await readSlotBits(array, devices, slot, env.log);
  if (how.uncovered === "known" && found.super.syncSize < layout.syncSize) {
    clearBits(found.bits, Math.ceil(found.super.syncSize / layout.chunkSectors), layout.chunks);
  }
  const dirty = countBits(found.bits, layout.chunks);
  if (dirty === 0 && isInShape(array, found.super)) return 0;
  if (dirty > 0) {
    if (!(await mergeBits(context, array, found.bits, how.hasToken))) return takeOverBits(context, slot, how);
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

/** False: our bitmap has taken another form since the bits were read. E_SYNC_RUNNING with the token, if a member fails. */
async function mergeBits(
  context: NodeContext,
  { bitmap, name }: MdArray,
  bits: Uint8Array,
  hasToken: boolean,
): Promise<boolean> {
  try {
    const merging = context.engine.send({ type: "mergeBits", bits });
    if (!hasToken) await merging;
    else if (!(await context.members.unlessBlocked(merging))) {
      throw new MdError("E_SYNC_RUNNING", `a member of "${name}" has just failed, and not all nodes know of it yet`, {
        hint: "try again",
      });
    }
    return true;
  } catch (error) {
    await context.formChange;
    if (context.array.bitmap.layout === bitmap.layout) throw error;
    return false;
  }
}
