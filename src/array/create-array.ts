import { MdError } from "../base/md-error.ts";
import { type Sector, sector, slotNumber } from "../base/units.ts";
import {
  BITMAP_PAGE_BYTES,
  BITMAP_SUPER_BYTES,
  bitmapLayout,
  bitmapSpace,
  defaultChunkBytes,
  maxSlots,
  smallestChunkBytes,
} from "../bitmap/bitmap-layout.ts";
import { IN_SYNC, type MdTime } from "../superblock/superblock.ts";
import { freshBitmapSuper, type SlotContent, writeSlot } from "./bitmap-store.ts";
import type { ArrayBitmap, MdArray } from "./md-array.ts";
import type { Member } from "./member.ts";
import { wipeSuperblocks, writeSuperblocks } from "./superblock-store.ts";
import type { MemberDevices, MemberFailure } from "./write-members.ts";

interface CreateDevice {
  /** For the text of errors. */
  readonly path: string;
  readonly size: Sector;
  /** 16 random bytes. */
  readonly deviceUuid: Uint8Array;
}

export interface CreateRequest {
  /** As stored, e.g. `any:md0`; at most 32 bytes. */
  readonly name: string;
  /** 16 random bytes. */
  readonly uuid: Uint8Array;
  readonly level: number;
  readonly created: MdTime;
  /** At most 63 bytes. */
  readonly clusterName: string;
  /** Nodes that may use the array at once. */
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
}

const SUPER_OFFSET = sector(8);
const BITMAP_OFFSET = 8;
const ROUND_DATA = 2048;
const ROUND_SIZE = 128;

/**
 * The array that mdadm would create of the same devices (on-disk format, 6); members are numbered by raid_disk, then
 * spares. Nothing is written. E_USAGE, E_VALUE, E_LEVEL_UNSUPPORTED, E_DEVICE_SMALL.
 */
export function planCreate(request: CreateRequest): MdArray {
  checkRequest(request);
  const numbered = [...request.members, ...request.spares].flatMap((device, number) =>
    device === null ? [] : [{ device, number }],
  );
  const [first] = numbered;
  if (first === undefined) throw new MdError("E_USAGE", "at least one member must be real");
  const dataOffset = request.dataOffset ?? chooseDataOffset(first.device.size);
  const memberSize = chooseSize(
    request,
    dataOffset,
    numbered.map(({ device }) => device),
  );
  const members = numbered.map(({ device, number }): Member => {
    const active = number < request.members.length;
    return {
      number,
      raidDisk: active ? number : null,
      state: active ? "in_sync" : "spare",
      recoveredTo: sector(0),
      byBitmap: false,
      deviceUuid: device.deviceUuid,
      superOffset: SUPER_OFFSET,
      dataOffset,
      dataSize: sector(device.size - dataOffset),
      devFlags: 0,
      correctedReads: 0,
    };
  });
  return {
    uuid: request.uuid,
    name: request.name,
    minor: 2,
    level: request.level,
    layout: 0,
    chunkSectors: 0,
    raidDisks: request.members.length,
    memberSize,
    size: memberSize,
    created: request.created,
    updated: request.created,
    events: 1,
    resyncOffset: request.assumeClean ? IN_SYNC : 0n,
    bitmap: planBitmap(request, memberSize, dataOffset),
    maxDev: rolesFor(request.members.length + request.spares.length),
    members,
  };
}

/** Entries in the table of roles: what fills the last 512 bytes of the superblock. */
const rolesFor = (devices: number): number => (Math.ceil((256 + 2 * devices) / 512) * 512 - 256) / 2;

function checkRequest({ level, slots, clusterName, daemonSleep, members, name }: CreateRequest): void {
  if (level !== 1) throw new MdError("E_LEVEL_UNSUPPORTED", `level ${level} is not supported; mdctl does raid1`);
  if (members.length < 1) throw new MdError("E_USAGE", "an array needs at least one member");
  if (slots < 2) throw new MdError("E_VALUE", `a clustered array needs at least 2 nodes, got ${slots}`);
  if (!Number.isInteger(daemonSleep) || daemonSleep < 1 || daemonSleep > 0xffff_ffff) {
    throw new MdError("E_VALUE", `the bitmap's flush period takes whole seconds from 1 on, got ${daemonSleep}`);
  }
  checkText("array name", name, 32);
  checkText("cluster name", clusterName, 63);
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

/** Where mdadm lets the data begin on a first device of `deviceSize` sectors. Source: 6.1. */
export function chooseDataOffset(deviceSize: Sector): Sector {
  let headroom = 262_144;
  while (headroom * 1024 > deviceSize) headroom = Math.floor(headroom / 2);
  const offset = 24 + bitmapSpace(deviceSize) + headroom;
  return sector(Math.ceil(offset / ROUND_DATA) * ROUND_DATA);
}

function chooseSize(request: CreateRequest, dataOffset: Sector, devices: readonly CreateDevice[]): Sector {
  const wanted = request.memberSize;
  if (wanted !== null && (!Number.isInteger(wanted) || wanted < ROUND_SIZE)) {
    throw new MdError("E_VALUE", `a size of ${wanted} sectors is not possible, at least ${ROUND_SIZE} are needed`);
  }
  for (const { path, size } of devices) {
    const available = Math.max(0, size - dataOffset);
    const needed = wanted ?? ROUND_SIZE;
    if (available >= needed) continue;
    throw new MdError("E_DEVICE_SMALL", `${path} has ${available} sectors for data, ${needed} are needed`);
  }
  const smallest = Math.min(...devices.map(({ size }) => size - dataOffset));
  return wanted ?? sector(Math.floor(smallest / ROUND_SIZE) * ROUND_SIZE);
}

function planBitmap(request: CreateRequest, size: Sector, dataOffset: Sector): ArrayBitmap {
  const smallest = smallestChunkBytes(size, size);
  const chunkBytes = request.chunkBytes ?? defaultChunkBytes(size, size);
  if (!Number.isInteger(Math.log2(chunkBytes)) || chunkBytes > 2 ** 31) {
    throw new MdError("E_VALUE", `a bitmap chunk of ${chunkBytes} bytes is not possible: it must be a power of two`);
  }
  if (chunkBytes < smallest) {
    throw new MdError("E_VALUE", `bitmap chunks of ${chunkBytes} bytes are too small: here ${smallest} is the least`);
  }
  const layout = bitmapLayout(size, chunkBytes);
  const most = maxSlots(layout, SUPER_OFFSET, dataOffset);
  if (request.slots > most) {
    throw new MdError("E_VALUE", `there is no room for ${request.slots} nodes: the maximum number of nodes is ${most}`);
  }
  const { daemonSleep, slots, clusterName } = request;
  return { layout, offset: BITMAP_OFFSET, daemonSleep, slots, clusterName };
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
  try {
    await Promise.all(involved.map((device) => wipeSuperblocks(device)));
    for (let slot = 0; slot < array.bitmap.slots; slot++) {
      orThrow(await writeSlot(array, devices, slotNumber(slot), freshSlot(array, slot)));
    }
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
