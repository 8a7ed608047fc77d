import { MdError } from "../base/md-error.ts";
import { bytes, s32le, struct, u8, u16le, u32le, u64 } from "../base/struct.ts";
import { type Sector, sector } from "../base/units.ts";
import { superblockChecksum } from "./checksum.ts";
import { MAX_DEVICES, type MdTime, type Superblock, type SuperblockMinor } from "./superblock.ts";
import { checkSuperblock, refuse } from "./superblock-validity.ts";

export const SUPERBLOCK_MAGIC = 0xa92b4efc;
const FIXED_BYTES = 256;

const wire = struct("mdp_superblock_1", FIXED_BYTES, {
  magic: u32le(0),
  majorVersion: u32le(4),
  featureMap: u32le(8),
  pad0: u32le(12),
  setUuid: bytes(16, 16),
  setName: bytes(32, 32),
  ctime: u64(64),
  level: s32le(72),
  layout: u32le(76),
  size: u64(80),
  chunkSectors: u32le(88),
  raidDisks: u32le(92),
  bitmapOffset: s32le(96),
  newLevel: u32le(100),
  reshapePosition: u64(104),
  deltaDisks: s32le(112),
  newLayout: u32le(116),
  newChunk: u32le(120),
  newOffset: s32le(124),
  dataOffset: u64(128),
  dataSize: u64(136),
  superOffset: u64(144),
  recoveryOffset: u64(152),
  devNumber: u32le(160),
  correctedReads: u32le(164),
  deviceUuid: bytes(168, 16),
  devFlags: u8(184),
  bblogShift: u8(185),
  bblogSize: u16le(186),
  bblogOffset: s32le(188),
  utime: u64(192),
  events: u64(200),
  resyncOffset: u64(208),
  checksum: u32le(216),
  maxDev: u32le(220),
  pad3: bytes(224, 32),
});

/** Where the bytes came from. `path` is for the text of errors. */
export interface SuperblockPlace {
  readonly path: string;
  readonly minor: SuperblockMinor;
  readonly at: Sector;
  readonly deviceSize: Sector;
}

/** Bytes that a superblock with this many roles takes on disk. */
const superblockBytes = (maxDev: number): number => FIXED_BYTES + 2 * maxDev;

/** Is there something here that claims to be a superblock? */
export const hasSuperblockMagic = (found: Uint8Array): boolean =>
  found.byteLength >= FIXED_BYTES &&
  new DataView(found.buffer, found.byteOffset).getUint32(0, true) === SUPERBLOCK_MAGIC;

/** `superblockBytes(devRoles.length)` bytes, checksum included. */
export function encodeSuperblock(superblock: Superblock): Uint8Array {
  const { devRoles } = superblock;
  const encoded = new Uint8Array(superblockBytes(devRoles.length));
  encoded.set(
    wire.encode({
      ...superblock,
      magic: SUPERBLOCK_MAGIC,
      majorVersion: 1,
      pad0: 0,
      setName: encodeName(superblock.setName),
      ctime: encodeTime(superblock.ctime),
      size: BigInt(superblock.size),
      dataOffset: BigInt(superblock.dataOffset),
      dataSize: BigInt(superblock.dataSize),
      superOffset: BigInt(superblock.superOffset),
      utime: encodeTime(superblock.utime),
      events: BigInt(superblock.events),
      checksum: 0,
      maxDev: devRoles.length,
      pad3: new Uint8Array(32),
    }),
  );
  const view = new DataView(encoded.buffer);
  for (const [number, role] of devRoles.entries()) view.setUint16(FIXED_BYTES + 2 * number, role, true);
  view.setUint32(216, superblockChecksum(encoded), true);
  return encoded;
}

/**
 * Judges everything before it believes anything. `found` holds the 4096 bytes at the place, or less at the end of a
 * small device. E_NO_SUPERBLOCK without the magic, E_CHECKSUM, E_METADATA_UNSUPPORTED for what a newer md may have
 * written, E_SUPERBLOCK_BAD naming the field otherwise.
 */
export function decodeSuperblock(found: Uint8Array, place: SuperblockPlace): Superblock {
  const { path } = place;
  if (!hasSuperblockMagic(found)) throw new MdError("E_NO_SUPERBLOCK", `${path} has no md superblock`);
  const raw = wire.decode(found.subarray(0, FIXED_BYTES));
  if (raw.majorVersion !== 1) {
    throw new MdError("E_METADATA_UNSUPPORTED", `${path}: major_version ${raw.majorVersion} is not known, only 1 is`);
  }
  const end = superblockBytes(raw.maxDev);
  if (raw.maxDev > MAX_DEVICES) refuse(path, "max_dev", raw.maxDev, `more than ${MAX_DEVICES}`);
  if (end > found.byteLength) refuse(path, "max_dev", raw.maxDev, "the roles run past the end of the device");
  checkChecksum(path, raw.checksum, superblockChecksum(found.subarray(0, end)));
  if (raw.pad0 !== 0) refuse(path, "pad0", raw.pad0, "not zero");
  if (raw.pad3.some((byte) => byte !== 0)) refuse(path, "pad3", "set", "not zero");

  const { magic, majorVersion, pad0, pad3, checksum, maxDev, ...fields } = raw;
  const view = new DataView(found.buffer, found.byteOffset, end);
  const superblock: Superblock = {
    ...fields,
    minor: place.minor,
    setName: decodeName(path, raw.setName),
    ctime: decodeTime(raw.ctime),
    size: decodeCount(path, "size", raw.size),
    dataOffset: decodeCount(path, "data_offset", raw.dataOffset),
    dataSize: decodeCount(path, "data_size", raw.dataSize),
    superOffset: decodeCount(path, "super_offset", raw.superOffset),
    utime: decodeTime(raw.utime),
    events: decodeCount(path, "events", raw.events),
    devRoles: Array.from({ length: maxDev }, (_, number) => view.getUint16(FIXED_BYTES + 2 * number, true)),
  };
  checkSuperblock(superblock, place);
  return superblock;
}

function checkChecksum(path: string, stored: number, computed: number): void {
  if (stored === computed) return;
  const hex = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;
  throw new MdError(
    "E_CHECKSUM",
    `${path}: sb_csum is ${hex(stored)}, but the superblock's bytes add up to ${hex(computed)}`,
    { details: { field: "sb_csum", stored, computed } },
  );
}

/** A count that must fit a double; what does not is far beyond any device (and any array's history). */
function decodeCount(path: string, field: string, value: bigint): Sector {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) refuse(path, field, value, "beyond 2^53");
  return sector(Number(value));
}

const MICROSECONDS_SHIFT = 40n;

const decodeTime = (value: bigint): MdTime => ({
  seconds: Number(value & 0xff_ffff_ffffn),
  microseconds: Number(value >> MICROSECONDS_SHIFT),
});

const encodeTime = ({ seconds, microseconds }: MdTime): bigint =>
  BigInt(seconds) | (BigInt(microseconds) << MICROSECONDS_SHIFT);

function decodeName(path: string, field: Uint8Array): string {
  const end = field.indexOf(0);
  const used = end < 0 ? field : field.subarray(0, end);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(used);
  } catch (cause) {
    throw new MdError("E_SUPERBLOCK_BAD", `${path}: set_name is not UTF-8`, { cause, details: { field: "set_name" } });
  }
}

function encodeName(name: string): Uint8Array {
  const used = new TextEncoder().encode(name);
  if (used.byteLength > 32) throw new MdError("E_VALUE", `the array name "${name}" takes more than 32 bytes`);
  const field = new Uint8Array(32);
  field.set(used);
  return field;
}
