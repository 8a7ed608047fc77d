import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { assembleArray } from "../../src/array/assemble-array.ts";
import { createArray } from "../../src/array/create-array.ts";
import { badBlocksText, examineBadBlocks } from "../../src/array/examine-bad-blocks.ts";
import { nextUpdate, superblockOf } from "../../src/array/superblock-of.ts";
import { readSuperblock, writeSuperblocks } from "../../src/array/superblock-store.ts";
import { sector, sectorRange } from "../../src/base/units.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import {
  type BadBlock,
  decodeBadBlocks,
  encodeBadBlocks,
  entriesOf,
  logSteps,
} from "../../src/superblock/bad-block-log.ts";
import { Feature, hasFeature, type Superblock } from "../../src/superblock/superblock.ts";
import { encodeSuperblock } from "../../src/superblock/superblock-codec.ts";
import { exampleSuperblock } from "../superblock/example.ts";
import { SeededRandom } from "../support/seeded-random.ts";
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

    it("also of an array that we have made and marked, log and superblock alike", async () => {
      const paths = ["a", "b"].map((name) => join(folder.path, name));
      for (const path of paths) writeFileSync(path, Buffer.alloc(8 << 20));
      const devices = await Promise.all(paths.map((path) => openFileDevice(path, { readOnly: false })));
      const plan = planFor(devices, { bitmap: "internal", badBlockLog: true });
      await createArray(plan, byNumber(devices));
      const entries = [
        { at: 2048, sectors: 512 },
        { at: 4096, sectors: 1 },
      ];
      const members = plan.members.map((member) =>
        member.badBlockLog === null ? member : { ...member, badBlockLog: { ...member.badBlockLog, entries } },
      );
      await writeSuperblocks({ ...plan, members, events: 2 }, byNumber(devices));
      await Promise.all(devices.map((device) => device.close()));
      const mdadm = (option: string) => execFileSync("mdadm", [option, paths[1] ?? ""], { encoding: "utf8" });
      expect(mdadm("--examine-badblocks")).toBe(
        [
          `Bad-blocks on ${paths[1]}:`,
          "                2048 for 512 sectors",
          "                4096 for 1 sectors",
          "",
        ].join("\n"),
      );
      const told = mdadm("--examine");
      expect(told).toContain("Bad Block Log : 512 entries available at offset 16 sectors - bad blocks present.");
      expect(told).toMatch(/Checksum : \w+ - correct/);
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

  const marked = (kind: number) => ({ ...log, featureMap: kind | Feature.badBlocks });

  it("in a cluster is refused if something is in it, and says how to look", async () => {
    const devices = await made("clustered", marked(Feature.bitmapOffset | Feature.clustered));
    await expect(assembleArray(devices)).rejects.toMatchObject({
      code: "E_METADATA_UNSUPPORTED",
      message: expect.stringContaining("list of bad blocks"),
      hint: expect.stringMatching(/^mdctl examine-badblocks [ab]$/),
    });
  });

  it("is not believed if it lists nothing at all, as md does not", async () => {
    const devices = await made("internal", marked(Feature.bitmapOffset));
    await expect(assembleArray(devices)).rejects.toMatchObject({ code: "E_SUPERBLOCK_BAD" });
  });

  it.each([
    ["over the superblock", { bblogOffset: 1 }],
    ["before it", { bblogOffset: -8 }],
    ["over the bitmap", { bblogOffset: 12 }],
    ["over the data", { bblogOffset: 2036 }],
    ["beyond the device", { bblogOffset: 0x7fff_ffff }],
    ["too long", { bblogOffset: 80, bblogSize: 0xffff }],
    ["in blocks larger than any disk", { bblogOffset: 80, bblogShift: 200 }],
  ])("is refused where it would be written %s (F40), also if nothing is in it", async (_, change) => {
    const devices = await made("internal", { ...log, ...change });
    await expect(assembleArray(devices)).rejects.toMatchObject({
      code: "E_SUPERBLOCK_BAD",
      message: expect.stringMatching(/^[ab]: bblog_(offset|size|shift) is/),
    });
  });

  it("says what each member lacks, and the next update changes it, log before superblock", async () => {
    const devices = await made("internal", marked(Feature.bitmapOffset));
    for (const [i, device] of devices.entries()) await device.write(sector(88), logOf([2048 + 8 * i, 8]));
    const { array } = await assembleArray(devices);
    const listed = array.members.map(({ badBlockLog }) => badBlockLog?.entries);
    expect(listed).toEqual([[{ at: 2048, sectors: 8 }], [{ at: 2056, sectors: 8 }]]);
    const changed = [
      [],
      [
        { at: 2056, sectors: 8 },
        { at: 3000, sectors: 512 },
      ],
    ];
    const members = array.members.map((member, i) => {
      const { badBlockLog } = member;
      return badBlockLog === null ? member : { ...member, badBlockLog: { ...badBlockLog, entries: changed[i] ?? [] } };
    });
    const next = nextUpdate({ ...array, members }, { seconds: 1_700_000_900, microseconds: 0 });
    expect(await writeSuperblocks(next, byNumber(devices))).toEqual([]);
    const found = await Promise.all(devices.map(readSuperblock));
    expect(found.map((superblock) => hasFeature(superblock, Feature.badBlocks))).toEqual([false, true]);
    const page = new Uint8Array(4096);
    await devices[1]?.read(sector(88), page);
    expect(page).toEqual(logOf([2056, 8], [3000, 512]));
    const again = await assembleArray(devices);
    expect(again.array.members.map(({ badBlockLog }) => badBlockLog?.entries)).toEqual(changed);
  });

  it("fails with the member when the log is too small", async () => {
    const devices = await made("internal", { ...marked(Feature.bitmapOffset), bblogSize: 1 });
    for (const device of devices) await device.write(sector(88), logOf([2048, 8]));
    const { array } = await assembleArray(devices);
    const entries = Array.from({ length: 65 }, (_, i) => ({ at: 2048 + 16 * i, sectors: 8 }));
    const members = array.members.map((member) =>
      member.number === 0 && member.badBlockLog !== null
        ? { ...member, badBlockLog: { ...member.badBlockLog, entries } }
        : member,
    );
    const failures = await writeSuperblocks({ ...array, members, events: 2 }, byNumber(devices));
    expect(failures).toMatchObject([{ number: 0, error: { message: "the bad-block log of a is full" } }]);
  });
});

