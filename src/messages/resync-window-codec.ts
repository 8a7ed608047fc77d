import { struct, u32le, u64le } from "../base/struct.ts";
import { type SectorRange, sectorRange } from "../base/units.ts";
import { LVB_SIZE } from "../dlm/lockspace.ts";

/** The value block of `bitmapNNNN`: the kernel's 16 bytes (struct resync_info), and our flags in the spare ones. */
const wire = struct("resync_info", LVB_SIZE, { lo: u64le(0), hi: u64le(8), flags: u32le(16) });

const NEEDS_RESYNC = 1;

/** What the owner of a slot tells those who join later. */
export interface ResyncWindow {
  /** The range that it resyncs now, array sectors. */
  readonly range: SectorRange | null;
  /** Its bitmap still has chunks that need a resync: reads must not be balanced there. */
  readonly needsResync: boolean;
}

export const encodeResyncWindow = ({ range, needsResync }: ResyncWindow): Uint8Array =>
  wire.encode({ lo: range?.lo ?? 0, hi: range?.hi ?? 0, flags: needsResync ? NEEDS_RESYNC : 0 });

/** Null for bytes that no owner can have written. */
export function decodeResyncWindow(lvb: Uint8Array): ResyncWindow | null {
  const view = new DataView(lvb.buffer, lvb.byteOffset, lvb.byteLength);
  if (view.getUint32(4, true) > 0x1fffff || view.getUint32(12, true) > 0x1fffff) return null;
  const { lo, hi, flags } = wire.decode(lvb);
  if (hi !== 0 && lo >= hi) return null;
  return { range: hi === 0 ? null : sectorRange(lo, hi), needsResync: (flags & NEEDS_RESYNC) !== 0 };
}
