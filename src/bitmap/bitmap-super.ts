import { MdError } from "../base/md-error.ts";
import { bytes, struct, u32le, u64 } from "../base/struct.ts";
import { BITMAP_SUPER_BYTES, bitmapLayout } from "./bitmap-layout.ts";

export const BITMAP_MAGIC = 0x6d746962;
/** One bitmap, of the one host that uses the array. */
export const BITMAP_VERSION_INTERNAL = 4;
/** Clustered: one bitmap per slot. */
export const BITMAP_VERSION_CLUSTERED = 5;
/** Bit of `state`: bits were lost, all chunks count as dirty. */
export const BITMAP_STALE = 2;
const BITMAP_HOST_ENDIAN = 0x8000;

/** The 256 bytes before each slot's bits. Sizes in sectors unless they say otherwise. */
export interface BitmapSuper {
  readonly version: number;
  /** 16 bytes: the array. */
  readonly uuid: Uint8Array;
  readonly events: number;
  readonly eventsCleared: number;
  readonly syncSize: number;
  readonly state: number;
  readonly chunkBytes: number;
  /** Seconds. */
  readonly daemonSleep: number;
  readonly writeBehind: number;
  readonly sectorsReserved: number;
  readonly nodes: number;
  readonly clusterName: string;
}

const wire = struct("bitmap_super", BITMAP_SUPER_BYTES, {
  magic: u32le(0),
  version: u32le(4),
  uuid: bytes(8, 16),
  events: u64(24),
  eventsCleared: u64(32),
  syncSize: u64(40),
  state: u32le(48),
  chunkBytes: u32le(52),
  daemonSleep: u32le(56),
  writeBehind: u32le(60),
  sectorsReserved: u32le(64),
  nodes: u32le(68),
  clusterName: bytes(72, 64),
  pad: bytes(136, 120),
});

export function encodeBitmapSuper(value: BitmapSuper): Uint8Array {
  return wire.encode({
    ...value,
    magic: BITMAP_MAGIC,
    events: BigInt(value.events),
    eventsCleared: BigInt(value.eventsCleared),
    syncSize: BigInt(value.syncSize),
    clusterName: encodeClusterName(value.clusterName),
    pad: new Uint8Array(120),
  });
}

/** Writes what a bitmap of another shape says of itself into its 256 bytes. */
export function reshapeBitmapSuper(encoded: Uint8Array, shape: Pick<BitmapSuper, "syncSize" | "chunkBytes">): void {
  const view = new DataView(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  view.setBigUint64(40, BigInt(shape.syncSize), true);
  view.setUint32(52, shape.chunkBytes, true);
}

/** What a bitmap superblock must agree with; `space`: sectors from slot 0 to the data (or the end). */
export interface BitmapExpectation {
  /** For the text of errors: path and slot. */
  readonly where: string;
  readonly uuid: Uint8Array;
  /**
   * Of the array. A bitmap may cover another number of sectors, if that needs as much space: somebody died while the
   * array changed its size.
   */
  readonly syncSize: number;
  readonly space: number;
}

/**
 * Checks all before it believes anything (a bad bitmap superblock has been used for attacks). E_SUPERBLOCK_BAD with the
 * field's name; E_METADATA_UNSUPPORTED for versions that we do not know. Source: on-disk format, section 7.
 */
export function decodeBitmapSuper(found: Uint8Array, expected: BitmapExpectation): BitmapSuper {
  const raw = wire.decode(found.subarray(0, BITMAP_SUPER_BYTES));
  const bad = (field: string, value: unknown, why: string): never => {
    throw new MdError("E_SUPERBLOCK_BAD", `${expected.where}: bitmap field ${field} is ${String(value)}: ${why}`, {
      details: { field },
    });
  };
  if (raw.magic !== BITMAP_MAGIC) bad("magic", `0x${raw.magic.toString(16)}`, "not a bitmap");
  checkVersion(raw.version, expected.where);
  if (raw.uuid.some((byte, i) => byte !== expected.uuid[i])) bad("uuid", "another array's", "not this array's");
  const powerOfTwo = Number.isInteger(Math.log2(raw.chunkBytes));
  if (raw.chunkBytes < 512 || !powerOfTwo) bad("chunksize", raw.chunkBytes, "not a power of two from 512 on");
  if (raw.daemonSleep < 1) bad("daemon_sleep", raw.daemonSleep, "not positive");
  if (raw.writeBehind > 16383) bad("write_behind", raw.writeBehind, "above 16383");
  if ((raw.state & BITMAP_HOST_ENDIAN) !== 0) bad("state", raw.state, "bits in the byte order of some host");
  const syncSize = decodeCount(raw.syncSize, "sync_size", bad);
  const covers = bitmapLayout(syncSize, raw.chunkBytes).slotSectors;
  const shouldCover = bitmapLayout(expected.syncSize, raw.chunkBytes).slotSectors;
  if (syncSize < 1 || covers !== shouldCover) bad("sync_size", raw.syncSize, `the array has ${expected.syncSize}`);
  if (raw.sectorsReserved > expected.space) bad("sectors_reserved", raw.sectorsReserved, `there are ${expected.space}`);
  const slots = raw.version === BITMAP_VERSION_CLUSTERED ? raw.nodes : 1;
  if (slots < 1) bad("nodes", raw.nodes, "a clustered bitmap has at least one slot");
  const { slotSectors } = bitmapLayout(expected.syncSize, raw.chunkBytes);
  if (slotSectors > expected.space) bad("chunksize", raw.chunkBytes, "the bitmap would overlap the data");
  if (slots * slotSectors > expected.space) bad("nodes", raw.nodes, "the bitmaps would overlap the data");
  return {
    ...pickFields(raw),
    events: decodeCount(raw.events, "events", bad),
    eventsCleared: decodeCount(raw.eventsCleared, "events_cleared", bad),
    syncSize,
    clusterName: decodeClusterName(raw.clusterName, bad),
  };
}

function checkVersion(version: number, where: string): void {
  if (version >= BITMAP_VERSION_INTERNAL && version <= BITMAP_VERSION_CLUSTERED) return;
  throw new MdError("E_METADATA_UNSUPPORTED", `${where}: bitmap version ${version} is not supported, 4 and 5 are`, {
    details: { field: "version" },
  });
}

function pickFields(
  raw: ReturnType<typeof wire.decode>,
): Omit<BitmapSuper, "events" | "eventsCleared" | "syncSize" | "clusterName"> {
  const { version, uuid, state, chunkBytes, daemonSleep, writeBehind, sectorsReserved, nodes } = raw;
  return { version, uuid, state, chunkBytes, daemonSleep, writeBehind, sectorsReserved, nodes };
}

type Bad = (field: string, value: unknown, why: string) => never;

function decodeCount(value: bigint, field: string, bad: Bad): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) bad(field, value, "beyond 2^53");
  return Number(value);
}

function decodeClusterName(field: Uint8Array, bad: Bad): string {
  const end = field.indexOf(0);
  if (end < 0) bad("cluster_name", "64 bytes long", "at most 63 are possible");
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(field.subarray(0, end));
  } catch {
    return bad("cluster_name", "bytes", "not UTF-8");
  }
}

function encodeClusterName(name: string): Uint8Array {
  const used = new TextEncoder().encode(name);
  if (used.byteLength > 63) throw new MdError("E_VALUE", `the cluster name "${name}" takes more than 63 bytes`);
  const field = new Uint8Array(64);
  field.set(used);
  return field;
}
