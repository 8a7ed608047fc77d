import { MdError } from "../base/md-error.ts";
import { type Sector, sector } from "../base/units.ts";
import { slotStart } from "../bitmap/bitmap-layout.ts";
import { BITMAP_MAGIC } from "../bitmap/bitmap-super.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import { Feature, hasFeature, type Superblock } from "../superblock/superblock.ts";
import { decodeSuperblock, hasSuperblockMagic } from "../superblock/superblock-codec.ts";
import { SUPERBLOCK_READ_BYTES, superblockPlaces } from "../superblock/superblock-location.ts";
import { readBitmapShape, slotsOf } from "./bitmap-store.ts";
import { readBytes, writePadded } from "./write-members.ts";

/** Something of md's that lies on a device: 4 KiB of it, which say what it is. */
export interface MetadataTrace {
  readonly what: string;
  readonly at: Sector;
  /** Null: it is broken, or of a kind that we do not read. */
  readonly superblock: Superblock | null;
}

/** Where metadata 0.90 has its superblock: 64 KiB aligned, at least 64 KiB before the end. It has the same magic. */
const oldSuperblockSector = (deviceSize: number): number => Math.floor(deviceSize / 128) * 128 - 128;

/** Every md superblock, whole or broken, wherever one can lie. */
export async function findSuperblocks(device: BlockDevice): Promise<readonly MetadataTrace[]> {
  const { path, size } = device;
  const found: MetadataTrace[] = [];
  for (const { minor, at } of superblockPlaces(size)) {
    const bytes = await readBytes(device, at, SUPERBLOCK_READ_BYTES);
    if (!hasSuperblockMagic(bytes)) continue;
    const superblock = orNull(() => decodeSuperblock(bytes, { path, minor, at, deviceSize: size }));
    found.push({ what: `superblock 1.${minor}`, at, superblock });
  }
  const old = oldSuperblockSector(size);
  if (old < 0 || found.some(({ at }) => Number(at) === old)) return found;
  const isOld = hasSuperblockMagic(await readBytes(device, sector(old), SUPERBLOCK_READ_BYTES));
  return isOld ? [...found, { what: "superblock 0.90", at: sector(old), superblock: null }] : found;
}

/** And the bitmaps that whole ones tell of. */
export async function findTraces(device: BlockDevice): Promise<readonly MetadataTrace[]> {
  const superblocks = await findSuperblocks(device);
  const bitmaps: MetadataTrace[] = [];
  for (const { superblock } of superblocks) {
    if (superblock !== null && hasFeature(superblock, Feature.bitmapOffset)) {
      bitmaps.push(...(await findBitmaps(device, superblock)));
    }
  }
  return [...superblocks, ...bitmaps];
}

async function findBitmaps(device: BlockDevice, superblock: Superblock): Promise<readonly MetadataTrace[]> {
  const { superOffset, bitmapOffset } = superblock;
  const shape = await readBitmapShape(device, superblock).catch((error: unknown) => {
    if (error instanceof MdError && error.code !== "E_IO") return null;
    throw error;
  });
  const found: MetadataTrace[] = [];
  for (let slot = 0; shape !== null && slot < slotsOf(shape.super); slot++) {
    const at = slotStart(shape.layout, superOffset, bitmapOffset, slot);
    const head = await readBytes(device, at, SUPERBLOCK_READ_BYTES);
    const magic = new DataView(head.buffer, head.byteOffset).getUint32(0, true);
    if (magic === BITMAP_MAGIC) found.push({ what: `bitmap of slot ${slot}`, at, superblock: null });
  }
  return found;
}

/** Overwrites them with zeros, durably, in their order: with the superblocks gone nothing takes the device for a member. */
export async function wipeTraces(device: BlockDevice, traces: readonly MetadataTrace[]): Promise<void> {
  for (const { at } of traces) await writePadded(device, { at, bytes: new Uint8Array(SUPERBLOCK_READ_BYTES) });
  if (traces.length > 0) await device.flush();
}

/** Makes sure that nothing takes the device for a member. Resolves with the sectors where there was a superblock. */
export async function wipeSuperblocks(device: BlockDevice): Promise<readonly number[]> {
  const found = await findSuperblocks(device);
  await wipeTraces(device, found);
  return found.map(({ at }) => Number(at));
}

function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof MdError) return null;
    throw error;
  }
}
