import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { activateSpares, beginReplacement, failMember, memberRecovered } from "../../src/array/array-state.ts";
import { writeSlot } from "../../src/array/bitmap-store.ts";
import { type CreateRequest, createArray } from "../../src/array/create-array.ts";
import { examine } from "../../src/array/examine.ts";
import { examineBitmapText } from "../../src/array/examine-bitmap-text.ts";
import { examineText } from "../../src/array/examine-text.ts";
import type { MdArray } from "../../src/array/md-array.ts";
import { nextUpdate } from "../../src/array/superblock-of.ts";
import { writeSuperblocks } from "../../src/array/superblock-store.ts";
import { sector, slotNumber } from "../../src/base/units.ts";
import { bitBytes } from "../../src/bitmap/bitmap-layout.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { IN_SYNC, type Superblock } from "../../src/superblock/superblock.ts";
import { encodeSuperblock } from "../../src/superblock/superblock-codec.ts";
import { superblockSector } from "../../src/superblock/superblock-location.ts";
import { exampleSuperblock } from "../superblock/example.ts";
import { haveLoopDevices, withLoopDevice } from "../support/loop-device.ts";
import { byNumber, planFor } from "./example.ts";

const haveMdadm = spawnSync("mdadm", ["--version"]).status === 0;
const MIB = 2 ** 20;

let folder: string;
let open: BlockDevice[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mdctl-mdadm-"));
  open = [];
});
afterEach(async () => {
  await Promise.all(open.map((device) => device.close()));
  rmSync(folder, { recursive: true, force: true });
});

async function makeFiles(count: number, bytes: number): Promise<readonly BlockDevice[]> {
  for (let i = 0; i < count; i++) {
    const path = join(folder, `disk${i}`);
    writeFileSync(path, "");
    truncateSync(path, bytes);
    open.push(await openFileDevice(path, { readOnly: false }));
  }
  return open;
}

const mdadm = (...args: readonly string[]): string[] =>
  execFileSync("mdadm", args, { encoding: "utf8", env: { ...process.env, TZ: "UTC" } })
    .trimEnd()
    .split("\n");

async function create(
  count: number,
  bytes: number,
  change: Partial<CreateRequest> = {},
): Promise<{ array: MdArray; devices: readonly BlockDevice[] }> {
  const devices = await makeFiles(count, bytes);
  const array = planFor(devices, change);
  await createArray(array, byNumber(devices));
  return { array, devices };
}

async function ours(device: BlockDevice): Promise<readonly string[]> {
  return examineText(await examine(device), () => 0);
}

