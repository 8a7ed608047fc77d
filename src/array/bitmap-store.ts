import { MdError } from "../base/md-error.ts";
import { type Sector, type SlotNumber, sector } from "../base/units.ts";
import {
  BITMAP_PAGE_BYTES,
  BITMAP_SUPER_BYTES,
  type BitmapLayout,
  bitBytes,
  bitmapLayout,
  slotStart,
} from "../bitmap/bitmap-layout.ts";
import { mergeBits, trimBits } from "../bitmap/bitmap-merge.ts";
import {
  BITMAP_STALE,
  BITMAP_VERSION_CLUSTERED,
  BITMAP_VERSION_INTERNAL,
  type BitmapSuper,
  decodeBitmapSuper,
  encodeBitmapSuper,
} from "../bitmap/bitmap-super.ts";
import { bitsOfRange, convertBits } from "../bitmap/resize-bits.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import { Feature, hasFeature, type Superblock } from "../superblock/superblock.ts";
import { arraySize } from "./array-size.ts";
import { bitmapStart, isClustered, type MdArray, slotOnDisk, writableMembers } from "./md-array.ts";
import type { Member } from "./member.ts";
import { type MemberDevices, type MemberFailure, readBytes, writeMembers } from "./write-members.ts";

/** One slot's bitmap as on disk. */
export interface SlotContent {
  readonly super: BitmapSuper;
  /** Least significant bit first. As read, nothing is set past the last chunk. */
  readonly bits: Uint8Array;
}

/** Where the bitmaps of a device lie, as its superblock says. */
interface Area {
  readonly uuid: Uint8Array;
  readonly syncSize: Sector;
  readonly superOffset: number;
  readonly bitmapOffset: number;
  /** Sectors from slot 0 to what follows the bitmaps. */
  readonly space: number;
}

/**
 * The bitmap superblock of slot 0, from which the shape of all slots follows. E_NO_SUPERBLOCK if the device's superblock
 * says that there is none.
 */
export async function readBitmapShape(
  device: BlockDevice,
  superblock: Superblock,
): Promise<{ readonly super: BitmapSuper; readonly layout: BitmapLayout }> {
  if (!hasFeature(superblock, Feature.bitmapOffset)) {
    throw new MdError("E_NO_SUPERBLOCK", `${device.path} has no bitmap`);
  }
  const area = areaOf(superblock, device.size);
  const head = await readBytes(device, area.superOffset + area.bitmapOffset, BITMAP_PAGE_BYTES);
  const decoded = decodeBitmapSuper(head, { ...area, where: `${device.path}, slot 0` });
  return { super: decoded, layout: bitmapLayout(area.syncSize, decoded.chunkBytes) };
}

/** All slots of a device, in order; for those who only look. Throws what is wrong with the first bad one. */
export async function readAllSlots(device: BlockDevice, superblock: Superblock): Promise<readonly SlotContent[]> {
  const shape = await readBitmapShape(device, superblock);
  const area = areaOf(superblock, device.size);
  const slots: SlotContent[] = [];
  for (let slot = 0; slot < slotsOf(shape.super); slot++) {
    slots.push(await readAt(device, area, shape.layout, shape.super.chunkBytes, slot));
  }
  return slots;
}

/**
 * Slot `slot`'s bitmap from one member, which must be in sync: others may have missed what it says. Its bits are those of
 * the array's layout, whatever its own is (`super` says that): where it covers less than the array, every chunk is dirty.
 * A bitmap that calls itself stale has every bit set.
 */
export async function readSlot(
  array: MdArray,
  member: Member,
  device: BlockDevice,
  slot: SlotNumber,
): Promise<SlotContent> {
  const { layout, offset } = array.bitmap;
  const area: Area = {
    uuid: array.uuid,
    syncSize: layout.syncSize,
    superOffset: member.superOffset,
    bitmapOffset: offset,
    space: member.dataOffset - member.superOffset - offset,
  };
  const found = await readAt(device, area, layout, layout.chunkSectors * 512, slotOnDisk(array, slot));
  if ((found.super.state & BITMAP_STALE) === 0) return found;
  const bits = new Uint8Array(found.bits.byteLength).fill(0xff);
  trimBits(bits, layout.chunks);
  return { super: found.super, bits };
}

/** Writes slot `slot` on every non-faulty member, durably. Resolves with the members that could not be written. */
export function writeSlot(
  array: MdArray,
  devices: MemberDevices,
  slot: SlotNumber,
  content: SlotContent,
): Promise<readonly MemberFailure[]> {
  const bytes = encodeSlot(array.bitmap.layout, content);
  return writeMembers(writableMembers(array), devices, (member) => [{ at: bitmapStart(array, member, slot), bytes }]);
}

