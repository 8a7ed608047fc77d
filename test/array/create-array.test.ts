import { describe, expect, it } from "vitest";
import { assembleArray } from "../../src/array/assemble-array.ts";
import { readSlot } from "../../src/array/bitmap-store.ts";
import { chooseDataOffset, createArray, planCreate } from "../../src/array/create-array.ts";
import { inSyncMembers, type MdArray } from "../../src/array/md-array.ts";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import { MdError } from "../../src/base/md-error.ts";
import { sector, slotNumber } from "../../src/base/units.ts";
import { countBits } from "../../src/bitmap/bitmap-merge.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import { encodeSuperblock } from "../../src/superblock/superblock-codec.ts";
import { superblockSector } from "../../src/superblock/superblock-location.ts";
import { examplePlace, exampleSuperblock } from "../superblock/example.ts";
import { DiskLog } from "../support/disk-log.ts";
import { byNumber, createRequest, DISK_SECTORS, deviceUuid, planFor } from "./example.ts";

const MIB = 2048;
const GIB = 1024 * MIB;
const TIB = 1024 * GIB;

describe("what mdadm would choose", () => {
  it.each([
    [100 * MIB, 2048],
    [512 * MIB, 2048],
    [GIB, 4096],
    [8 * GIB, 18_432],
    [16 * GIB, 34_816],
    [128 * GIB, 264_192],
    [256 * GIB, 264_192],
    [TIB, 264_192],
  ])("data offset on %i sectors: %i (6.1)", (size, offset) => {
    expect(chooseDataOffset(sector(size))).toBe(offset);
  });

  it.each([
    [512 * MIB, 1_046_528],
    [GIB, 2_093_056],
    [128 * GIB, 268_171_264],
    [2 * TIB, 4_294_703_104],
    [16 * TIB, 34_359_474_176],
  ])("size on %i sectors: %i (8)", (size, memberSize) => {
    const array = planCreate(createRequest([size, size + 4096]));
    expect(array.memberSize).toBe(memberSize);
    expect(array.members.map(({ dataSize }) => dataSize)).toEqual([memberSize, memberSize + 4096]);
  });

  it("is rounded down to 64 KiB, and not when a size is given", () => {
    expect(planCreate(createRequest([100_001, 100_127])).memberSize).toBe(97_920);
    expect(planCreate(createRequest([100_001], { memberSize: sector(50_001) })).memberSize).toBe(50_001);
  });

  it("numbers members by raid disk, then spares, and leaves out what is missing", () => {
    const spare = { path: "/dev/s", size: sector(DISK_SECTORS), deviceUuid: deviceUuid(9) };
    const [first = null] = createRequest([DISK_SECTORS]).members;
    const array = planCreate(createRequest([], { members: [first, null], spares: [spare] }));
    expect(array.members.map(({ number, raidDisk, state }) => [number, raidDisk, state])).toEqual([
      [0, 0, "in_sync"],
      [2, null, "spare"],
    ]);
    expect(array).toMatchObject({ raidDisks: 2, events: 1, maxDev: 128 });
  });

  it.each([
    ["E_LEVEL_UNSUPPORTED", "level 5", { level: 5 }],
    ["E_VALUE", "at least 2 nodes", { slots: 1 }],
    ["E_VALUE", "maximum number of nodes", { slots: 255 }],
    ["E_VALUE", "power of two", { chunkBytes: 100_000 }],
    ["E_VALUE", "too small", { chunkBytes: 2048 }],
    ["E_VALUE", "flush period", { daemonSleep: 0 }],
    ["E_VALUE", "at most 63", { clusterName: "x".repeat(64) }],
    ["E_VALUE", "at most 32", { name: "ü".repeat(17) }],
    ["E_VALUE", "control character", { name: "any:\u001b[2J" }],
    ["E_VALUE", "control character", { clusterName: "../etc" }],
    ["E_USAGE", "at least one member", { members: [] }],
    ["E_USAGE", "must be real", { members: [null, null] }],
    ["E_DEVICE_SMALL", "/dev/disk0", { memberSize: sector(DISK_SECTORS) }],
    ["E_VALUE", "size", { memberSize: sector(0) }],
  ] as const)("is refused with %s: %s (27.19)", (code, text, change) => {
    expect(() => planCreate(createRequest([DISK_SECTORS, DISK_SECTORS], change))).toThrowError(
      expect.objectContaining({ code, message: expect.stringContaining(text) }),
    );
  });

  it.each([0, 1, 127, 2047, 2048, 2100])("is refused on a device of %i sectors, by name", (size) => {
    expect(() => planCreate(createRequest([DISK_SECTORS, size]))).toThrowError(
      expect.objectContaining({ code: "E_DEVICE_SMALL", message: expect.stringContaining("/dev/disk1") }),
    );
  });
});

const blank = (): Uint8Array => new Uint8Array(DISK_SECTORS * 512);

