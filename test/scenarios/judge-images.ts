import { type Examination, examine } from "../../src/array/examine.ts";
import { MdError } from "../../src/base/md-error.ts";
import { bytesOf } from "../../src/base/units.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import { Feature, hasFeature, isActiveRole, ROLE_SPARE } from "../../src/superblock/superblock.ts";
import type { DiskImage } from "./stage.ts";

/**
 * What must hold of the disks of an array that was stopped everywhere in good order. Returns what does not: members that
 * differ, superblocks that are not whole (checksums among it) or of different events, bits that are left in any slot.
 */
export async function judgeImages(images: readonly DiskImage[]): Promise<readonly string[]> {
  const found: Found[] = [];
  for (const { disk, bytes } of images) {
    const examination = await examineImage(disk, bytes);
    if (examination !== null) found.push({ disk, bytes, ...examination });
  }
  const newest = Math.max(...found.map(({ superblock }) => superblock.events));
  // Who was taken out keeps the superblock of that time.
  const members = found.filter(({ superblock }) => superblock.events === newest);
  const copies = members.filter(isCopy);
  const [first, ...others] = copies;
  if (first === undefined) return ["no member is in sync"];
  // What a spare says of bits is as old as its addition: nobody reads it before it is filled.
  const wrong = copies.flatMap(dirtyOf);
  const active = first.superblock.devRoles.filter(isActiveRole).length;
  if (copies.length < active) wrong.push(`${copies.length} of ${active} active members have event count ${newest}`);
  for (const other of others) {
    const [a, b] = [dataOf(first), dataOf(other)];
    const at = Buffer.compare(a, b) === 0 ? -1 : a.findIndex((byte, i) => byte !== b[i]);
    if (at >= 0) wrong.push(`${first.disk} and ${other.disk} differ at byte ${at} of the data`);
  }
  return wrong;
}

interface Found extends Examination {
  readonly disk: string;
  readonly bytes: Uint8Array;
}

const isCopy = ({ superblock }: Found): boolean =>
  isActiveRole(superblock.devRoles[superblock.devNumber] ?? ROLE_SPARE) &&
  !hasFeature(superblock, Feature.recoveryOffset);

function dataOf({ bytes, superblock: { dataOffset, size } }: Found): Uint8Array {
  const from = bytesOf(dataOffset);
  return bytes.subarray(from, from + bytesOf(size));
}

function dirtyOf({ disk, bitmap, bitmapError, clean }: Found): readonly string[] {
  if (bitmap === null) return [`${disk}: ${bitmapError?.message ?? "no bitmap"}`];
  // The superblock says "active" after every stop (K4): only the bitmaps tell, and `examine` must say what they do.
  if (clean !== true) return [`${disk} is not called clean`];
  return bitmap.slots.flatMap(({ dirty }, slot) =>
    dirty > 0 ? [`${disk}: slot ${slot} has ${dirty} dirty chunks`] : [],
  );
}

async function examineImage(disk: string, bytes: Uint8Array): Promise<Examination | null> {
  try {
    return await examine(new MemoryDevice(disk, bytes));
  } catch (error) {
    if (error instanceof MdError && error.code === "E_NO_SUPERBLOCK") return null;
    throw error;
  }
}
