import { describe, expect, it } from "vitest";
import { planMember, prepareMember } from "../../src/array/add-member.ts";
import { shapeOf, withShape } from "../../src/array/array-shape.ts";
import {
  activateSpares,
  addSpare,
  beginReplacement,
  failMember,
  memberRebuilt,
  memberRecovered,
  removeMember,
  type Transition,
} from "../../src/array/array-state.ts";
import { assembleArray } from "../../src/array/assemble-array.ts";
import { bitmapFor } from "../../src/array/bitmap-kind.ts";
import { readSlot, writeSlot } from "../../src/array/bitmap-store.ts";
import { createArray } from "../../src/array/create-array.ts";
import type { MdArray } from "../../src/array/md-array.ts";
import { nextUpdate } from "../../src/array/superblock-of.ts";
import { readSuperblock, writeSuperblocks } from "../../src/array/superblock-store.ts";
import { MdError } from "../../src/base/md-error.ts";
import { sector, slotNumber } from "../../src/base/units.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import { DiskLog } from "../support/disk-log.ts";
import { byNumber, DISK_SECTORS, deviceUuid, planFor, rolesOf } from "./example.ts";

const blank = (): Uint8Array => new Uint8Array(DISK_SECTORS * 512);
const later = { seconds: 1_700_000_900, microseconds: 0 };

/** Three disks with a mirror on the first two and a spare on the third; then these updates. */
async function prepared(...steps: readonly ((array: MdArray) => Transition)[]) {
  const { devices } = new DiskLog([blank(), blank(), blank()]);
  const spare = { path: "/dev/disk2", size: sector(DISK_SECTORS), deviceUuid: deviceUuid(2) };
  let array = planFor(devices.slice(0, 2), { spares: [spare] });
  await createArray(array, byNumber(devices));
  for (const step of steps) array = await update(array, step, devices);
  return { array, images: await Promise.all(devices.map(imageOf)) };
}

async function imageOf(device: BlockDevice): Promise<Uint8Array> {
  const image = blank();
  await device.read(sector(0), image);
  return image;
}

async function update(
  array: MdArray,
  step: (array: MdArray) => Transition,
  devices: readonly BlockDevice[],
): Promise<MdArray> {
  const next = nextUpdate(step(array).array, later);
  expect(await writeSuperblocks(next, byNumber(devices))).toEqual([]);
  return next;
}

/** The roles that a host finds, of members whose superblock can be read. Faulty ones are not bound after a start. */
async function found(images: readonly Uint8Array[]): Promise<Record<number, string>> {
  const devices: BlockDevice[] = [];
  for (const [i, image] of images.entries()) {
    const device = new MemoryDevice(`/dev/disk${i}`, image);
    try {
      await readSuperblock(device);
      devices.push(device);
    } catch (error) {
      if (!(error instanceof MdError) || error.code !== "E_NO_SUPERBLOCK") throw error;
    }
  }
  return rolesOf((await assembleArray(devices)).array);
}

const withoutFaulty = (roles: Record<number, string>): Record<number, string> =>
  Object.fromEntries(Object.entries(roles).filter(([, role]) => role !== "faulty"));

const failed = (array: MdArray) => failMember(array, 1);
const replacing = (array: MdArray) => beginReplacement(array, 1, 2);
const rebuilt = (array: MdArray) => memberRebuilt(array, 2);

describe("a power cut at any moment of an update (F22) leaves the state before it or after it", () => {
  it.each<[string, readonly ((array: MdArray) => Transition)[], (array: MdArray) => Transition]>([
    ["nothing but the event count", [], (array) => ({ array, changes: [] })],
    ["a failure", [], failed],
    ["a failed spare", [], (array) => failMember(array, 2)],
    ["a removed spare", [], (array) => removeMember(array, 2)],
    ["a removal", [failed], (array) => removeMember(array, 1)],
    ["a spare that takes a place", [failed], activateSpares],
    ["progress of a rebuild", [failed, activateSpares], (array) => memberRecovered(array, 2, sector(256))],
    ["a finished rebuild", [failed, activateSpares], rebuilt],
    ["a replacement that begins", [], replacing],
    ["progress of a replacement", [replacing], (array) => memberRecovered(array, 2, sector(256))],
    ["a failure of who is replaced", [replacing], failed],
    ["a failure of who replaces", [replacing], (array) => failMember(array, 2)],
    ["a failure of what was rebuilt", [failed, activateSpares, rebuilt], (array) => failMember(array, 2)],
  ])("%s", async (_, history, step) => {
    const { array, images } = await prepared(...history);
    const log = new DiskLog(images);
    const before = withoutFaulty(rolesOf(array));
    const after = withoutFaulty(rolesOf(await update(array, step, log.devices)));

    expect(await found(images)).toEqual(before);
    for (let steps = 0; steps <= log.length; steps++) {
      for (const state of log.crashStates(steps)) expect([before, after]).toContainEqual(await found(state));
    }
    const [end] = log.crashStates(log.length);
    // A spare that was dropped still calls itself one, and is only one event behind: Linux md takes it for one, too.
    if (step(array).changes[0]?.type !== "removed") expect(await found(end ?? [])).toEqual(after);
  });
});

