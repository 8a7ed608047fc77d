import { arraySize } from "../../src/array/array-size.ts";
import { type Examination, examine } from "../../src/array/examine.ts";
import { MdError } from "../../src/base/md-error.ts";
import { bytesOf, sector } from "../../src/base/units.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import { personalityOf } from "../../src/engine/personalities.ts";
import { Feature, hasFeature, isActiveRole, roleOf } from "../../src/superblock/superblock.ts";

interface Image {
  readonly disk: string;
  readonly bytes: Uint8Array;
}

/**
 * What must hold of the disks of an array that was stopped everywhere in good order. Returns what does not: members that
 * differ, superblocks that are not whole (checksums among it) or of different events, bits that are left in any slot.
 */
export async function judgeImages(images: readonly Image[]): Promise<readonly string[]> {
  const found: Found[] = [];
  for (const { disk, bytes } of images) {
    const examination = await examineImage(disk, bytes);
    if (examination !== null) found.push({ disk, bytes, ...examination });
  }
  const newest = Math.max(...found.map(({ superblock }) => superblock.events));
  // Who was taken out keeps the superblock of that time.
  const members = found.filter(({ superblock }) => superblock.events === newest);
  const copies = members.filter(isCopy);
  const [first] = copies;
  if (first === undefined) return ["no member is in sync"];
  // What a spare says of bits is as old as its addition: nobody reads it before it is filled.
  const wrong = copies.flatMap(dirtyOf);
  const active = first.superblock.devRoles.filter(isActiveRole).length;
  if (copies.length < active) wrong.push(`${copies.length} of ${active} active members have event count ${newest}`);
  return [...wrong, ...differencesAmong(copies, first)];
}

/** Range by range of the array's map: where the copies of one are not equal. Says it once of two members. */
function differencesAmong(copies: readonly Found[], { superblock }: Found): readonly string[] {
  const { level, layout, chunkSectors, raidDisks, size: memberSize } = superblock;
  const shape = { level, layout, chunkSectors, raidDisks, memberSize };
  const personality = personalityOf({ ...shape, size: arraySize(shape) });
  const byRole = new Map(copies.map((found) => [ownRole(found), found]));
  const disks = new Int32Array(personality.copies);
  const sectors = new Float64Array(personality.copies);
  const wrong = new Map<string, string>();
  let length = 0;
  for (let at = 0; at < personality.size; at += length) {
    length = personality.contiguous(sector(at), personality.size);
    personality.map(sector(at), disks, sectors);
    const held = Array.from(disks, (disk, i) => ({ found: byRole.get(disk), on: sectors[i] ?? 0 })).flatMap(
      ({ found, on }) => (found === undefined ? [] : [{ disk: found.disk, on, data: dataOf(found, on, length) }]),
    );
    const [one, ...others] = held;
    for (const other of others) {
      if (one === undefined || Buffer.compare(one.data, other.data) === 0) continue;
      const byte = one.on * 512 + one.data.findIndex((value, i) => value !== other.data[i]);
      const pair = `${one.disk} and ${other.disk}`;
      if (!wrong.has(pair)) wrong.set(pair, `${pair} differ at byte ${byte} of the data`);
    }
  }
  return [...wrong.values()];
}

type Found = Image & Examination;

const ownRole = ({ superblock }: Found): number => roleOf(superblock, superblock.devNumber);

const isCopy = (found: Found): boolean =>
  isActiveRole(ownRole(found)) && !hasFeature(found.superblock, Feature.recoveryOffset);

/** `length` sectors from sector `on` of the data on. */
function dataOf({ bytes, superblock: { dataOffset } }: Found, on: number, length: number): Uint8Array {
  const from = bytesOf(dataOffset) + on * 512;
  return bytes.subarray(from, from + length * 512);
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
