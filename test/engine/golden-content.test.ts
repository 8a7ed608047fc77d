import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { assembleArray } from "../../src/array/assemble-array.ts";
import { inSyncMembers } from "../../src/array/md-array.ts";
import { sector } from "../../src/base/units.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { personalityOf } from "../../src/engine/personalities.ts";
import { goldenCases, goldenContentHash, goldenImages, unpackGolden } from "../support/golden.ts";

/** Sectors read at once, at most. */
const LONGEST = 2048;

/** The whole array as we assemble it, from the copies that `choose` picks of those in sync. */
async function hashOf(name: string, choose: "first" | "last"): Promise<string> {
  const opened = await Promise.all(
    goldenImages(name).map(async (image) => openFileDevice(await unpackGolden(image), { readOnly: true })),
  );
  const { array, devices } = await assembleArray(opened, { run: true });
  const personality = personalityOf(array);
  const byRaidDisk = new Map(inSyncMembers(array).map((member) => [member.raidDisk, member]));
  const hash = createHash("sha256");
  const disks = new Int32Array(personality.copies);
  const sectors = new Float64Array(personality.copies);
  for (let at = 0; at < array.size; ) {
    const length = personality.contiguous(sector(at), sector(Math.min(array.size, at + LONGEST)));
    personality.map(sector(at), disks, sectors);
    const copies = [...disks.keys()].filter((copy) => byRaidDisk.has(disks[copy] ?? -1));
    const copy = (choose === "first" ? copies[0] : copies.at(-1)) ?? -1;
    const member = byRaidDisk.get(disks[copy] ?? -1);
    if (member === undefined) throw new Error(`array sector ${at} has no copy`);
    const content = new Uint8Array(length * 512);
    await devices.get(member.number)?.read(sector(member.dataOffset + (sectors[copy] ?? 0)), content);
    hash.update(content);
    at += length;
  }
  await Promise.all(opened.map((device) => device.close()));
  return hash.digest("hex");
}

const known = goldenCases.filter((name) => goldenContentHash(name) !== null);

describe("what Linux md wrote to a clustered array", () => {
  it.each(known)("%s reads back as it did there", async (name) => {
    expect(await hashOf(name, "first")).toBe(goldenContentHash(name));
  });

  const whole = ["raid1-clean", "raid1-nodes8", "raid1-rebuilt-on-spare", "raid1-survivor-recovered", "raid10-clean"];
  it.each(whole.filter((name) => known.includes(name)))("%s does from the other copies as well", async (name) => {
    expect(await hashOf(name, "last")).toBe(goldenContentHash(name));
  });
});
