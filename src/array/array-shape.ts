import { MdError } from "../base/md-error.ts";
import { type Sector, sector } from "../base/units.ts";
import { type BitmapLayout, bitmapLayout } from "../bitmap/bitmap-layout.ts";
import { arraySize } from "./array-size.ts";
import { type MdArray, memberByRaidDisk } from "./md-array.ts";

/** What of a running array may change. */
export interface ArrayShape {
  /** Sectors used on each member. */
  readonly memberSize: Sector;
  readonly raidDisks: number;
  /** Bytes per bit of the bitmaps. */
  readonly chunkBytes: number;
}

/** What is wanted of it; null: as it is. */
export interface ShapeChange {
  /** Sectors to use on each member, or as many as all have. */
  readonly size: Sector | "max" | null;
  readonly raidDisks: number | null;
  readonly chunkBytes: number | null;
}

/** Sectors that a member has for data, on the host that looks. */
export interface MemberRoom {
  readonly path: string;
  readonly sectors: number;
}

const SMALLEST_CHUNK = 4096;
const LARGEST_CHUNK = 2 ** 31;
/** Sizes are whole KiB, as mdadm tells and takes them; the least is what create takes. */
const SIZE_STEP = 2;
const LEAST_SIZE = 128;

const chunkBytesOf = ({ chunkSectors }: BitmapLayout): number => chunkSectors * 512;

export const shapeOf = (array: MdArray): ArrayShape => ({
  memberSize: array.memberSize,
  raidDisks: array.raidDisks,
  chunkBytes: chunkBytesOf(array.bitmap.layout),
});

export const sameShape = (a: ArrayShape, b: ArrayShape): boolean =>
  a.memberSize === b.memberSize && a.raidDisks === b.raidDisks && a.chunkBytes === b.chunkBytes;

/** Sectors that the bitmaps of an array of that shape cover. */
export const syncSizeOf = (array: MdArray, { memberSize, raidDisks }: ArrayShape): Sector =>
  arraySize({ ...array, memberSize, raidDisks });

/** The array with another size and number of raid_disks; its bitmaps are as they were. */
export function withShape(array: MdArray, shape: Pick<ArrayShape, "memberSize" | "raidDisks">): MdArray {
  const { memberSize, raidDisks } = shape;
  return {
    ...array,
    memberSize,
    raidDisks,
    size: arraySize({ ...array, memberSize, raidDisks }),
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
  if (array.level !== 1) {
    throw new MdError("E_LEVEL_UNSUPPORTED", `"${array.name}" has level ${array.level}; only raid1 can be changed`);
  }
  const memberSize = planSize(array, change.size, room);
  const raidDisks = planDisks(array, change.raidDisks);
  const syncSize = arraySize({ ...array, memberSize, raidDisks });
  return { memberSize, raidDisks, chunkBytes: planChunk(array, syncSize, change.chunkBytes) };
}

function planSize(array: MdArray, wanted: ShapeChange["size"], room: readonly MemberRoom[]): Sector {
  if (wanted === null) return array.memberSize;
  const most = Math.min(...room.map(({ sectors }) => sectors));
  const size = wanted === "max" ? Math.floor(most / SIZE_STEP) * SIZE_STEP : wanted;
  if (!Number.isInteger(size) || size < LEAST_SIZE || size % SIZE_STEP !== 0) {
    throw new MdError("E_VALUE", `a size of ${size / 2} KiB is not possible: whole KiB from ${LEAST_SIZE / 2} on are`);
  }
  checkRoom(room, size);
  return sector(size);
}

/** E_DEVICE_SMALL for the first member without room for `size` sectors of data. */
export function checkRoom(room: readonly MemberRoom[], size: number): void {
  for (const { path, sectors } of room) {
    if (sectors >= size) continue;
    throw new MdError("E_DEVICE_SMALL", `${path} has ${sectors} sectors for data, ${size} are needed`);
  }
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
