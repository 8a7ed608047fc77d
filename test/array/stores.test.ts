import { beforeEach, describe, expect, it } from "vitest";
import { clearSlot, freshBitmapSuper, readSlot, writeSlot } from "../../src/array/bitmap-store.ts";
import { createArray } from "../../src/array/create-array.ts";
import { examine } from "../../src/array/examine.ts";
import { cleanlinessLine, examineText } from "../../src/array/examine-text.ts";
import { bitmapStart, type MdArray } from "../../src/array/md-array.ts";
import type { Member } from "../../src/array/member.ts";
import { wipeSuperblocks } from "../../src/array/metadata-traces.ts";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import { bytesOf, sector, slotNumber } from "../../src/base/units.ts";
import { bitBytes } from "../../src/bitmap/bitmap-layout.ts";
import { setBits } from "../../src/bitmap/bitmap-merge.ts";
import { BITMAP_STALE } from "../../src/bitmap/bitmap-super.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import type { Superblock } from "../../src/superblock/superblock.ts";
import { encodeSuperblock } from "../../src/superblock/superblock-codec.ts";
import { superblockSector } from "../../src/superblock/superblock-location.ts";
import { exampleSuperblock } from "../superblock/example.ts";
import { DiskLog } from "../support/disk-log.ts";
import { byNumber, DISK_SECTORS, planFor } from "./example.ts";

const size = sector(512);

/** A small, valid superblock for a device of the tests' size. */
const superblockAt = (minor: 0 | 1 | 2, seconds: number, change: Partial<Superblock> = {}): Superblock => ({
  ...exampleSuperblock,
  minor,
  featureMap: 0,
  bitmapOffset: 0,
  ctime: { seconds, microseconds: 0 },
  superOffset: superblockSector(minor, sector(DISK_SECTORS)),
  dataOffset: sector(minor === 0 ? 0 : 2048),
  size,
  dataSize: size,
  ...change,
});

let bytes: Uint8Array;
let device: BlockDevice;
beforeEach(() => {
  bytes = new Uint8Array(DISK_SECTORS * 512);
  device = new MemoryDevice("/dev/test", bytes);
});

const put = (superblock: Superblock): void => {
  bytes.set(encodeSuperblock(superblock), bytesOf(superblock.superOffset));
};

describe("the superblock of a device", () => {
  it.each([0, 1, 2] as const)("is found as 1.%i", async (minor) => {
    put(superblockAt(minor, 5));
    expect(await readSuperblock(device)).toEqual(superblockAt(minor, 5));
  });

  it("is the one of the array created last, if there are several", async () => {
    put(superblockAt(0, 5));
    put(superblockAt(1, 9));
    put(superblockAt(2, 7));
    expect((await readSuperblock(device)).minor).toBe(1);
  });

  it("is not replaced by an old one elsewhere when it is broken", async () => {
    put(superblockAt(0, 5));
    put(superblockAt(2, 7));
    bytes[8 * 512 + 100] = 0xaa;
    await expect(readSuperblock(device)).rejects.toMatchObject({ code: "E_CHECKSUM" });
  });

  it("does not lie where the data of this array has one of another device", async () => {
    // A disk image with an array in it, stored on the array: its superblock is near the end of the data.
    put(superblockAt(2, 7));
    bytes.set(
      encodeSuperblock(superblockAt(0, 9, { superOffset: sector(1000) })),
      bytesOf(superblockSector(0, sector(DISK_SECTORS))),
    );
    expect((await readSuperblock(device)).minor).toBe(2);
  });

  it("is not there on a device of a few sectors", async () => {
    for (const sectors of [1, 7, 8, 15, 24]) {
      const tiny = new MemoryDevice("/dev/tiny", new Uint8Array(sectors * 512));
      await expect(readSuperblock(tiny)).rejects.toMatchObject({ code: "E_NO_SUPERBLOCK" });
    }
  });

  it("is wiped wherever it is, also when broken and when it is of version 0.90", async () => {
    for (const minor of [0, 1, 2] as const) put(superblockAt(minor, 5));
    bytes[8 * 512 + 100] = 0xaa;
    const old = Math.floor(DISK_SECTORS / 128) * 128 - 128;
    bytes.set([0xfc, 0x4e, 0x2b, 0xa9], old * 512);
    expect((await wipeSuperblocks(device)).toSorted((a, b) => a - b)).toEqual([0, 8, old, DISK_SECTORS - 16]);
    await expect(readSuperblock(device)).rejects.toMatchObject({ code: "E_NO_SUPERBLOCK" });
    expect(await wipeSuperblocks(device)).toEqual([]);
  });

  it("stays wiped after a power cut", async () => {
    put(superblockAt(1, 5));
    const log = new DiskLog([bytes]);
    await wipeSuperblocks(log.devices[0] as BlockDevice);
    for (const [image] of log.crashStates(log.length)) {
      const after = new MemoryDevice("/dev/after", image ?? new Uint8Array());
      await expect(readSuperblock(after)).rejects.toMatchObject({ code: "E_NO_SUPERBLOCK" });
    }
  });
});

