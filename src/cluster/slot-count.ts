import { bitmapFor } from "../array/bitmap-kind.ts";
import { inShape, writeSlot } from "../array/bitmap-store.ts";
import { isClustered, type MdArray } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import { type SlotNumber, slotNumber } from "../base/units.ts";
import { bitBytes } from "../bitmap/bitmap-layout.ts";
import { whileAlone, withAllSlots } from "./all-slots.ts";
import { placeOf, withBitmap, writeFreshSlots } from "./bitmap-switch.ts";
import type { NodeContext } from "./node-context.ts";
import { checkRecordRoom } from "./record-room.ts";
import { readSlotBits } from "./slot-bits.ts";

export interface SlotsChanged {
  readonly before: number;
  readonly after: number;
}

/** What a change would do. E_VALUE, E_CLUSTER_ONLY, E_HELD when our own slot would be gone. */
export function planSlots({ array, lockspace, deps }: NodeContext, slots: number): SlotsChanged {
  if (!isClustered(array)) {
    throw new MdError("E_CLUSTER_ONLY", `"${array.name}" has bitmap ${array.bitmap.kind}: it is used by one node`, {
      hint: `mdctl grow --bitmap=clustered --nodes=${slots}`,
    });
  }
  const after = withBitmap(array, bitmapFor(array, { ...array.bitmap, slots }));
  checkRecordRoom(array, after);
  if (lockspace.slot >= slots) {
    throw new MdError("E_HELD", `with ${slots} nodes there is no slot ${lockspace.slot}, which ${deps.nodeName} has`, {
      hint: `at least ${lockspace.slot + 1} nodes are possible here`,
    });
  }
  return { before: array.bitmap.slots, after: slots };
}

/**
 * Another number of nodes that may use the array at once, while this is the only one (E_HELD names others). No slot
 * moves: those that are new are written first, those that go have been taken over; what counts is slot 0's superblock,
 * which is written last. Until it is, on every member, the array has as many as before.
 */
export function changeSlots(context: NodeContext, slots: number): Promise<SlotsChanged> {
  return whileAlone(context, "the number of nodes", async () => {
    const plan = planSlots(context, slots);
    if (plan.before === plan.after) return plan;
    await withAllSlots(context, "the number of nodes", (others) => rewriteSlots(context, slots, others));
    const text = `nodes of "${context.array.name}": ${plan.before} -> ${plan.after}`;
    context.history.add("info", "NODES", text, { ...plan });
    return plan;
  });
}

async function rewriteSlots(context: NodeContext, slots: number, others: readonly SlotNumber[]): Promise<void> {
  const { array, engine, lockspace } = context;
  const after = withBitmap(array, { ...array.bitmap, slots });
  const fresh = Array.from({ length: Math.max(0, slots - array.bitmap.slots) }, (_, n) => array.bitmap.slots + n);
  await writeFreshSlots(context, after, fresh.map(slotNumber));
  const own = {
    slot: lockspace.slot,
    write: () => engine.send({ type: "keepBitmap", on: placeOf(after, lockspace.slot) }),
  };
  const staying = others
    .filter((slot) => slot < slots)
    .map((slot) => ({ slot, write: () => describe(context, after, slot) }));
  for (const { write } of [own, ...staying].sort((a, b) => b.slot - a.slot)) await write();
  context.array = after;
}

/** Of a free slot: its bits were taken over. */
async function describe({ devices, env }: NodeContext, after: MdArray, slot: SlotNumber): Promise<void> {
  const found = await readSlotBits(after, devices, slot, env.log);
  const bits = new Uint8Array(bitBytes(after.bitmap.layout));
  const [failure] = await writeSlot(after, devices, slot, { super: inShape(after, found.super), bits });
  if (failure !== undefined) throw failure.error;
}
