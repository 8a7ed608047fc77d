import { describe, expect, it } from "vitest";
import { activateSpares, failMember, memberRebuilt } from "../../src/array/array-state.ts";
import { type AssembleOptions, assembleArray } from "../../src/array/assemble-array.ts";
import { createArray } from "../../src/array/create-array.ts";
import { type MdArray, memberByNumber } from "../../src/array/md-array.ts";
import { nextUpdate, superblockOf } from "../../src/array/superblock-of.ts";
import { writeSuperblocks } from "../../src/array/superblock-store.ts";
import { sector } from "../../src/base/units.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import { Feature, type Superblock } from "../../src/superblock/superblock.ts";
import { encodeSuperblock } from "../../src/superblock/superblock-codec.ts";
import { byNumber, type createRequest, DISK_SECTORS, deviceUuid, planFor, rolesOf } from "./example.ts";

const disk = (name: string, sectors = DISK_SECTORS): BlockDevice =>
  new MemoryDevice(name, new Uint8Array(sectors * 512));

async function created(count = 2, change: Parameters<typeof createRequest>[1] = {}) {
  const devices = Array.from({ length: count }, (_, i) => disk(`/dev/disk${i}`));
  const array = planFor(devices.slice(0, count - (change.spares?.length ?? 0)), change);
  await createArray(array, byNumber(devices));
  return { devices, array };
}

/** One superblock update that reaches only these members. */
async function update(array: MdArray, devices: readonly BlockDevice[], reached: readonly number[]): Promise<MdArray> {
  const next = nextUpdate(array, { seconds: 1_700_000_900, microseconds: 0 });
  const failures = await writeSuperblocks(
    next,
    new Map(reached.flatMap((i) => only(devices, i).map((one) => [i, one]))),
  );
  expect(failures.every(({ error }) => error.code === "E_NO_DEVICE")).toBe(true);
  return next;
}

const refuses = (devices: readonly BlockDevice[], code: string, text: string, options: AssembleOptions = {}) =>
  expect(assembleArray(devices, options)).rejects.toMatchObject({ code, message: expect.stringContaining(text) });

const only = (devices: readonly BlockDevice[], ...indexes: number[]): BlockDevice[] =>
  indexes.flatMap((i) => devices[i] ?? []);

describe("legs that were left behind", () => {
  it("are never sources: a dead leg that comes back with old data (F13)", async () => {
    const { devices, array } = await created();
    const failed = await update(failMember(array, 1).array, devices, [0]);
    const { array: found, refused, devices: used } = await assembleArray(devices);
    expect(rolesOf(found)).toEqual({ 0: "in_sync 0" });
    expect(found.events).toBe(failed.events);
    expect([...used.keys()]).toEqual([0]);
    expect(refused).toEqual([{ path: "/dev/disk1", number: 1, reason: "it has failed" }]);
  });

  it("do not start alone, unless told to (F14)", async () => {
    const { devices, array } = await created();
    await update(failMember(array, 1).array, devices, [0]);
    await refuses(only(devices, 1), "E_NO_DEVICE", "no current member for raid disk 0");
    const forced = await assembleArray(only(devices, 1), { run: true });
    expect(rolesOf(forced.array)).toEqual({ 1: "in_sync 1" });
    expect(forced.missing).toEqual([{ number: 0, raidDisk: 0 }]);

    // Written alone, it is one of two histories. Nobody may choose silently, whichever is the longer one.
    let alone = await update(forced.array, devices, [1]);
    await refuses(devices, "E_CLUSTER_CONFLICT", "written alone");
    alone = await update(alone, devices, [1]);
    await refuses(devices, "E_CLUSTER_CONFLICT", "written alone");
    const chosen = await assembleArray(devices, { force: true });
    expect(rolesOf(chosen.array)).toEqual({ 1: "in_sync 1" });
    expect(chosen.array.events).toBe(alone.events);
  });

  it("start alone where it is on record that the others failed", async () => {
    const { devices, array } = await created();
    await update(failMember(array, 1).array, devices, [0]);
    expect(rolesOf((await assembleArray(only(devices, 0))).array)).toEqual({ 0: "in_sync 0" });
  });

  it("are missed while their place is not taken, and not afterwards", async () => {
    const spare = { path: "/dev/disk2", size: sector(DISK_SECTORS), deviceUuid: deviceUuid(2) };
    const { devices, array } = await created(3, { spares: [spare] });
    let next = await update(failMember(array, 1).array, devices, [0, 2]);
    next = await update(activateSpares(next).array, devices, [0, 2]);
    await refuses(only(devices, 0, 1), "E_NO_DEVICE", "raid disk 1");
    await refuses(only(devices, 2), "E_NO_DEVICE", "full copy");
    await update(memberRebuilt(next, 2).array, devices, [0, 2]);
    expect(rolesOf((await assembleArray(devices)).array)).toEqual({ 0: "in_sync 0", 2: "in_sync 1" });
  });
});

