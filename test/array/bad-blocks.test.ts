import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { assembleArray } from "../../src/array/assemble-array.ts";
import { createArray } from "../../src/array/create-array.ts";
import { badBlocksText, examineBadBlocks } from "../../src/array/examine-bad-blocks.ts";
import { nextUpdate, superblockOf } from "../../src/array/superblock-of.ts";
import { readSuperblock, writeSuperblocks } from "../../src/array/superblock-store.ts";
import { sector } from "../../src/base/units.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import { decodeBadBlocks } from "../../src/superblock/bad-block-log.ts";
import { Feature, type Superblock } from "../../src/superblock/superblock.ts";
import { encodeSuperblock } from "../../src/superblock/superblock-codec.ts";
import { exampleSuperblock } from "../superblock/example.ts";
import { tempDir } from "../support/temp-dir.ts";
import { byNumber, DISK_SECTORS, planFor } from "./example.ts";

const haveMdadm = spawnSync("mdadm", ["--version"]).status === 0;

/** As md writes it: 8 sectors, ones behind the entries. */
function logOf(...entries: readonly (readonly [at: number, length: number])[]): Uint8Array {
  const log = new Uint8Array(4096).fill(0xff);
  const view = new DataView(log.buffer);
  for (const [i, [at, length]] of entries.entries())
    view.setBigUint64(8 * i, (BigInt(at) << 10n) | BigInt(length), true);
  return log;
}

describe("a list of bad blocks", () => {
  it("is read up to its end, in the units that the superblock says", () => {
    expect(decodeBadBlocks(logOf([2048, 8], [2 ** 40, 512]), 0)).toEqual([
      { at: 2048, sectors: 8 },
      { at: 2 ** 40, sectors: 512 },
    ]);
    expect(decodeBadBlocks(logOf([256, 1]), 3)).toEqual([{ at: 2048, sectors: 8 }]);
    expect(decodeBadBlocks(logOf(), 0)).toEqual([]);
    expect(decodeBadBlocks(new Uint8Array(logOf(...new Array<[number, number]>(512).fill([1, 1]))), 0)).toHaveLength(
      512,
    );
  });

  describe.runIf(haveMdadm)("is told in mdadm's words", () => {
    let folder: ReturnType<typeof tempDir>;
    beforeEach(() => {
      folder = tempDir("badblocks");
    });
    afterEach(() => folder.remove());

    const small = {
      featureMap: 0,
      bitmapOffset: 0,
      dataOffset: sector(2048),
      dataSize: sector(4096),
      size: sector(4096),
    };
    const inUse = { featureMap: Feature.badBlocks, bblogSize: 8, bblogOffset: 80 };
    it.each<[string, Partial<Superblock>, Uint8Array]>([
      ["none", {}, logOf()],
      ["an empty one", { ...inUse, featureMap: 0 }, logOf([4096, 8])],
      ["one with blocks", inUse, logOf([4096, 8], [123_456_789_012, 511])],
      ["one in larger units", { ...inUse, bblogShift: 3 }, logOf([512, 1], [1024, 64])],
      ["one that says it has something, and has not", inUse, logOf()],
    ])("%s", async (_, change, log) => {
      const path = join(folder.path, "disk");
      writeFileSync(path, Buffer.alloc(4 << 20));
      const device = await openFileDevice(path, { readOnly: false });
      const at = sector(8);
      await device.write(at, encodeSuperblock({ ...exampleSuperblock, ...small, superOffset: at, ...change }));
      await device.write(sector(88), log);
      const ours = badBlocksText(await examineBadBlocks(device));
      await device.close();
      const theirs = execFileSync("mdadm", ["--examine-badblocks", path], { encoding: "utf8" });
      expect(`${ours.join("\n")}\n`).toBe(theirs);
    });
  });
});

describe("an array whose members have a place for one", () => {
  const log = { bblogSize: 8, bblogOffset: 80, bblogShift: 0 };

  async function made(bitmap: "internal" | "clustered", change: Partial<Superblock>) {
    const devices = ["a", "b"].map((name) => new MemoryDevice(name, new Uint8Array(DISK_SECTORS * 512)));
    const plan = planFor(devices, { bitmap });
    await createArray(plan, byNumber(devices));
    for (const [i, member] of plan.members.entries()) {
      await devices[i]?.write(member.superOffset, encodeSuperblock({ ...superblockOf(plan, member), ...change }));
    }
    return devices;
  }

  it.each([
    ["keeps it, where one node uses the array", "internal", log],
    ["has none in a cluster", "clustered", { bblogSize: 0, bblogOffset: 0, bblogShift: 0 }],
  ] as const)("%s", async (_, bitmap, kept) => {
    const devices = await made(bitmap, log);
    const { array } = await assembleArray(devices);
    await writeSuperblocks(nextUpdate(array, { seconds: 1_700_000_900, microseconds: 0 }), byNumber(devices));
    for (const device of devices) expect(await readSuperblock(device)).toMatchObject(kept);
  });

  it("is refused if there is something in it, and says how to look", async () => {
    const devices = await made("internal", { ...log, featureMap: Feature.bitmapOffset | Feature.badBlocks });
    await expect(assembleArray(devices)).rejects.toMatchObject({
      code: "E_METADATA_UNSUPPORTED",
      message: expect.stringContaining("list of bad blocks"),
      hint: expect.stringMatching(/^mdctl examine-badblocks [ab]$/),
    });
  });
});
