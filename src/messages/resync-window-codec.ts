import { struct, u8, u32le, u64le } from "../base/struct.ts";
import { type SectorRange, sectorRange } from "../base/units.ts";
import { LVB_SIZE } from "../dlm/lockspace.ts";
import type { Speech } from "./protocol-version.ts";

/**
 * The value block of `bitmapNNNN`: the kernel's 16 bytes (struct resync_info), and in the spare ones our flags and what
 * the owner speaks.
 */
const wire = struct("resync_info", LVB_SIZE, {
  lo: u64le(0),
  hi: u64le(8),
  flags: u32le(16),
  /** The version in use; 0: the owner has not said anything yet. */
  version: u8(20),
  oldest: u8(21),
  newest: u8(22),
  reserved: u8(23),
  /** In use, and known to the owner. */
  features: u32le(24),
  known: u32le(28),
});

const NEEDS_RESYNC = 1;

/** What the owner of a slot tells those who join later. */
export interface ResyncWindow {
  /** The range that it resyncs now, array sectors. */
  readonly range: SectorRange | null;
  /** Its bitmap still has chunks that need a resync: reads must not be balanced there. */
  readonly needsResync: boolean;
}

/** `speech`: null of a slot that is being given back. */
export const encodeResyncWindow = ({ range, needsResync }: ResyncWindow, speech: Speech | null = null): Uint8Array =>
  wire.encode({
    lo: range?.lo ?? 0,
    hi: range?.hi ?? 0,
    flags: needsResync ? NEEDS_RESYNC : 0,
    version: speech?.spoken.version ?? 0,
    oldest: speech?.range.oldest ?? 0,
    newest: speech?.range.newest ?? 0,
    reserved: 0,
    features: speech?.spoken.features ?? 0,
    known: speech?.range.features ?? 0,
  });

/** Null for bytes that no owner can have written. */
export function decodeResyncWindow(lvb: Uint8Array): ResyncWindow | null {
  const view = new DataView(lvb.buffer, lvb.byteOffset, lvb.byteLength);
  if (view.getUint32(4, true) > 0x1fffff || view.getUint32(12, true) > 0x1fffff) return null;
  const { lo, hi, flags } = wire.decode(lvb);
  if (hi !== 0 && lo >= hi) return null;
  return { range: hi === 0 ? null : sectorRange(lo, hi), needsResync: (flags & NEEDS_RESYNC) !== 0 };
}

/** Of a slot's owner; null if it has not said anything yet. */
export function decodeSpeech(lvb: Uint8Array): Speech | null {
  const view = new DataView(lvb.buffer, lvb.byteOffset, lvb.byteLength);
  if (view.getUint8(20) === 0 || decodeResyncWindow(lvb) === null) return null;
  const { version, oldest, newest, features, known } = wire.decode(lvb);
  return { range: { oldest, newest, features: known }, spoken: { version, features } };
}