describe.skipIf(!haveMdadm)("the installed mdadm", () => {
  it("finds the members that we create correct, and says of them what we say", async () => {
    const { devices } = await create(3, 64 * MIB, { name: "any:t1", clusterName: "alpha" });
    for (const [number, device] of devices.entries()) {
      const seen = mdadm("--examine", device.path);
      expect(seen).toEqual(await ours(device));
      const text = seen.join("\n");
      expect(text).toMatch(/Checksum : [0-9a-f]+ - correct/);
      expect(text).toMatch(/Cluster Name : alpha/);
      expect(text).toContain(`Device Role : Active device ${number}`);
      expect(text).toContain("Array State : AAA ");
    }
  });

  it("follows a failure, a spare and a rebuild as we write them", async () => {
    const spare = { path: "spare", size: sector((64 * MIB) / 512), deviceUuid: new Uint8Array(16).fill(9) };
    const { devices } = await create(2, 64 * MIB);
    const more = await makeFiles(3, 64 * MIB);
    const array = planFor(devices.slice(0, 2), { spares: [spare] });
    await createArray(array, byNumber(more.slice(-3)));
    const all = byNumber(more.slice(-3));

    const update = async (next: MdArray): Promise<MdArray> => {
      const written = nextUpdate(next, { seconds: 1_700_000_100, microseconds: 0 });
      expect(await writeSuperblocks(written, all)).toEqual([]);
      return written;
    };
    const failed = await update(failMember(array, 1).array);
    const first = all.get(0);
    const third = all.get(2);
    if (first === undefined || third === undefined) throw new Error("no device");
    expect(mdadm("--examine", first.path).at(-1)).toContain("Array State : A. ");
    expect(mdadm("--examine", third.path).at(-2)).toContain("Device Role : spare");

    await update(activateSpares(failed).array);
    expect(mdadm("--examine", first.path).at(-1)).toContain("Array State : AA ");
    const rebuilding = mdadm("--examine", third.path);
    expect(rebuilding).toEqual(await ours(third));
    expect(rebuilding.join("\n")).toMatch(/Feature Map : 0x103.*Recovery Offset : 0 sectors.*Events : 3/s);
  });

  it("reads our superblocks while one member replaces another", async () => {
    const devices = await makeFiles(3, 64 * MIB);
    const spare = { path: "spare", size: sector((64 * MIB) / 512), deviceUuid: new Uint8Array(16).fill(9) };
    const array = planFor(devices.slice(0, 2), { spares: [spare] });
    await createArray(array, byNumber(devices));
    const filled = memberRecovered(beginReplacement(array, 1, 2).array, 2, sector(4096)).array;
    expect(
      await writeSuperblocks(nextUpdate(filled, { seconds: 1_700_000_600, microseconds: 0 }), byNumber(devices)),
    ).toEqual([]);
    for (const [i, device] of devices.entries()) {
      const text = mdadm("--examine", device.path);
      expect(text).toEqual(await ours(device));
      expect(text.at(-1)).toContain("Array State : AR ");
      expect(text.at(-2)).toContain(["Active device 0", "Active device 1", "Replacement device 1"][i] ?? "");
    }
  });

  it.skipIf(!haveLoopDevices())("finds every slot's bitmap where we put it, with the bits that we set", async () => {
    const { array, devices } = await create(2, 64 * MIB, { chunkBytes: 65_536, slots: 8 });
    const bits = new Uint8Array(bitBytes(array.bitmap.layout));
    bits[3] = 0b1010_0000;
    bits[bits.length - 1] = 0b1000_0000;
    const shape = (await examine(devices[0] as BlockDevice)).bitmap;
    if (shape === null) throw new Error("no bitmap");
    const used = { ...shape.super, events: 5, eventsCleared: 4 };
    await writeSlot(array, byNumber(devices), slotNumber(6), { super: used, bits });

    for (const device of devices) {
      const { bitmap } = await examine(device);
      if (bitmap === null) throw new Error("no bitmap");
      expect(bitmap.slots.map(({ dirty }) => dirty)).toEqual([1008, 0, 0, 0, 0, 0, 3, 0]);
      await withLoopDevice(device.path, (loop) => {
        expect(mdadm("--examine-bitmap", loop)).toEqual(examineBitmapText(loop, bitmap));
      });
    }
  });

  it.skipIf(!haveLoopDevices())("agrees on slots of several pages", async () => {
    const { devices } = await create(2, 9 * 1024 * MIB, { chunkBytes: 65_536 });
    const [device] = devices;
    if (device === undefined) throw new Error("no device");
    const { bitmap } = await examine(device);
    if (bitmap === null) throw new Error("no bitmap");
    expect(bitmap.layout.slotSectors).toBeGreaterThan(8);
    await withLoopDevice(device.path, (loop) => {
      expect(mdadm("--examine-bitmap", loop)).toEqual(examineBitmapText(loop, bitmap));
    });
  });

  it.each<[string, 0 | 1 | 2, Partial<Superblock>]>([
    ["1.0", 0, {}],
    ["1.1", 1, {}],
    ["1.2", 2, {}],
    ["flags", 2, { devFlags: 3 }],
    ["a bad-block log", 2, { bblogSize: 8, bblogOffset: 80 }],
    ["a bad-block log in use, before the superblock", 0, { featureMap: 8, bblogSize: 8, bblogOffset: -8 }],
    ["RAID10, far", 2, { level: 10, layout: 0x201, chunkSectors: 1024 }],
    ["RAID10, offset", 2, { level: 10, layout: 0x10201, chunkSectors: 2048 }],
    ["RAID0", 2, { level: 0, chunkSectors: 128, size: sector(0) }],
    ["a replacement", 2, { featureMap: 16, devRoles: [0, 1, 0, 0xfffe, ...new Array<number>(124).fill(0xffff)] }],
    ["a spare", 2, { devNumber: 3 }],
  ])("says of other superblocks what we say: %s", async (_, minor, change) => {
    const [device] = await makeFiles(1, 64 * MIB);
    if (device === undefined) throw new Error("no device");
    const size = sector(100_000);
    const at = superblockSector(minor, device.size);
    const superblock: Superblock = {
      ...exampleSuperblock,
      minor,
      featureMap: 0,
      bitmapOffset: 0,
      superOffset: at,
      size,
      dataSize: size,
      dataOffset: sector(minor === 0 ? 0 : 2048),
      resyncOffset: IN_SYNC,
      ...change,
    };
    await device.write(at, encodeSuperblock(superblock));
    expect(await ours(device)).toEqual(mdadm("--examine", device.path));
  });
});
