import {
  type ArrayShape,
  planShape,
  type ShapeChange,
  sameMembers,
  sameShape,
  shapeOf,
  withShape,
} from "../array/array-shape.ts";
import { MdError } from "../base/md-error.ts";
import { bitmapLayout } from "../bitmap/bitmap-layout.ts";
import { bitsOfRange } from "../bitmap/resize-bits.ts";
import type { Send } from "../messages/message-bus.ts";
import { type Form, formOfShape, memberRoom, prepareForm } from "./grow-form.ts";
import { finishShape, resizeMessage, undoShape } from "./grow-settle.ts";
import { bringSlotsInForm } from "./grow-slots.ts";
import { writeAndAnnounce } from "./metadata-update.ts";
import type { NodeContext } from "./node-context.ts";
import { letSettle, refuseIfSyncing, withoutResync } from "./without-resync.ts";

export interface GrowRequest extends ShapeChange {
  /** What is new to the array is equal on all members, the caller says: no resync of it. */
  readonly assumeClean: boolean;
}

export interface Grown {
  readonly before: ArrayShape;
  readonly after: ArrayShape;
}

/** What a grow would do now. Errors as `growByCommand`, as far as they can be known without asking the others. */
export async function planGrow(context: NodeContext, request: GrowRequest): Promise<Grown> {
  await letSettle(context);
  refuseIfSyncing(context);
  return plan(context, request);
}

async function plan(context: NodeContext, request: GrowRequest): Promise<Grown> {
  const room = request.size === null ? [] : await memberRoom(context);
  return { before: shapeOf(context.array), after: planShape(context.array, request, room) };
}

/**
 * Another size, number of raid_disks or bitmap chunk, on all nodes or on none (md-cluster, 21; decision 20). No resync
 * may run anywhere, and none begins meanwhile: E_SYNC_RUNNING. Also E_DEVICE_SMALL, E_VALUE, E_MEMBER_ACTIVE, E_HELD, and
 * what a node refuses it with, by its name; then everything is as it was, everywhere.
 */
export function growByCommand(context: NodeContext, request: GrowRequest): Promise<Grown> {
  return withoutResync(context, (send) => growUnderToken(context, send, request));
}

async function growUnderToken(context: NodeContext, send: Send, request: GrowRequest): Promise<Grown> {
  const grown = await plan(context, request);
  const { before, after } = grown;
  if (sameShape(before, after)) return grown;
  const form = formOfShape(context.array, after);
  const need = newChunks(context, form, request.assumeClean);
  // Before anybody else can learn of it: whoever joins must know that there is something to resync.
  if (need !== null) await context.ownWindow.needs(true);
  await prepareForm(context, form, need);
  try {
    await send(resizeMessage(context, form));
    await bringSlotsInForm(context);
  } catch (error) {
    if (error instanceof MdError) await undoShape(context, send);
    throw error;
  }
  if (!sameMembers(before, after)) {
    // From here on it has happened: whoever goes on after us finds it in the superblocks.
    await writeAndAnnounce(context, send, { array: withShape(context.array, after), changes: [] });
  }
  await finishShape(context, send);
  record(context, grown);
  return grown;
}

/** Bits, in the new form, of all that is new to the array. */
function newChunks(context: NodeContext, { syncSize, chunkBytes }: Form, assumeClean: boolean): Uint8Array | null {
  const { size } = context.array;
  return syncSize <= size || assumeClean ? null : bitsOfRange(bitmapLayout(syncSize, chunkBytes), size, syncSize);
}

function record({ history }: NodeContext, { before, after }: Grown): void {
  const parts: string[] = [];
  if (before.memberSize !== after.memberSize) parts.push(`size ${before.memberSize} -> ${after.memberSize} sectors`);
  if (before.raidDisks !== after.raidDisks) parts.push(`raid-devices ${before.raidDisks} -> ${after.raidDisks}`);
  if (before.chunkBytes !== after.chunkBytes)
    parts.push(`bitmap chunk ${before.chunkBytes} -> ${after.chunkBytes} bytes`);
  if (before.stripeSectors !== after.stripeSectors)
    parts.push(`chunk ${before.stripeSectors} -> ${after.stripeSectors} sectors`);
  history.add("info", "GROW", parts.join(", "), { before, after });
}
