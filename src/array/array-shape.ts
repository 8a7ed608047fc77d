import { MdError } from "../base/md-error.ts";
import { SECTOR_SIZE, type Sector, sector } from "../base/units.ts";
import { type BitmapLayout, bitmapLayout } from "../bitmap/bitmap-layout.ts";
import { decodeRaid10Layout } from "../superblock/raid10-layout.ts";
import { arraySize } from "./array-size.ts";
import { type MdArray, memberByRaidDisk } from "./md-array.ts";

/** What of a running array may change. */
export interface ArrayShape {
  /** Sectors used on each member. */
  readonly memberSize: Sector;
  readonly raidDisks: number;
  /** Bytes per bit of the bitmaps. */
  readonly chunkBytes: number;
  /** Sectors of a RAID10's chunk; 0 for RAID1. */
  readonly stripeSectors: number;
}

/** What is wanted of it; null: as it is. */
export interface ShapeChange {
  /** Sectors to use on each member, or as many as all have. */
  readonly size: Sector | "max" | null;
  readonly raidDisks: number | null;
  readonly chunkBytes: number | null;
  /** Of a RAID10's chunk. */
  readonly stripeSectors: number | null;
}

/** Sectors that a member has for data, on the host that looks. */
export interface MemberRoom {
  readonly path: string;
  readonly sectors: number;
  /** Bytes of the device's blocks; default: 512. */
  readonly blockBytes?: number;
}

const SMALLEST_CHUNK = 4096;
const LARGEST_CHUNK = 2 ** 31;
/** Sizes are whole KiB, as mdadm tells and takes them; the least is what create takes. */
const SIZE_STEP = 2;
const LEAST_SIZE = 128;
/** Sectors of a RAID10's chunk. */
const LEAST_STRIPE = 8;
const MOST_STRIPE = 2 ** 21;

const chunkBytesOf = ({ chunkSectors }: BitmapLayout): number => chunkSectors * 512;

export const shapeOf = (array: MdArray): ArrayShape => ({
  memberSize: array.memberSize,
  raidDisks: array.raidDisks,
  chunkBytes: chunkBytesOf(array.bitmap.layout),
  stripeSectors: array.chunkSectors,
});

export const sameShape = (a: ArrayShape, b: ArrayShape): boolean => sameMembers(a, b) && a.chunkBytes === b.chunkBytes;

/** Whether the two have the same superblocks: those say nothing of the bitmap's chunk. */
export const sameMembers = (a: ArrayShape, b: ArrayShape): boolean =>
  a.memberSize === b.memberSize && a.raidDisks === b.raidDisks && a.stripeSectors === b.stripeSectors;

/** Sectors that the bitmaps of an array of that shape cover. */
export const syncSizeOf = (array: MdArray, { memberSize, raidDisks, stripeSectors }: ArrayShape): Sector =>
  arraySize({ ...array, memberSize, raidDisks, chunkSectors: stripeSectors });

/** What an array of `size` sectors needs of each member, if nothing else of it changes. */
export function memberSizeFor(array: MdArray, size: Sector): Sector {
  if (array.level !== 10) return size;
  const { near, far } = decodeRaid10Layout(array.layout);
  const chunks = Math.ceil(((size / array.chunkSectors) * near * far) / array.raidDisks);
  return sector(chunks * array.chunkSectors);
}

/** The array with another size, number of raid_disks and chunk; its bitmaps are as they were. */
export function withShape(array: MdArray, shape: Omit<ArrayShape, "chunkBytes">): MdArray {
  const { memberSize, raidDisks, stripeSectors: chunkSectors } = shape;
  return {
    ...array,
    memberSize,
    raidDisks,
    chunkSectors,
    size: arraySize({ ...array, memberSize, raidDisks, chunkSectors }),
    // A device that was made larger has more room than its superblock knows; less than is used it cannot have.
    members: array.members.map((member) => ({
      ...member,
      dataSize: sector(member.state === "faulty" ? member.dataSize : Math.max(member.dataSize, memberSize)),
    })),
  };
}