describe("the bitmap of a slot", () => {
  let array: MdArray;
  let devices: readonly BlockDevice[];
  let images: readonly Uint8Array[];
  let first: Member;

  beforeEach(async () => {
    images = [new Uint8Array(DISK_SECTORS * 512), new Uint8Array(DISK_SECTORS * 512)];
    devices = images.map((image, i) => new MemoryDevice(`/dev/disk${i}`, image));
    array = planFor(devices, { chunkBytes: 4096 });
    await createArray(array, byNumber(devices));
    const [member] = array.members;
    if (member === undefined) throw new Error("no member");
    first = member;
  });

  const onFirst = (slot: number) => readSlot(array, first, devices[0] as BlockDevice, slotNumber(slot));
  const someBits = (): Uint8Array => Uint8Array.from({ length: bitBytes(array.bitmap.layout) }, (_, i) => i & 0xff);

  it("is written to all members, and only to its own place", async () => {
    const before = images.map((image) => image.slice());
    const content = { super: { ...freshBitmapSuper(array), events: 3 }, bits: someBits() };
    expect(await writeSlot(array, byNumber(devices), slotNumber(2), content)).toEqual([]);
    expect(await onFirst(2)).toEqual(content);
    const start = bytesOf(bitmapStart(array, first, slotNumber(2)));
    const end = start + array.bitmap.layout.slotSectors * 512;
    for (const [i, image] of images.entries()) {
      const was = before[i] ?? new Uint8Array();
      expect(Buffer.compare(image.subarray(0, start), was.subarray(0, start))).toBe(0);
      expect(Buffer.compare(image.subarray(end), was.subarray(end))).toBe(0);
      const slot = image.subarray(start, end);
      expect(Buffer.compare(slot, images[0]?.subarray(start, end) ?? was)).toBe(0);
    }
  });

  it("is cleared, and keeps its superblock", async () => {
    const content = { super: { ...freshBitmapSuper(array), events: 3, eventsCleared: 2 }, bits: someBits() };
    await writeSlot(array, byNumber(devices), slotNumber(1), content);
    await clearSlot(array, byNumber(devices), slotNumber(1), await onFirst(1));
    const cleared = await onFirst(1);
    expect(cleared.super).toEqual(content.super);
    expect(cleared.bits.every((byte) => byte === 0)).toBe(true);
  });

  it("is read without what fills it up past the last chunk", async () => {
    const odd = planFor(devices, { chunkBytes: 4096, memberSize: sector(1960) });
    await createArray(odd, byNumber(devices));
    expect(odd.bitmap.layout.chunks % 8).toBe(5);
    expect(images[0]?.[16 * 512 + 256 + 30]).toBe(0xff);
    const { bits } = await readSlot(odd, first, devices[0] as BlockDevice, slotNumber(0));
    expect(Array.from(bits.slice(29))).toEqual([0xff, 0x1f]);
  });

  it("has every bit when it calls itself stale", async () => {
    const content = { super: { ...freshBitmapSuper(array), state: BITMAP_STALE }, bits: someBits().fill(0) };
    await writeSlot(array, byNumber(devices), slotNumber(1), content);
    const { bits } = await onFirst(1);
    expect(bits).toEqual((await onFirst(0)).bits);
    expect(bits[0]).toBe(0xff);
  });

  it("is refused, with slot and field, when it does not fit the others", async () => {
    // Such a bitmap would take more pages, and lie elsewhere.
    const wrong = { ...freshBitmapSuper(array), syncSize: 2 ** 30 };
    await writeSlot(array, byNumber(devices), slotNumber(3), { super: wrong, bits: someBits() });
    await expect(onFirst(3)).rejects.toMatchObject({
      code: "E_SUPERBLOCK_BAD",
      message: expect.stringMatching(/slot 3.*sync_size/),
    });
  });

  it.each([
    ["another number of nodes", { nodes: 3 }, [0b1000_0001], [0, 7]],
    ["larger chunks", { chunkBytes: 8192 }, [0b1000_0001], [0, 1, 14, 15]],
    ["fewer sectors: what it does not cover is dirty", { syncSize: 2004 }, [0b1], [0, 250, 251, 252, 253, 254, 255]],
    ["more sectors: what is beyond the array is nobody's", { syncSize: 3000 }, [0b1], [0]],
  ] as const)("is understood in another form: %s", async (_, change, [bits], dirty) => {
    const form = { ...freshBitmapSuper(array), ...change };
    const content = someBits().fill(0);
    content[0] = bits;
    await writeSlot(array, byNumber(devices), slotNumber(2), { super: form, bits: content });
    const found = await onFirst(2);
    expect(found.super).toEqual(form);
    expect([...setBits(found.bits, array.bitmap.layout.chunks)]).toEqual(dirty);
    await clearSlot(array, byNumber(devices), slotNumber(2), found);
    expect((await onFirst(2)).super).toEqual(freshBitmapSuper(array));
  });

  it("tells whether the copies are equal, where the superblock cannot", async () => {
    const look = () => examine(devices[0] as BlockDevice);
    const bits = someBits().fill(0);
    expect(cleanlinessLine(await look())).toContain(`not clean, ${array.bitmap.layout.chunks} of`);
    await clearSlot(array, byNumber(devices), slotNumber(0), await onFirst(0));
    expect(await look()).toMatchObject({ clean: true, superblock: { resyncOffset: 0n } });
    bits[5] = 0x10;
    await writeSlot(array, byNumber(devices), slotNumber(3), { super: freshBitmapSuper(array), bits });
    expect(await look()).toMatchObject({ clean: false, bitmap: { unionDirty: 1 } });
  });

  it("may be unreadable: the superblock is shown all the same", async () => {
    images[0]?.fill(0, 16 * 512, 17 * 512);
    const seen = await examine(devices[0] as BlockDevice);
    expect(seen).toMatchObject({ clean: null, bitmap: null, bitmapError: { code: "E_SUPERBLOCK_BAD" } });
    expect(cleanlinessLine(seen)).toContain("bitmap field magic");
    expect(examineText(seen, () => 0).join("\n")).toContain("Internal Bitmap : 8 sectors");
  });
});

it("shows names from disk without letting them act on the terminal (F44)", async () => {
  put(superblockAt(2, 5, { setName: "a\u001b[2Jb\n" }));
  const lines = examineText(await examine(device), () => 0);
  expect(lines).toContain("           Name : a?[2Jb?");
});

it("refuses a bitmap that begins in the middle of a block of the device", async () => {
  const coarse = new MemoryDevice("/dev/coarse", bytes, 4096);
  put(superblockAt(2, 5, { featureMap: 0x101, bitmapOffset: 9 }));
  expect(await examine(coarse)).toMatchObject({
    bitmapError: { code: "E_SUPERBLOCK_BAD", message: expect.stringContaining("4096 bytes") },
  });
});
