import { assert, unreachable } from "../base/assert.ts";
import { bytes, struct, u32le, u64le } from "../base/struct.ts";
import { sector, sectorRange, slotNumber } from "../base/units.ts";
import { LVB_SIZE } from "../dlm/lockspace.ts";
import type { ClusterMessage, ClusterMessageType, MessageId } from "./message.ts";

/** The kernel's 48 bytes (struct cluster_msg), and in the spare ones our sequence number and whether it is said again. */
const wire = struct("cluster_msg", LVB_SIZE, {
  type: u32le(0),
  slot: u32le(4),
  low: u64le(8),
  high: u64le(16),
  uuid: bytes(24, 16),
  number: u32le(40),
  padding: u32le(44),
  sequence: u32le(48),
  orphaned: u32le(52),
});

/** Wire numbers are forever: append, never renumber. */
const typeNumber: Record<Exclude<ClusterMessageType, "unknown">, number> = {
  metadata_updated: 0,
  resyncing: 1,
  newdisk: 2,
  remove: 3,
  re_add: 4,
  bitmap_needs_sync: 5,
  change_capacity: 6,
  bitmap_resize: 7,
  resyncing_start: 8,
};
const typeByNumber = new Map(
  Object.entries(typeNumber).map(([type, n]) => [n, type as Exclude<ClusterMessageType, "unknown">]),
);

/** In the device number of RESYNCING, where the kernel has 0: nothing is copied. Who does not know it takes it for a resync. */
const CHECK_ONLY = 1;

const noUuid = new Uint8Array(16);

/** A message as it stands in the value block of `message`. */
export interface MessageFrame {
  readonly message: ClusterMessage;
  /** Differs from that of the message before it: a receiver that reads a message twice can tell. 32 bits, wraps, never 0. */
  readonly sequence: number;
  /** Said again by another, since its sender died before all had heard it. */
  readonly orphaned?: true;
}

export function encodeFrame({ message, sequence, orphaned }: MessageFrame): Uint8Array {
  assert(message.type !== "unknown", "an unknown message is only ever received");
  const fields = {
    type: typeNumber[message.type],
    slot: message.from as number,
    low: 0,
    high: 0,
    uuid: noUuid,
    number: 0,
    padding: 0,
    sequence,
    orphaned: orphaned === true ? 1 : 0,
  };
  switch (message.type) {
    case "resyncing":
      // A range that ends at 0 is how a node says that its resync is over.
      return wire.encode({
        ...fields,
        low: message.range?.lo ?? 0,
        high: message.range?.hi ?? 0,
        number: message.isCheck === true ? CHECK_ONLY : 0,
      });
    case "bitmap_resize":
      return wire.encode({
        ...fields,
        low: message.chunkBytes,
        high: message.size,
        number: message.raidDisks,
      });
    case "newdisk":
      return wire.encode({ ...fields, uuid: message.uuid, number: message.number });
    case "metadata_updated":
    case "remove":
    case "re_add":
      return wire.encode({ ...fields, number: message.number });
    case "bitmap_needs_sync":
    case "change_capacity":
    case "resyncing_start":
      return wire.encode(fields);
    default:
      return unreachable(message);
  }
}

/**
 * Null for bytes that no sender can have written (nothing at all, a sector number beyond 2^53, a range that ends before
 * it begins).
 */
export function decodeFrame(lvb: Uint8Array): MessageFrame | null {
  if (lvb.every((byte) => byte === 0)) return null;
  const view = new DataView(lvb.buffer, lvb.byteOffset, lvb.byteLength);
  if (view.getUint32(12, true) > 0x1fffff || view.getUint32(20, true) > 0x1fffff) return null;
  const { sequence, orphaned, ...fields } = wire.decode(lvb);
  const message = decodeMessage(fields);
  if (message === null) return null;
  return orphaned === 1 ? { message, sequence, orphaned: true } : { message, sequence };
}

type MessageFields = Omit<ReturnType<typeof wire.decode>, "sequence" | "orphaned">;

const settledWire = struct("settled message", LVB_SIZE, { from: u32le(0), sequence: u32le(4) });

/** The value block of `token`. */
export const encodeSettled = ({ from, sequence }: MessageId): Uint8Array => settledWire.encode({ from, sequence });

/** Null: nobody has written one. */
export function decodeSettled(lvb: Uint8Array): MessageId | null {
  const { from, sequence } = settledWire.decode(lvb);
  return sequence === 0 ? null : { from: slotNumber(from), sequence };
}

function decodeMessage(fields: MessageFields): ClusterMessage | null {
  const from = slotNumber(fields.slot);
  const type = typeByNumber.get(fields.type);
  switch (type) {
    case undefined:
      return { type: "unknown", from, raw: fields.type };
    case "resyncing":
      if (fields.high === 0) return { type, from, range: null };
      if (fields.low >= fields.high) return null;
      return {
        type,
        from,
        range: sectorRange(fields.low, fields.high),
        ...(fields.number === CHECK_ONLY ? { isCheck: true } : {}),
      };
    case "bitmap_resize":
      return { type, from, size: sector(fields.high), raidDisks: fields.number, chunkBytes: fields.low };
    case "newdisk":
      return { type, from, uuid: fields.uuid, number: fields.number };
    case "metadata_updated":
    case "remove":
    case "re_add":
      return { type, from, number: fields.number };
    case "bitmap_needs_sync":
    case "change_capacity":
    case "resyncing_start":
      return { type, from };
    default:
      return unreachable(type);
  }
}
