import { crc32c } from "../base/crc32c.ts";
import { bytes, struct, u32le, u64, u64le } from "../base/struct.ts";
import { type SlotNumber, slotNumber } from "../base/units.ts";

/** Each record has a block of this size to itself, so that no two writers ever share one. */
export const TAKEOVER_BLOCK_BYTES = 4096;
/** What is said is in the block's first sector, which is written whole or not at all. */
export const TAKEOVER_RECORD_BYTES = 512;

export const CRC_AT = 508;
const VERSION = 1;
const TEXT_BYTES = 64;
const INCARNATION_BYTES = 32;

/** `mdTE`, `mdTN`, `mdTP`, little endian. */
const magics = { epoch: 0x4554646d, node: 0x4e54646d, pill: 0x5054646d } as const;
const NODE_JOINED = 1;
const NODE_LEFT = 2;

const record = struct("takeover record", TAKEOVER_RECORD_BYTES, {
  magic: u32le(0),
  version: u32le(4),
  arrayUuid: bytes(8, 16),
  generation: u64(24),
  serial: u64(32),
  time: u64le(40),
  slot: u32le(48),
  state: u32le(52),
  incarnation: bytes(56, INCARNATION_BYTES),
  node: bytes(88, TEXT_BYTES),
  by: bytes(152, TEXT_BYTES),
  cluster: bytes(216, TEXT_BYTES),
  crc: u32le(CRC_AT),
});

/** What all records say. */
interface Common {
  /** 16 bytes. */
  readonly arrayUuid: Uint8Array;
  /** Takeovers of this array so far; two at the same instant may count as one. */
  readonly generation: number;
  /** Seconds since 1970, for people. */
  readonly time: number;
  readonly slot: SlotNumber;
  readonly incarnation: string;
  readonly node: string;
  readonly cluster: string;
}

/** The last takeover of the array: whose slot it was, and who took it over. */
export interface EpochRecord extends Common {
  readonly kind: "epoch";
  readonly by: string;
}

/** The owner of a slot, as it introduced itself; written by itself alone. `generation` is that of its join. */
export interface NodeRecord extends Common {
  readonly kind: "node";
  /** Grows with every owner of the slot. */
  readonly serial: number;
  /** left: in good order, nothing of it is on its way. */
  readonly state: "joined" | "left";
}

/** To the owner of a slot: this incarnation was taken over and must not write any more. */
export interface PillRecord extends Common {
  readonly kind: "pill";
  readonly by: string;
}

export type TakeoverRecord = EpochRecord | NodeRecord | PillRecord;

/** blank: nothing was ever written. bad: nothing that can be believed. */
export type DecodedBlock<T extends TakeoverRecord> =
  | { readonly type: "blank" }
  | { readonly type: "bad"; readonly why: string }
  | { readonly type: "record"; readonly record: T };

const encoder = new TextEncoder();

function text(value: string, size: number): Uint8Array {
  const field = new Uint8Array(size);
  encoder.encodeInto(value, field.subarray(0, size - 1));
  return field;
}

/** The whole block. */
export function encodeTakeover(value: TakeoverRecord): Uint8Array {
  const block = new Uint8Array(TAKEOVER_BLOCK_BYTES);
  block.set(
    record.encode({
      magic: magics[value.kind],
      version: VERSION,
      arrayUuid: value.arrayUuid,
      generation: BigInt(value.generation),
      serial: BigInt(value.kind === "node" ? value.serial : 0),
      time: value.time,
      slot: value.slot,
      state: value.kind !== "node" ? 0 : value.state === "joined" ? NODE_JOINED : NODE_LEFT,
      incarnation: text(value.incarnation, INCARNATION_BYTES),
      node: text(value.node, TEXT_BYTES),
      by: text(value.kind === "node" ? "" : value.by, TEXT_BYTES),
      cluster: text(value.cluster, TEXT_BYTES),
      crc: 0,
    }),
  );
  new DataView(block.buffer).setUint32(CRC_AT, crc32c(block, 0, CRC_AT), true);
  return block;
}

const BAD_TEXT = /[^\x20-\x7e]/;

/** Null: no NUL at its end, or not plain. */
function textOf(field: Uint8Array): string | null {
  const end = field.indexOf(0);
  if (end === -1) return null;
  const value = String.fromCharCode(...field.subarray(0, end));
  return BAD_TEXT.test(value) ? null : value;
}

/** `block` is at least a record long. Trusts nothing in it: any field may be hostile. */
export function decodeTakeover<K extends TakeoverRecord["kind"]>(
  kind: K,
  block: Uint8Array,
  arrayUuid: Uint8Array,
  slots: number,
): DecodedBlock<Extract<TakeoverRecord, { kind: K }>> {
  const bad = (why: string): { readonly type: "bad"; readonly why: string } => ({ type: "bad", why });
  const sector = block.subarray(0, TAKEOVER_RECORD_BYTES);
  if (sector.every((byte) => byte === 0)) return { type: "blank" };
  const view = new DataView(sector.buffer, sector.byteOffset, sector.length);
  if (view.getUint32(0, true) !== magics[kind]) return bad("magic");
  if (view.getUint32(CRC_AT, true) !== crc32c(sector, 0, CRC_AT)) return bad("checksum");
  if (view.getUint32(4, true) !== VERSION) return bad("version");
  if (view.getBigUint64(40, true) > 2n ** 48n) return bad("time");
  const found = record.decode(sector);
  if (found.arrayUuid.some((byte, i) => byte !== arrayUuid[i])) return bad("array uuid");
  if (found.generation > BigInt(Number.MAX_SAFE_INTEGER)) return bad("generation");
  if (found.serial > BigInt(Number.MAX_SAFE_INTEGER)) return bad("serial");
  if (found.slot >= slots) return bad("slot");
  const incarnation = textOf(found.incarnation);
  const [node, by, cluster] = [textOf(found.node), textOf(found.by), textOf(found.cluster)];
  if (incarnation === null || incarnation === "") return bad("incarnation");
  if (node === null || by === null || cluster === null) return bad("names");
  const known = kind === "node" ? found.state === NODE_JOINED || found.state === NODE_LEFT : found.state === 0;
  if (!known) return bad("state");
  const common = {
    arrayUuid: found.arrayUuid,
    generation: Number(found.generation),
    time: found.time,
    slot: slotNumber(found.slot),
    incarnation,
    node,
    cluster,
  };
  const value =
    kind === "node"
      ? { kind, ...common, serial: Number(found.serial), state: found.state === NODE_JOINED ? "joined" : "left" }
      : { kind, ...common, by };
  return { type: "record", record: value as unknown as Extract<TakeoverRecord, { kind: K }> };
}
