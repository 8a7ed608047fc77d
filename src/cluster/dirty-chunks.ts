import { type Sector, type SectorRange, type SlotNumber, sectorRange, slotNumber } from "../base/units.ts";
import { bitBytes } from "../bitmap/bitmap-layout.ts";
import { bitIsSet, mergeBits } from "../bitmap/bitmap-merge.ts";
import type { NodeContext } from "./node-context.ts";
import { readSlotBits } from "./slot-bits.ts";

/** What the bitmaps of all slots say together. */
export interface DirtyChunks {
  /** The union, LSB first. */
  readonly bits: Uint8Array;
  /** The highest of all slots: who was a member at this event or later has missed nothing but `bits`. */
  readonly eventsCleared: number;
}

/**
 * For the holder of the token: slots change hands only under it while a member is missing (`takeOverBits`), so no bit
 * is on its way from one to the other meanwhile. Other nodes may set bits while we read: those that count are of writes
 * that began before a member came back, and are on disk by then (md-cluster, 20).
 */
export async function gatherDirtyChunks(context: NodeContext): Promise<DirtyChunks> {
  const { layout, slots } = context.array.bitmap;
  const bits = new Uint8Array(bitBytes(layout));
  let eventsCleared = 0;
  for (let n = 0; n < slots; n++)
    eventsCleared = Math.max(eventsCleared, await mergeSlot(context, slotNumber(n), bits));
  return { bits, eventsCleared };
}

/** Returns the slot's events_cleared. */
async function mergeSlot(context: NodeContext, slot: SlotNumber, into: Uint8Array): Promise<number> {
  const { array, devices, env } = context;
  const found = await readSlotBits(array, devices, slot, env.log);
  mergeBits(into, found.bits);
  return found.super.eventsCleared;
}

/** The first run of chunks with a bit that reaches beyond `from`, from there on; null if there is none. */
export function nextDirtyRange(
  bits: Uint8Array,
  { chunks, chunkSectors }: { readonly chunks: number; readonly chunkSectors: number },
  size: Sector,
  from: Sector,
): SectorRange | null {
  let first = Math.floor(from / chunkSectors);
  while (first < chunks && !bitIsSet(bits, first)) first++;
  let end = first;
  while (end < chunks && bitIsSet(bits, end)) end++;
  const lo = Math.max(from, first * chunkSectors);
  const hi = Math.min(end * chunkSectors, size);
  return lo < hi ? sectorRange(lo, hi) : null;
}