/**
 * The shape that an array takes on `change`. `room`: of every member that is not faulty. E_VALUE, E_DEVICE_SMALL,
 * E_MEMBER_ACTIVE, E_LEVEL_UNSUPPORTED.
 */
export function planShape(array: MdArray, change: ShapeChange, room: readonly MemberRoom[]): ArrayShape {
  const stripeSectors = planStripes(array, change);
  const memberSize = planSize(array, change.size, { room, stripeSectors });
  const raidDisks = planDisks(array, change.raidDisks);
  const syncSize = syncSizeOf(array, { memberSize, raidDisks, stripeSectors, chunkBytes: 0 });
  return { memberSize, raidDisks, stripeSectors, chunkBytes: planChunk(array, syncSize, change.chunkBytes) };
}

function planSize(
  array: MdArray,
  wanted: ShapeChange["size"],
  { room, stripeSectors }: { readonly room: readonly MemberRoom[]; readonly stripeSectors: number },
): Sector {
  if (wanted === null) return array.memberSize;
  // A RAID10 uses whole chunks of its members, as md rounds it.
  const step = Math.max(SIZE_STEP, stripeSectors);
  const most = Math.min(...room.map(({ sectors }) => sectors));
  const size = wanted === "max" || stripeSectors > 0 ? roundDown(wanted === "max" ? most : wanted, step) : wanted;
  if (!Number.isInteger(size) || size < Math.max(LEAST_SIZE, step) || size % SIZE_STEP !== 0) {
    const least = Math.max(LEAST_SIZE, step) / 2;
    throw new MdError("E_VALUE", `a size of ${size / 2} KiB is not possible: whole KiB from ${least} on are`);
  }
  checkRoom(room, size);
  return sector(size);
}

const roundDown = (size: number, step: number): number => Math.floor(size / step) * step;

/**
 * Where a member's every sector is another's copy, a chunk cuts nothing: it may be any that the size is a multiple of.
 * Elsewhere another chunk, or another number of members, gives most data another place; with far copies another size,
 * too. E_LEVEL_UNSUPPORTED, E_VALUE.
 */
function planStripes(array: MdArray, { stripeSectors, raidDisks, size }: ShapeChange): number {
  const { level, name, chunkSectors } = array;
  if (level !== 10) {
    if (stripeSectors === null) return chunkSectors;
    throw new MdError("E_VALUE", `"${name}" has level ${level}: only raid10 has chunks`);
  }
  const { near, far, offset } = decodeRaid10Layout(array.layout);
  const moves = (what: string): MdError =>
    new MdError("E_LEVEL_UNSUPPORTED", `${what} of the raid10 "${name}" cannot be changed`, {
      why: `with ${near * far} copies on ${array.raidDisks} members nearly all data would get another place`,
      hint: "create another array, and copy",
    });
  // The far sections begin at a share of the size.
  if (size !== null && far > 1 && !offset) throw moves("the size");
  if (raidDisks !== null && raidDisks !== array.raidDisks) throw moves("raid-devices");
  if (stripeSectors === null || stripeSectors === chunkSectors) return chunkSectors;
  if (far > 1 || near !== array.raidDisks) throw moves("the chunk");
  const isChunk = Number.isInteger(Math.log2(stripeSectors)) && stripeSectors >= LEAST_STRIPE;
  if (!isChunk || stripeSectors > MOST_STRIPE) {
    throw new MdError(
      "E_VALUE",
      `a chunk of ${stripeSectors / 2} KiB is not possible: a power of two from 4 KiB to 1 GiB is`,
    );
  }
  if (size === null && array.memberSize % stripeSectors !== 0) {
    const fits = roundDown(array.memberSize, stripeSectors) / 2;
    throw new MdError(
      "E_VALUE",
      `component size ${array.memberSize / 2}K of "${name}" is not a multiple of chunksize ${stripeSectors / 2}K`,
      {
        hint: `mdctl grow ${name.slice(name.indexOf(":") + 1)} --size=${fits}`,
      },
    );
  }
  return stripeSectors;
}

