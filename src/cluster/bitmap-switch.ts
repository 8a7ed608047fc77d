import { type BitmapWish, bitmapFor } from "../array/bitmap-kind.ts";
import { freshBitmapSuper, type SlotContent, writeSlot } from "../array/bitmap-store.ts";
import { type ArrayBitmap, type BitmapKind, bitmapStart, isClustered, type MdArray } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import { BITMAP_PAGE_BYTES, BITMAP_SUPER_BYTES } from "../bitmap/bitmap-layout.ts";
import { encodeBitmapSuper } from "../bitmap/bitmap-super.ts";
import type { BitmapPlace } from "../engine/engine-protocol.ts";
import type { Send } from "../messages/message-bus.ts";
import { whileAlone, withAllSlots } from "./all-slots.ts";
import { writeAndAnnounce } from "./metadata-update.ts";
import type { NodeContext } from "./node-context.ts";
import { checkRecordRoom } from "./record-room.ts";
import { otherSlots } from "./slot-bits.ts";

export interface BitmapSwitched {
  readonly before: BitmapKind;
  readonly after: BitmapKind;
}

/** What a switch would do. E_VALUE when there is no room for it. */
export function planSwitch({ array, lockspace }: NodeContext, wish: BitmapWish): BitmapSwitched {
  const before = array.bitmap.kind;
  if (wish.kind === before) return { before, after: before };
  const after = withBitmap(array, bitmapFor(array, wish));
  if (isClustered(after) && lockspace.slot >= after.bitmap.slots) {
    throw new MdError("E_VALUE", `this node has slot ${lockspace.slot} of "${array.name}": it needs more nodes`, {
      hint: `--nodes=${lockspace.slot + 1}`,
    });
  }
  checkRecordRoom(array, after);
  return { before, after: wish.kind };
}

/**
 * Another kind of bitmap, or none, while clients write (md-cluster, 22; decision 26). From a clustered one only while no
 * other node uses the array: E_HELD names it. One kind becomes another through none. A crash at any moment leaves the old
 * form, the new one, or no bitmap, which means a whole resync. E_SYNC_RUNNING, E_VALUE.
 */
export function switchBitmap(context: NodeContext, wish: BitmapWish): Promise<BitmapSwitched> {
  return whileAlone(context, "the bitmap", async (send) => {
    const plan = planSwitch(context, wish);
    if (plan.before === plan.after) return plan;
    if (plan.before !== "none") await dropBitmap(context, send);
    if (plan.after !== "none") await addBitmap(context, send, wish);
    const text = `bitmap of "${context.array.name}": ${plan.before} -> ${plan.after}`;
    context.history.add("info", "BITMAP", text, { ...plan });
    return plan;
  });
}

/**
 * The superblocks come first: they say active from then on, and whoever finds them so resyncs all. Until the last of them
 * is written the bitmap is kept on disk. In memory it stays: what this node copies hangs on it.
 */
async function dropBitmap(context: NodeContext, send: Send): Promise<void> {
  await withAllSlots(context, "the bitmap", () =>
    holdTakeovers(context, async () => {
      const { array } = context;
      const bare = withBitmap(array, bitmapFor(array, { kind: "none", slots: 0, clusterName: "" }));
      await writeAndAnnounce(context, send, { array: bare, changes: [] });
      await context.engine.send({ type: "keepBitmap", on: null });
    }),
  );
  // What is written to by one node alone is clean when it is not.
  context.safeMode.look();
}

/**
 * First the bitmaps, of every slot and durably, ours with all that is marked in memory, and kept so from then on; nothing
 * on disk speaks of them. Then the superblocks.
 */
async function addBitmap(context: NodeContext, send: Send, wish: BitmapWish): Promise<void> {
  const array = withBitmap(context.array, bitmapFor(context.array, wish));
  const { engine, lockspace } = context;
  if (isClustered(array)) await engine.send({ type: "endBadBlocks" });
  await writeFreshSlots(context, array, otherSlots({ array, lockspace }));
  await engine.send({ type: "keepBitmap", on: placeOf(array, lockspace.slot) });
  // If that fails some superblock may speak of it all the same: it is kept.
  await writeAndAnnounce(context, send, { array, changes: [] });
  context.safeMode.look();
  // Others may come in from now on: they wait for the token.
  if (isClustered(array)) await context.exclusive.convert("CR");
}

/** E_IO when a member cannot be written. */
export async function writeFreshSlots(
  { devices }: NodeContext,
  array: MdArray,
  slots: readonly SlotNumber[],
): Promise<void> {
  const bits = new Uint8Array(array.bitmap.layout.pages * BITMAP_PAGE_BYTES - BITMAP_SUPER_BYTES);
  const fresh: SlotContent = { super: freshBitmapSuper(array), bits };
  for (const slot of slots) {
    const [failure] = await writeSlot(array, devices, slot, fresh);
    if (failure !== undefined) throw failure.error;
  }
}

/** Where our bitmap is on the members of `array`, and what it says of itself. */
export function placeOf(array: MdArray, slot: SlotNumber): BitmapPlace {
  const at = array.members.flatMap((member) =>
    member.raidDisk === null ? [] : [[member.raidDisk, bitmapStart(array, member, slot)] as const],
  );
  return { superblock: encodeBitmapSuper(freshBitmapSuper(array)), at: new Map(at) };
}

/** A clustered array has no bad-block logs: where they were the bitmap of another slot may be. */
export function withBitmap(array: MdArray, bitmap: ArrayBitmap): MdArray {
  const members = isClustered({ bitmap })
    ? array.members.map((member) => ({ ...member, badBlockLog: null }))
    : array.members;
  return { ...array, bitmap, members };
}

/** Whoever would take a dead node's slot over waits, and then finds the array as it is by then. */
async function holdTakeovers(context: NodeContext, change: () => Promise<void>): Promise<void> {
  const done = change();
  context.formChange = done.catch(() => {});
  await done;
}
