import { MdError } from "../base/md-error.ts";
import { SECTOR_SIZE, type Sector, sector, slotNumber } from "../base/units.ts";
import {
  BITMAP_PAGE_BYTES,
  BITMAP_SUPER_BYTES,
  bitmapLayout,
  bitmapSpace,
  defaultChunkBytes,
  maxSlots,
  smallestChunkBytes,
} from "../bitmap/bitmap-layout.ts";
import { copiesOf, decodeRaid10Layout, raid10LayoutName } from "../superblock/raid10-layout.ts";
import { IN_SYNC, type MdTime } from "../superblock/superblock.ts";
import { checkBlocks } from "./array-shape.ts";
import { arraySize } from "./array-size.ts";
import { newBadBlockLog } from "./bad-block-place.ts";
import { blankBadBlocks } from "./bad-block-store.ts";
import { freshBitmapSuper, type SlotContent, writeSlot } from "./bitmap-store.ts";
import { CopyGroups } from "./copy-groups.ts";
import type { ArrayBitmap, BitmapKind, MdArray } from "./md-array.ts";
import type { Member } from "./member.ts";
import { wipeSuperblocks } from "./metadata-traces.ts";
import { mustBeNear, mustKeepCopies } from "./raid10-limits.ts";
import { writeSuperblocks } from "./superblock-store.ts";
import { type MemberDevices, type MemberFailure, withMembers } from "./write-members.ts";

interface CreateDevice {
  /** For the text of errors. */
  readonly path: string;
  readonly size: Sector;
  /** 16 random bytes. */
  readonly deviceUuid: Uint8Array;
  /** Of `MemberFlag`; default: none. */
  readonly devFlags?: number;
}

export interface CreateRequest {
  /** As stored, e.g. `any:md0`; at most 32 bytes. */
  readonly name: string;
  /** 16 random bytes. */
  readonly uuid: Uint8Array;
  readonly level: number;
  /** RAID10: its layout word, and bytes of a stripe's chunk. Null for what mdadm would choose. */
  readonly layout?: number | null;
  readonly stripeBytes?: number | null;
  readonly created: MdTime;
  /** Default: clustered. */
  readonly bitmap?: BitmapKind;
  /** At most 63 bytes; of a clustered array. */
  readonly clusterName: string;
  /** Nodes that may use a clustered array at once. */
  readonly slots: number;
  /** By raid_disk; null for one that is missing. Then the spares. */
  readonly members: readonly (CreateDevice | null)[];
  readonly spares: readonly CreateDevice[];
  /** The copies are equal already, the caller says. */
  readonly assumeClean: boolean;
  /** Sectors of each member to use; null for as many as all have. */
  readonly memberSize: Sector | null;
  /** Null for what mdadm would choose. */
  readonly dataOffset: Sector | null;
  readonly chunkBytes: number | null;
  /** Seconds. */
  readonly daemonSleep: number;
  /** Members get a bad-block log where there is room for it, unless the array is clustered. Default: no. */
  readonly badBlockLog?: boolean;
}

const SUPER_OFFSET = sector(8);
/** Of a bitmap from its superblock, with metadata 1.2. */
export const BITMAP_OFFSET = 8;
const ROUND_DATA = 2048;
const ROUND_SIZE = 128;
/** What mdadm chooses for RAID10: two near copies, chunks of 512 KiB. */
const DEFAULT_LAYOUT = 0x102;
const DEFAULT_STRIPE_BYTES = 512 * 1024;
const LEAST_STRIPE_BYTES = 4096;
const MOST_STRIPE_BYTES = 2 ** 30;

/**
 * The array that mdadm would create of the same devices (on-disk format, 6); members are numbered by raid_disk, then
 * spares. Nothing is written. E_USAGE, E_VALUE, E_LEVEL_UNSUPPORTED, E_LAYOUT_UNSUPPORTED, E_DEVICE_SMALL.
 */