describe("a power cut at any moment of a change of shape (F22) leaves the shape before it or after it, and all members", () => {
  const shape = (array: MdArray, change: Partial<MdArray>): Transition => ({
    array: withShape(array, { ...shapeOf(array), ...change }),
    changes: [],
  });
  const kinds = { slots: 4, clusterName: "alpha" } as const;
  const rows: readonly (readonly [string, (array: MdArray) => MdArray])[] = [
    ["a smaller size", (array) => shape(array, { memberSize: sector(array.memberSize - 128) }).array],
    ["one more raid device, taken by the spare", (array) => activateSpares(shape(array, { raidDisks: 3 }).array).array],
    ["one raid device less", (array) => shape(failMember(array, 1).array, { raidDisks: 1 }).array],
    ["no bitmap", (array) => ({ ...array, bitmap: bitmapFor(array, { ...kinds, kind: "none" }) })],
  ];

  it.each(rows)("%s", async (_, change) => {
    const { array, images } = await prepared();
    const log = new DiskLog(images);
    const next = nextUpdate(change(array), later);
    expect(await writeSuperblocks(next, byNumber(log.devices))).toEqual([]);
    const look = async (state: readonly Uint8Array[]) => {
      const { array: seen } = await assembleArray(state.map((image, i) => new MemoryDevice(`/dev/disk${i}`, image)));
      const { memberSize, raidDisks, bitmap } = seen;
      return { memberSize, raidDisks, kind: bitmap.kind, roles: withoutFaulty(rolesOf(seen)) };
    };
    const before = await look(images);
    for (let steps = 0; steps <= log.length; steps++) {
      for (const state of log.crashStates(steps)) {
        const seen = await look(state);
        if (JSON.stringify(seen) !== JSON.stringify(before)) {
          expect(seen).toEqual({
            memberSize: next.memberSize,
            raidDisks: next.raidDisks,
            kind: next.bitmap.kind,
            roles: withoutFaulty(rolesOf(next)),
          });
        }
      }
    }
    const [end] = log.crashStates(log.length);
    expect(await look(end ?? [])).not.toEqual(before);
  });
});

