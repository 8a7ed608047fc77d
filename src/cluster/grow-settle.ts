import { MdError } from "../base/md-error.ts";
import type { Send } from "../messages/message-bus.ts";
import { type Form, setCapacity, undoForm } from "./grow-form.ts";
import { tellCapacity } from "./grow-receiver.ts";
import { bringSlotsInForm } from "./grow-slots.ts";
import type { NodeContext } from "./node-context.ts";

export const resizeMessage = (context: NodeContext, { syncSize, raidDisks, chunkBytes }: Form) =>
  ({ type: "bitmap_resize", from: context.lockspace.slot, size: syncSize, raidDisks, chunkBytes }) as const;

/**
 * Whoever began a change of shape is gone, or could not end it. The superblocks decide: if they have the new shape, all
 * nodes were ready for it, and it is finished; if not, it is undone. For the holder of the token, which knows them.
 */
export async function settleShape(context: NodeContext, send: Send): Promise<void> {
  const { prepared, form, array } = context;
  if (prepared === null && context.capacity === array.size) return;
  const isWritten =
    form.syncSize === array.size &&
    form.raidDisks === array.raidDisks &&
    // Of the bitmap's chunk alone the superblocks say nothing.
    (prepared === null || form.syncSize !== prepared.before.syncSize || form.raidDisks !== prepared.before.raidDisks);
  if (isWritten) await finishShape(context, send);
  else await undoShape(context, send);
}

/** The point of no return is behind us: all nodes may use what is new. */
export async function finishShape(context: NodeContext, send: Send): Promise<void> {
  await send({ type: "change_capacity", from: context.lockspace.slot });
  context.prepared = null;
  if (context.capacity !== context.array.size) {
    await setCapacity(context, context.array.size);
    tellCapacity(context);
  }
  context.lookForWork();
}

/** Everything as it was, on all nodes: theirs first, so that no bit is set that another node would not understand. */
export async function undoShape(context: NodeContext, send: Send): Promise<void> {
  const { prepared, history, array } = context;
  if (prepared === null) return;
  try {
    await send(resizeMessage(context, prepared.before));
  } catch (error) {
    // Who cannot go back drops out; who refuses has never gone along.
    if (!(error instanceof MdError) || error.code === "E_NOT_JOINED") throw error;
  }
  await undoForm(context);
  await bringSlotsInForm(context).catch((error: unknown) => {
    // A slot that says otherwise is understood by whoever reads it.
    if (!(error instanceof MdError)) throw error;
    context.env.log.warn({ evt: "grow-undo", err: error.message }, "a slot's bitmap keeps another size for now");
  });
  await send({ type: "change_capacity", from: context.lockspace.slot });
  history.add("warn", "RESIZE", `"${array.name}" keeps its shape: the change was undone on all nodes`);
  context.lookForWork();
}