describe("devices that cannot be used", () => {
  it("are refused: no superblock, and a flipped bit with both checksums named", async () => {
    const { devices } = await created();
    await refuses([...devices, disk("/dev/blank")], "E_NO_SUPERBLOCK", "/dev/blank");
    const found = new Uint8Array(512);
    await devices[1]?.read(sector(8), found);
    found[200] = (found[200] ?? 0) ^ 4;
    await devices[1]?.write(sector(8), found);
    await refuses(devices, "E_CHECKSUM", "sb_csum is 0x");
  });

  it("are refused: another array's member, unless asked for one array", async () => {
    const { devices, array } = await created();
    const foreign = [disk("/dev/foreign")];
    const uuid = new Uint8Array(16).fill(7);
    await createArray(planFor(foreign, { uuid, name: "any:other" }), byNumber(foreign));
    await refuses([...devices, ...foreign], "E_DEVICE_IN_ARRAY", "any:other");
    const { array: found } = await assembleArray([...devices, ...foreign], { uuid: array.uuid });
    expect(found).toEqual(array);
  });

  it("may differ in size and come in any order (F21)", async () => {
    const devices = [disk("/dev/disk0"), disk("/dev/disk1", DISK_SECTORS + 4096)];
    const array = planFor(devices);
    await createArray(array, byNumber(devices));
    expect((await assembleArray([...devices].reverse())).array).toEqual(array);
  });

  it("are refused: a device that has been cut short", async () => {
    const { devices } = await created(2);
    const whole = new Uint8Array(DISK_SECTORS * 512);
    await devices[1]?.read(sector(0), whole);
    const cut = new MemoryDevice("/dev/cut", whole.slice(0, (DISK_SECTORS - 128) * 512));
    await refuses([...only(devices, 0), cut], "E_SUPERBLOCK_BAD", "data_size");
  });

  async function withSuperblock(change: Partial<Superblock>): Promise<readonly BlockDevice[]> {
    const { devices, array } = await created();
    for (const [i, device] of devices.entries()) {
      const member = memberByNumber(array, i);
      if (member === null) throw new Error("no member");
      const superblock = { ...superblockOf(array, member), ...change };
      await device.write(sector(8), encodeSuperblock(superblock));
    }
    return devices;
  }
  const clustered = Feature.bitmapOffset | Feature.clustered;

  it.each<[string, string, Partial<Superblock>]>([
    ["E_METADATA_UNSUPPORTED", "bitmap version 5 is not possible", { featureMap: Feature.bitmapOffset }],
    ["E_LEVEL_UNSUPPORTED", "level 0", { level: 0 }],
    ["E_LAYOUT_UNSUPPORTED", "layout f2", { level: 10, layout: 0x201, chunkSectors: 8 }],
    ["E_LAYOUT_UNSUPPORTED", "layout o2", { level: 10, layout: 0x10201, chunkSectors: 8 }],
    ["E_METADATA_UNSUPPORTED", "reshaped", { featureMap: clustered | Feature.reshapeActive }],
    [
      "E_METADATA_UNSUPPORTED",
      "bad blocks",
      { featureMap: clustered | Feature.badBlocks, bblogSize: 8, bblogOffset: 900 },
    ],
  ])("are refused before anything is joined, with %s: %s (26.25, 27.10)", async (code, text, change) => {
    await refuses(await withSuperblock(change), code, text);
  });

  it("are an array that one node uses alone where the superblocks know of no bitmap", async () => {
    const devices = await withSuperblock({ featureMap: 0, bitmapOffset: 0 });
    const { array } = await assembleArray(devices);
    expect(array.bitmap).toMatchObject({ kind: "none", slots: 0, clusterName: "", offset: 8 });
  });

  it("are refused: a bitmap that is none, by the field's name", async () => {
    const { devices } = await created();
    for (const device of devices) await device.write(sector(16), new Uint8Array(512));
    await refuses(devices, "E_SUPERBLOCK_BAD", "bitmap field magic");
  });
});