export function planCreate(request: CreateRequest): MdArray {
  checkRequest(request);
  const { layout, chunkSectors } = chooseStripes(request);
  const numbered = [...request.members, ...request.spares].flatMap((device, number) =>
    device === null ? [] : [{ device, number }],
  );
  const [first] = numbered;
  if (first === undefined) throw new MdError("E_USAGE", "at least one member must be real");
  const dataOffset = request.dataOffset ?? chooseDataOffset(first.device.size, chunkSectors);
  const memberSize = chooseSize(
    request,
    dataOffset,
    chunkSectors,
    numbered.map(({ device }) => device),
  );
  const raidDisks = request.members.length;
  const size = arraySize({ level: request.level, layout, chunkSectors, raidDisks, memberSize });
  const members = numbered.map(({ device, number }): Member => {
    const active = number < request.members.length;
    return {
      number,
      raidDisk: active ? number : null,
      state: active ? "in_sync" : "spare",
      recoveredTo: sector(0),
      byBitmap: false,
      isReplacement: false,
      deviceUuid: device.deviceUuid,
      superOffset: SUPER_OFFSET,
      dataOffset,
      dataSize: sector(device.size - dataOffset),
      devFlags: device.devFlags ?? 0,
      correctedReads: 0,
      badBlockLog: null,
    };
  });
  const bitmap = planBitmap(request, size, memberSize, dataOffset);
  const hasLog = (request.badBlockLog ?? false) && bitmap.kind !== "clustered";
  return {
    uuid: request.uuid,
    name: request.name,
    minor: 2,
    level: request.level,
    layout,
    chunkSectors,
    raidDisks,
    memberSize,
    size,
    created: request.created,
    updated: request.created,
    events: 1,
    resyncOffset: request.assumeClean ? IN_SYNC : 0n,
    bitmap,
    faultyElsewhere: [],
    maxDev: rolesFor(request.members.length + request.spares.length),
    members: hasLog
      ? members.map((member) => ({ ...member, badBlockLog: newBadBlockLog({ bitmap, memberSize }, member) }))
      : members,
  };
}

/** Entries in the table of roles: what fills the last 512 bytes of the superblock. */
const rolesFor = (devices: number): number => (Math.ceil((256 + 2 * devices) / 512) * 512 - 256) / 2;

function checkRequest({ level, slots, clusterName, daemonSleep, members, name, bitmap }: CreateRequest): void {
  if (level !== 1 && level !== 10) {
    throw new MdError("E_LEVEL_UNSUPPORTED", `level ${level} is not supported; mdctl does raid1 and raid10`);
  }
  if (members.length < 1) throw new MdError("E_USAGE", "an array needs at least one member");
  const clustered = (bitmap ?? "clustered") === "clustered";
  if (clustered && slots < 2) throw new MdError("E_VALUE", `a clustered array needs at least 2 nodes, got ${slots}`);
  if (!Number.isInteger(daemonSleep) || daemonSleep < 1 || daemonSleep > 0xffff_ffff) {
    throw new MdError("E_VALUE", `the bitmap's flush period takes whole seconds from 1 on, got ${daemonSleep}`);
  }
  checkText("array name", name, 32);
  if (clustered) checkText("cluster name", clusterName, 63);
}

function checkText(what: string, text: string, limit: number): void {
  const length = new TextEncoder().encode(text).byteLength;
  if (length === 0) throw new MdError("E_VALUE", `the ${what} is empty`);
  if (length > limit) throw new MdError("E_VALUE", `the ${what} takes ${length} bytes, at most ${limit} are possible`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f/]/.test(text)) {
    throw new MdError("E_VALUE", `the ${what} has a control character or a slash in it`);
  }
}

/** How a RAID10 is striped; zeros for a mirror. */
function chooseStripes(request: CreateRequest): { readonly layout: number; readonly chunkSectors: number } {
  if (request.level !== 10) return { layout: 0, chunkSectors: 0 };
  const layout = request.layout ?? DEFAULT_LAYOUT;
  checkLayout(request, layout);
  const stripeBytes = request.stripeBytes ?? DEFAULT_STRIPE_BYTES;
  const fits = stripeBytes >= LEAST_STRIPE_BYTES && stripeBytes <= MOST_STRIPE_BYTES;
  if (!fits || !Number.isInteger(Math.log2(stripeBytes))) {
    throw new MdError(
      "E_VALUE",
      `a chunk of ${stripeBytes} bytes is not possible: a power of two from 4 KiB to 1 GiB is`,
    );
  }
  return { layout, chunkSectors: stripeBytes / SECTOR_SIZE };
}

function checkLayout({ members, bitmap }: CreateRequest, layout: number): void {
  if ((bitmap ?? "clustered") === "clustered")
    mustBeNear(layout, { hint: "--bitmap=internal, for one node at a time" });
  const copies = copiesOf(decodeRaid10Layout(layout));
  const raidDisks = members.length;
  if (copies > raidDisks) {
    const name = raid10LayoutName(layout);
    throw new MdError("E_USAGE", `layout ${name} needs at least ${copies} members, got ${raidDisks}`);
  }
  mustKeepCopies(layout, raidDisks);
  const groups = new CopyGroups({ level: 10, layout, raidDisks });
  if (groups.survives(members.map((member) => (member === null ? 0 : 1)))) return;
  throw new MdError("E_USAGE", "too many members are missing: of some data there would be no copy");
}

/**
 * Where mdadm lets the data begin on a first device of `deviceSize` sectors; `chunkSectors` of a RAID10, else 0.
 * Source: 6.1.
 */