describe("adding a device", () => {
  async function mirrorAndBlank() {
    const log = new DiskLog([blank(), blank(), blank()]);
    const plan = planFor(log.devices.slice(0, 2));
    await createArray(plan, byNumber(log.devices));
    return { array: plan, images: await Promise.all(log.devices.map(imageOf)) };
  }

  it("27.17: gives it every slot's bitmap and a superblock that calls it a spare", async () => {
    const { array, images } = await mirrorAndBlank();
    const { devices } = new DiskLog(images);
    const [first, , added] = devices;
    if (first === undefined || added === undefined) throw new Error("no device");
    const slot = await readSlot(array, array.members[0] as never, first, slotNumber(3));
    const bits = slot.bits.slice().fill(1);
    await writeSlot(array, byNumber(devices), slotNumber(3), { super: { ...slot.super, events: 9 }, bits });

    const member = planMember(array, added, deviceUuid(8));
    expect(member).toMatchObject({ number: 2, raidDisk: null, dataOffset: 2048 });
    await prepareMember(array, byNumber(devices), member, added);
    const assembly = await assembleArray(devices);
    expect(rolesOf(assembly.array)).toEqual({ 0: "in_sync 0", 1: "in_sync 1", 2: "spare" });
    for (let k = 0; k < array.bitmap.slots; k++) {
      const theirs = await readSlot(array, array.members[0] as never, first, slotNumber(k));
      expect(await readSlot(array, member, added, slotNumber(k))).toEqual(theirs);
    }
    expect((await readSlot(array, member, added, slotNumber(3))).super.events).toBe(9);
  });

  it("is all or nothing at any power cut (F22)", async () => {
    const { array, images } = await mirrorAndBlank();
    const log = new DiskLog(images);
    const [, , added] = log.devices;
    if (added === undefined) throw new Error("no device");
    const member = planMember(array, added, deviceUuid(8));
    await prepareMember(array, byNumber(log.devices), member, added);
    for (const state of log.crashStates(log.length)) expect((await found(state))[2]).toBe("spare");
    await update(array, (before) => addSpare(before, member), log.devices);
    const without = { 0: "in_sync 0", 1: "in_sync 1" };
    for (let steps = 0; steps <= log.length; steps++) {
      for (const state of log.crashStates(steps)) {
        expect([without, { ...without, 2: "spare" }]).toContainEqual(await found(state));
      }
    }
  });

  it("wipes it again when it fails on the way", async () => {
    const { array, images } = await mirrorAndBlank();
    const log = new DiskLog(images);
    const [, , added] = log.devices;
    if (added === undefined) throw new Error("no device");
    log.failing.add(2);
    const member = planMember(array, added, deviceUuid(8));
    await expect(prepareMember(array, byNumber(log.devices), member, added)).rejects.toMatchObject({ code: "E_IO" });
    await expect(readSuperblock(added)).rejects.toMatchObject({ code: "E_NO_SUPERBLOCK" });
  });

  it("refuses a device that is too small, with both sizes", async () => {
    const { array } = await mirrorAndBlank();
    const small = new MemoryDevice("/dev/small", new Uint8Array(4000 * 512));
    expect(() => planMember(array, small, deviceUuid(8))).toThrowError(
      expect.objectContaining({ code: "E_DEVICE_SMALL", why: "it has 4000 sectors, 4096 are needed" }),
    );
  });

  it("takes the lowest number that no bound device has", async () => {
    const { array } = await mirrorAndBlank();
    const device = new MemoryDevice("/dev/new", blank());
    const one = addSpare(array, planMember(array, device, deviceUuid(8))).array;
    expect(planMember(one, device, deviceUuid(9)).number).toBe(3);
    expect(planMember(removeMember(one, 2).array, device, deviceUuid(9)).number).toBe(2);
  });
});

describe("what superblocks say of data", () => {
  it("is durable before any of them is: it has been written, but perhaps not flushed", async () => {
    const { array, images } = await prepared();
    const log = new DiskLog(images);
    const data = new Uint8Array(512).fill(77);
    const last = log.devices[2] as BlockDevice;
    await last.write(sector(DISK_SECTORS - 8), data);
    expect(await writeSuperblocks(nextUpdate(array, later), byNumber(log.devices))).toEqual([]);
    for (let steps = 1; steps <= log.length; steps++) {
      for (const states of log.crashStates(steps)) {
        const events = await Promise.all(
          states.map(async (image, i) => (await readSuperblock(new MemoryDevice(`/dev/disk${i}`, image))).events),
        );
        if (events.every((count) => count === array.events)) continue;
        expect(states[2]?.subarray((DISK_SECTORS - 8) * 512, (DISK_SECTORS - 7) * 512)).toEqual(data);
      }
    }
  });

  it("is not told when a member cannot make it durable", async () => {
    const { array, images } = await prepared();
    const log = new DiskLog(images);
    log.failingFlush.add(2);
    const failures = await writeSuperblocks(nextUpdate(array, later), byNumber(log.devices));
    expect(failures.map(({ number, error }) => [number, error.code])).toEqual([[2, "E_IO"]]);
    expect((await readSuperblock(log.devices[0] as BlockDevice)).events).toBe(array.events);
  });
});

describe("a member that cannot be written", () => {
  it("is told, and the others are written", async () => {
    const { array, images } = await prepared();
    const log = new DiskLog(images);
    log.failing.add(1);
    const next = nextUpdate(array, later);
    const failures = await writeSuperblocks(next, byNumber(log.devices));
    expect(failures.map(({ number, error }) => [number, error.code])).toEqual([[1, "E_IO"]]);
    expect((await readSuperblock(log.devices[0] as BlockDevice)).events).toBe(2);
    const absent = await writeSuperblocks(next, new Map([[0, log.devices[0] as BlockDevice]]));
    expect(absent.map(({ number, error }) => [number, error.code])).toEqual([
      [1, "E_NO_DEVICE"],
      [2, "E_NO_DEVICE"],
    ]);
  });
});