/** A disk full of something, with another array's superblock on it. */
function used(): Uint8Array {
  const image = Uint8Array.from({ length: DISK_SECTORS * 512 }, (_, i) => (i * 7) & 0xff);
  const dataSize = sector(DISK_SECTORS - 2048);
  const old = { ...exampleSuperblock, size: dataSize, dataSize, setName: "any:old", events: 900 };
  image.set(encodeSuperblock(old), examplePlace.at * 512);
  return image;
}

async function readSlots(array: MdArray, device: BlockDevice | undefined): Promise<number[]> {
  const [member] = inSyncMembers(array);
  if (member === undefined || device === undefined) throw new Error("no member to read from");
  const dirty: number[] = [];
  for (let slot = 0; slot < array.bitmap.slots; slot++) {
    const { bits } = await readSlot(array, member, device, slotNumber(slot));
    dirty.push(countBits(bits, array.bitmap.layout.chunks));
  }
  return dirty;
}

describe("creating", () => {
  it.each([512, 4096])("gives what assembling finds (blocks of %i)", async (blockSize) => {
    const { devices } = new DiskLog([blank(), used(), blank()], blockSize);
    const plan = planFor(devices, { chunkBytes: 4096 });
    await createArray(plan, byNumber(devices));
    const { array, refused, missing } = await assembleArray([...devices].reverse());
    expect({ array, refused, missing }).toEqual({ array: plan, refused: [], missing: [] });
    expect(await readSlots(array, devices[0])).toEqual([array.bitmap.layout.chunks, 0, 0, 0]);
  });

  it("leaves nothing of arrays that were there before, however young they say they are", async () => {
    const { devices } = new DiskLog([blank(), blank()]);
    for (const device of devices) {
      const superOffset = superblockSector(0, device.size);
      const size = sector(1000);
      const young = { seconds: 1_900_000_000, microseconds: 0 };
      const old = { ...exampleSuperblock, featureMap: 0, minor: 0, dataOffset: sector(0), superOffset, ctime: young };
      await device.write(superOffset, encodeSuperblock({ ...old, minor: 0, size, dataSize: size }));
    }
    const plan = planFor(devices);
    await createArray(plan, byNumber(devices));
    expect((await assembleArray(devices)).array).toEqual(plan);
  });

  it("keeps assume-clean apart from a creation that needs a resync", async () => {
    const { devices } = new DiskLog([blank(), blank()]);
    await createArray(planFor(devices, { assumeClean: true }), byNumber(devices));
    expect((await assembleArray(devices)).array.resyncOffset).toBe(2n ** 64n - 1n);
    await createArray(planFor(devices), byNumber(devices));
    expect((await assembleArray(devices)).array.resyncOffset).toBe(0n);
  });

  it("leaves no member behind when a device fails on the way", async () => {
    const log = new DiskLog([blank(), blank()]);
    log.failing.add(1);
    await expect(createArray(planFor(log.devices), byNumber(log.devices))).rejects.toMatchObject({ code: "E_IO" });
    for (const device of log.devices) {
      await expect(readSuperblock(device)).rejects.toMatchObject({ code: "E_NO_SUPERBLOCK" });
    }
  });
});

/** What a host finds after a crash: nothing of the new array, or all of it. Anything else fails the test. */
async function outcome(images: readonly Uint8Array[], plan: MdArray): Promise<"none" | "full"> {
  const devices = images.map((image, i) => new MemoryDevice(`/dev/disk${i}`, image));
  const found: BlockDevice[] = [];
  for (const device of devices) {
    try {
      const { setUuid } = await readSuperblock(device);
      if (setUuid.every((byte, i) => byte === plan.uuid[i])) found.push(device);
    } catch (error) {
      if (!(error instanceof MdError) || !["E_NO_SUPERBLOCK", "E_CHECKSUM"].includes(error.code)) throw error;
    }
  }
  if (found.length === 0) return "none";
  try {
    const { array, missing, refused } = await assembleArray(found);
    expect({ array, missing, refused }).toEqual({ array: plan, missing: [], refused: [] });
    for (const device of devices) {
      expect(await readSlots({ ...array, members: array.members.slice(0, 1) }, device)).toEqual([1, 0, 0, 0]);
    }
    return "full";
  } catch (error) {
    if (error instanceof MdError && error.code === "E_NO_ARRAY") return "none";
    throw error;
  }
}

describe("a power cut at any moment of a creation (F22)", () => {
  it.each([
    ["blank disks", [blank(), blank()]],
    ["disks with an old array and old data", [used(), used()]],
    ["three disks, one of them used", [blank(), used(), blank()]],
  ])("leaves no array or the whole one: %s", async (_, images) => {
    const log = new DiskLog(images);
    const plan = planFor(log.devices);
    await createArray(plan, byNumber(log.devices));

    const seen: string[] = [];
    for (let steps = 0; steps <= log.length; steps++) {
      for (const state of log.crashStates(steps)) seen.push(await outcome(state, plan));
    }
    expect(seen[0]).toBe("none");
    expect(seen.at(-1)).toBe("full");
  });
});