export function chooseDataOffset(deviceSize: Sector, chunkSectors = 0): Sector {
  let headroom = 262_144;
  // Room for a reshape by one chunk is kept.
  while (headroom * 1024 > deviceSize && headroom >= chunkSectors * 4) headroom = Math.floor(headroom / 2);
  const offset = 24 + bitmapSpace(deviceSize) + headroom;
  return sector(Math.ceil(offset / ROUND_DATA) * ROUND_DATA);
}

function chooseSize(
  request: CreateRequest,
  dataOffset: Sector,
  chunkSectors: number,
  devices: readonly CreateDevice[],
): Sector {
  const wanted = request.memberSize;
  // Stripes have whole chunks; of a mirror a size that is given is taken as it is.
  const unit = chunkSectors === 0 ? ROUND_SIZE : chunkSectors;
  const least = Math.max(unit, ROUND_SIZE);
  if (wanted !== null && (!Number.isInteger(wanted) || wanted < least)) {
    throw new MdError("E_VALUE", `a size of ${wanted} sectors is not possible, at least ${least} are needed`);
  }
  for (const { path, size } of devices) {
    const available = Math.max(0, size - dataOffset);
    const needed = wanted ?? least;
    if (available >= needed) continue;
    throw new MdError("E_DEVICE_SMALL", `${path} has ${available} sectors for data, ${needed} are needed`);
  }
  const smallest = Math.min(...devices.map(({ size }) => size - dataOffset));
  if (wanted !== null && chunkSectors === 0) return wanted;
  return sector(Math.floor((wanted ?? smallest) / unit) * unit);
}

function planBitmap(request: CreateRequest, size: Sector, memberSize: Sector, dataOffset: Sector): ArrayBitmap {
  const smallest = smallestChunkBytes(size, memberSize);
  const chunkBytes = request.chunkBytes ?? defaultChunkBytes(size, memberSize);
  if (!Number.isInteger(Math.log2(chunkBytes)) || chunkBytes > 2 ** 31) {
    throw new MdError("E_VALUE", `a bitmap chunk of ${chunkBytes} bytes is not possible: it must be a power of two`);
  }
  if (chunkBytes < smallest) {
    throw new MdError("E_VALUE", `bitmap chunks of ${chunkBytes} bytes are too small: here ${smallest} is the least`);
  }
  const layout = bitmapLayout(size, chunkBytes);
  const { daemonSleep, slots, clusterName, bitmap: kind = "clustered" } = request;
  const common = { layout, offset: BITMAP_OFFSET, daemonSleep };
  if (kind !== "clustered") return { ...common, kind, slots: kind === "internal" ? 1 : 0, clusterName: "" };
  checkSlots(slots, maxSlots(layout, SUPER_OFFSET, dataOffset));
  return { ...common, kind, slots, clusterName };
}

/** E_VALUE for more slots than there is room for. */
export function checkSlots(slots: number, most: number): void {
  if (slots <= most) return;
  throw new MdError("E_VALUE", `there is no room for ${slots} nodes: the maximum number of nodes is ${most}`);
}

/**
 * Writes the planned array. A crash at any moment leaves no array, or the whole one: bitmaps come first, then all
 * superblocks with event count 0 (which nobody assembles), and then the first one of event count 1 makes it an array,
 * whichever it is: the others are one behind and all there.
 * On a device error everything is wiped again and the error is thrown.
 */
export async function createArray(array: MdArray, devices: MemberDevices): Promise<void> {
  const involved = array.members.flatMap(({ number }) => devices.get(number) ?? []);
  if (involved.length < array.members.length) {
    throw new MdError("E_NO_DEVICE", "not all members of the new array are open");
  }
  for (const { path, logicalBlockSize } of involved) {
    for (const { dataOffset } of array.members) checkBlocks(path, logicalBlockSize, dataOffset);
    checkBlocks(path, logicalBlockSize, array.memberSize);
  }
  try {
    await Promise.all(involved.map((device) => wipeSuperblocks(device)));
    for (let slot = 0; slot < array.bitmap.slots; slot++) {
      orThrow(await writeSlot(array, devices, slotNumber(slot), freshSlot(array, slot)));
    }
    orThrow(await withMembers(array.members, devices, blankBadBlocks));
    orThrow(await writeSuperblocks({ ...array, events: 0 }, devices));
    orThrow(await writeSuperblocks(array, devices));
  } catch (error) {
    await Promise.allSettled(involved.map((device) => wipeSuperblocks(device)));
    throw error;
  }
}

/** As mdadm fills them, to the end of the area: slot 0, whose node comes first, has everything to resync. */
function freshSlot(array: MdArray, slot: number): SlotContent {
  const bits = new Uint8Array(array.bitmap.layout.pages * BITMAP_PAGE_BYTES - BITMAP_SUPER_BYTES);
  return { super: freshBitmapSuper(array), bits: slot === 0 ? bits.fill(0xff) : bits };
}

function orThrow([failure]: readonly MemberFailure[]): void {
  if (failure !== undefined) throw failure.error;
}