/** E_DEVICE_SMALL for the first member without room for `size` sectors of data. */
export function checkRoom(room: readonly MemberRoom[], size: number): void {
  for (const { path, sectors, blockBytes = SECTOR_SIZE } of room) {
    if (sectors < size) {
      throw new MdError("E_DEVICE_SMALL", `${path} has ${sectors} sectors for data, ${size} are needed`);
    }
    checkBlocks(path, blockBytes, size);
  }
}

/** The device transfers whole blocks: E_VALUE for `sectors` that do not end between two. */
export function checkBlocks(path: string, blockBytes: number, sectors: number): void {
  if ((sectors * SECTOR_SIZE) % blockBytes === 0) return;
  throw new MdError("E_VALUE", `${path} has blocks of ${blockBytes} bytes, and ${sectors / 2} KiB are not whole ones`);
}

function planDisks(array: MdArray, wanted: number | null): number {
  const raidDisks = wanted ?? array.raidDisks;
  if (!Number.isInteger(raidDisks) || raidDisks < 1) {
    throw new MdError("E_VALUE", `an array of ${raidDisks} raid-devices is not possible`);
  }
  for (let disk = raidDisks; disk < array.raidDisks; disk++) {
    const member = memberByRaidDisk(array, disk);
    if (member === null) continue;
    throw new MdError("E_MEMBER_ACTIVE", `raid disk ${disk} of "${array.name}" is taken by member ${member.number}`, {
      why: `with ${raidDisks} raid-devices the places from ${raidDisks} on must be vacant`,
      hint: "fail and remove that member first",
    });
  }
  return raidDisks;
}

/**
 * The chunk, so that every slot's bitmap stays where it is: slots lie one after the other, each as long as its bits take
 * (on-disk format, 8). If the bits outgrow their pages the chunk grows, as md does it (13); fewer pages than before
 * would move the slots just as well.
 */
function planChunk(array: MdArray, syncSize: Sector, wanted: number | null): number {
  const { layout } = array.bitmap;
  // Both: a crash may leave either size with this chunk.
  const fits = (chunkBytes: number): boolean =>
    [syncSize, layout.syncSize].every((size) => bitmapLayout(size, chunkBytes).pages === layout.pages);
  const possible: number[] = [];
  for (let chunk = SMALLEST_CHUNK; chunk <= LARGEST_CHUNK; chunk *= 2) if (fits(chunk)) possible.push(chunk);
  const pages = `${layout.pages} ${layout.pages === 1 ? "page" : "pages"} of 4 KiB`;
  if (wanted !== null) {
    if (!Number.isInteger(Math.log2(wanted)) || wanted < SMALLEST_CHUNK || wanted > LARGEST_CHUNK) {
      throw new MdError(
        "E_VALUE",
        `a bitmap chunk of ${wanted} bytes is not possible: a power of two from 4 KiB on is`,
      );
    }
    if (possible.includes(wanted)) return wanted;
    const { chunks } = bitmapLayout(syncSize, wanted);
    throw new MdError("E_VALUE", `bitmap chunks of ${wanted} bytes do not fit: ${chunks} bits take other space`, {
      why: `the bitmap of each node has ${pages}, and cannot move while the array is in use; ${rangeText(possible)}`,
    });
  }
  const now = chunkBytesOf(layout);
  const chosen = possible.find((chunk) => chunk >= now) ?? possible.at(-1);
  if (chosen !== undefined) return chosen;
  throw new MdError("E_VALUE", `"${array.name}" cannot get that size: its bitmaps would have to move`, {
    why: `the bitmap of each node has ${pages}, which no chunk size fills with ${syncSize} sectors`,
  });
}

const rangeText = (possible: readonly number[]): string => {
  const [least] = possible;
  return least === undefined ? "no size fits" : `chunks from ${least} to ${possible.at(-1)} bytes fit`;
};