/**
 * Clears every bit of slot `slot` on every non-faulty member, durably. Only for who holds its lock, and only once the
 * bits are durable elsewhere. `found` is what was read before: its superblock stays, in the array's shape.
 */
export const clearSlot = (
  array: MdArray,
  devices: MemberDevices,
  slot: SlotNumber,
  found: SlotContent,
): Promise<readonly MemberFailure[]> => {
  const bits = new Uint8Array(bitBytes(array.bitmap.layout));
  return writeSlot(array, devices, slot, { super: inShape(array, found.super), bits });
};

/** A slot's bitmap superblock as that of a bitmap of the array's kind and layout. */
export const inShape = (array: MdArray, found: BitmapSuper): BitmapSuper => ({
  ...found,
  ...kindOf(array),
  syncSize: array.bitmap.layout.syncSize,
  chunkBytes: array.bitmap.layout.chunkSectors * 512,
});

export const isInShape = (array: MdArray, { syncSize, chunkBytes }: BitmapSuper): boolean =>
  syncSize === array.bitmap.layout.syncSize && chunkBytes === array.bitmap.layout.chunkSectors * 512;

/** The whole area of a slot, padded with zeros. */
function encodeSlot(layout: BitmapLayout, content: SlotContent): Uint8Array {
  const encoded = new Uint8Array(layout.pages * BITMAP_PAGE_BYTES);
  encoded.set(encodeBitmapSuper(content.super));
  encoded.set(content.bits, BITMAP_SUPER_BYTES);
  return encoded;
}

const kindOf = ({ bitmap }: MdArray): Pick<BitmapSuper, "version" | "nodes" | "clusterName"> => ({
  version: bitmap.kind === "clustered" ? BITMAP_VERSION_CLUSTERED : BITMAP_VERSION_INTERNAL,
  nodes: bitmap.kind === "clustered" ? bitmap.slots : 0,
  clusterName: bitmap.clusterName,
});

/** A bitmap superblock for a slot that nobody has used yet. An internal bitmap that is older than its array is stale. */
export const freshBitmapSuper = (array: MdArray): BitmapSuper => ({
  ...kindOf(array),
  uuid: array.uuid,
  events: isClustered(array) ? 0 : array.events,
  eventsCleared: 0,
  syncSize: array.bitmap.layout.syncSize,
  state: 0,
  chunkBytes: array.bitmap.layout.chunkSectors * 512,
  daemonSleep: array.bitmap.daemonSleep,
  writeBehind: 0,
  sectorsReserved: 0,
});

/** How many slots a bitmap superblock says that there are. */
export const slotsOf = (found: BitmapSuper): number => (found.version === BITMAP_VERSION_CLUSTERED ? found.nodes : 1);

function areaOf(superblock: Superblock, deviceSize: number): Area {
  const { superOffset, bitmapOffset, dataOffset, size } = superblock;
  const start = superOffset + bitmapOffset;
  const follows = [superOffset, dataOffset, deviceSize].filter((at) => at > start);
  return {
    uuid: superblock.setUuid,
    syncSize: arraySize({ ...superblock, memberSize: size }),
    superOffset,
    bitmapOffset,
    space: Math.min(...follows) - start,
  };
}

async function readAt(
  device: BlockDevice,
  area: Area,
  layout: BitmapLayout,
  chunkBytes: number,
  slot: number,
): Promise<SlotContent> {
  const where = `${device.path}, slot ${slot}`;
  const at = slotStart(layout, area.superOffset, area.bitmapOffset, slot);
  const found = await readBytes(device, sector(at), layout.pages * BITMAP_PAGE_BYTES);
  const decoded = decodeBitmapSuper(found, { ...area, where });
  const own = bitmapLayout(decoded.syncSize, decoded.chunkBytes);
  // Another chunk is as good if it needs as much space, and another number of nodes moves nothing: somebody died while
  // they were changed. How many slots there are, slot 0 says.
  if (own.pages !== layout.pages) {
    const field = "chunksize";
    const differ = `bitmap field ${field} is ${decoded.chunkBytes}, but ${chunkBytes} in slot 0`;
    throw new MdError("E_SUPERBLOCK_BAD", `${where}: ${differ}`, { details: { field } });
  }
  const bits = found.slice(BITMAP_SUPER_BYTES, BITMAP_SUPER_BYTES + bitBytes(own));
  trimBits(bits, own.chunks);
  const converted = convertBits(bits, own, layout);
  if (own.syncSize < layout.syncSize) mergeBits(converted, bitsOfRange(layout, own.syncSize, layout.syncSize));
  return { super: decoded, bits: converted };
}
