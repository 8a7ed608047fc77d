import type { MdArray } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import type { MessageOf } from "../messages/message.ts";
import { askPeer } from "./ask-peer.ts";
import { formOf, prepareForm, sameForm, setCapacity, takeForm, undoForm } from "./grow-form.ts";
import type { NodeContext } from "./node-context.ts";

/**
 * A peer wants another size, number of raid_disks or bitmap chunk (BITMAP_RESIZE; md-cluster, 21): be ready for it, or
 * refuse. What we were before it, it may want back: then this ends it.
 */
export async function receiveResize(context: NodeContext, message: MessageOf<"bitmap_resize">): Promise<void> {
  const { size: syncSize, from } = message;
  const raidDisks = message.raidDisks === 0 ? context.form.raidDisks : message.raidDisks;
  const chunkBytes = message.chunkBytes === 0 ? context.form.chunkBytes : message.chunkBytes;
  const form = { syncSize, raidDisks, chunkBytes };
  const { prepared } = context;
  // Also the end of what we have refused ourselves.
  if (sameForm(form, context.form)) return;
  if (prepared !== null && sameForm(form, prepared.before)) {
    await undoOrLeave(context);
    return;
  }
  if (prepared !== null) throw new MdError("E_SYNC_RUNNING", "another change of the array's shape is not over yet");
  // What is new to the array differs between the copies, and the sender has it to resync: reads go to the first copy.
  if (syncSize > context.form.syncSize) context.dispatch({ type: "peer", slot: from, needsResync: true });
  await prepareForm(context, form, null);
}

/** The sender takes it for undone everywhere: a node that cannot do it has no place in the array any more. */
async function undoOrLeave(context: NodeContext): Promise<void> {
  try {
    await undoForm(context);
  } catch (error) {
    if (error instanceof MdError) context.fail(`another shape of the array cannot be undone: ${error.message}`);
    throw error;
  }
}

/** All nodes have taken what was prepared (CHANGE_CAPACITY): what is new to the array may be used. */
export async function receiveCapacity(context: NodeContext, { from }: MessageOf<"change_capacity">): Promise<void> {
  context.prepared = null;
  if (context.capacity !== context.array.size) {
    await setCapacity(context, context.array.size);
    tellCapacity(context);
  }
  // What it has to resync it has made known before.
  void askPeer(context, from);
  context.lookForWork();
}

/**
 * The superblocks have another shape now; whoever wrote it has asked all nodes before. Returns the array with the bitmap
 * that we have.
 */
export async function followShape(context: NodeContext, found: MdArray): Promise<MdArray> {
  const form = { ...formOf(found), chunkBytes: context.form.chunkBytes };
  if (!sameForm(form, context.form)) await takeForm(context, form, null);
  return { ...found, bitmap: context.array.bitmap };
}

export function tellCapacity({ history, array, capacity }: NodeContext): void {
  history.add("info", "RESIZE", `"${array.name}" has ${capacity} sectors on all nodes`, { sectors: capacity });
}