describe("making an array whose members have a place for one", () => {
  it.each([
    ["internal", {}, { sectors: 8, shift: 0, offset: 16, entries: [] }],
    ["none", {}, { sectors: 8, shift: 0, offset: 16, entries: [] }],
    ["internal", { dataOffset: sector(31) }, null],
    ["none", { dataOffset: sector(24) }, { sectors: 8, shift: 0, offset: 8, entries: [] }],
    ["clustered", {}, null],
  ] as const)("bitmap %s %o: %o", async (bitmap, change, expected) => {
    const devices = ["a", "b"].map((name) => new MemoryDevice(name, new Uint8Array(DISK_SECTORS * 512).fill(7)));
    const plan = planFor(devices, { bitmap, badBlockLog: true, ...change });
    expect(plan.members[0]?.badBlockLog).toEqual(expected);
    await createArray(plan, byNumber(devices));
    const { array } = await assembleArray(devices);
    expect(array.members[1]?.badBlockLog).toEqual(expected);
    if (expected === null) return;
    const page = new Uint8Array(4096);
    await devices[1]?.read(sector(8 + expected.offset), page);
    expect(page).toEqual(logOf());
  });
});

describe("a log that is changed", () => {
  const SLOTS = 512;
  const block = (n: number): BadBlock => ({ at: 8 * n, sectors: 8 });
  const draw = (random: SeededRandom, most: number): BadBlock[] => {
    const share = random.next();
    return Array.from({ length: most }, (_, n) => block(n)).filter(() => random.next() < share);
  };

  /** Some sectors of a write have reached the disk, in any choice. */
  function torn(random: SeededRandom, before: readonly BadBlock[], after: readonly BadBlock[]): Uint8Array {
    const [old, wanted] = [encodeBadBlocks(before, 0, 4096), encodeBadBlocks(after, 0, 4096)];
    for (let at = 0; at < 4096; at += 512) {
      if (random.next() < 0.5) old.set(wanted.subarray(at, at + 512), at);
    }
    return old;
  }

  it("never forgets what it held before and after, wherever the power is cut", () => {
    const random = new SeededRandom(7);
    let several = 0;
    for (let round = 0; round < 400; round++) {
      const most = round % 3 === 0 ? 60 : 700;
      // As a former life has left it: in any order.
      const held = draw(random, most)
        .slice(0, SLOTS)
        .sort(() => random.next() - 0.5);
      const wanted = draw(random, most).slice(0, SLOTS);
      const steps = logSteps(held, wanted, SLOTS);
      if (steps === null) continue;
      if (steps.length > 1) several++;
      const kept = held.filter((one) => wanted.some(({ at }) => at === one.at));
      let before: readonly BadBlock[] = held;
      for (const step of steps) {
        const found = new Set(decodeBadBlocks(torn(random, before, step), 0).map(({ at }) => at));
        expect(kept.filter(({ at }) => !found.has(at))).toEqual([]);
        before = step;
      }
      expect([...before].sort((a, b) => a.at - b.at)).toEqual(wanted);
    }
    expect(several).toBeGreaterThan(50);
  });

  it("that is full takes what only becomes good, and nothing new", () => {
    const held = Array.from({ length: SLOTS }, (_, n) => block(n));
    expect(logSteps(held, [...held, block(600)], SLOTS)).toBeNull();
    expect(logSteps(held, held.slice(1), SLOTS)?.at(-1)).toHaveLength(SLOTS - 1);
    expect(logSteps(held, [...held.slice(1), block(600)], SLOTS)?.at(-1)).toHaveLength(SLOTS);
    // What is said otherwise must be there twice for a moment.
    expect(logSteps(held, [{ at: 0, sectors: 16 }, ...held.slice(2)], SLOTS)).toBeNull();
    expect(logSteps(held, [...held].reverse(), SLOTS)).toEqual([]);
  });

  it("lists what is longer than an entry in several", () => {
    expect(entriesOf([sectorRange(0, 1200)], 0)).toEqual([
      { at: 0, sectors: 512 },
      { at: 512, sectors: 512 },
      { at: 1024, sectors: 176 },
    ]);
    const shifted = entriesOf([sectorRange(8, 8 + 512 * 8 + 8)], 3);
    expect(shifted).toEqual([
      { at: 8, sectors: 4096 },
      { at: 4104, sectors: 8 },
    ]);
    expect(decodeBadBlocks(encodeBadBlocks(shifted, 3, 512), 3)).toEqual(shifted);
  });
});
