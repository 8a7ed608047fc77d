import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { Raid10 } from "../../src/raid10/raid10.ts";
import { goldenCases, goldenContentHash, goldenImages, unpackGolden } from "../support/golden.ts";

const known = goldenCases.filter((name) => {
  const [image] = goldenImages(name);
  return image?.superblock.level === 10 && goldenContentHash(name) !== null;
});

/** Of the members that the newest superblock calls active: the whole array from the copies that `choose` picks. */
async function hashOf(name: string, choose: "first" | "last"): Promise<string> {
  const images = goldenImages(name);
  const newest = images.reduce((best, image) => (image.superblock.events > best.superblock.events ? image : best));
  const {
    layout,
    raid_disks: raidDisks,
    chunk_sectors: chunkSectors,
    size,
    data_offset: dataOffset,
  } = newest.superblock;
  const raid10 = new Raid10({ layout, raidDisks, chunkSectors, memberSize: sector(size) });
  const devices = await Promise.all(
    images.map(async (image) => openFileDevice(await unpackGolden(image), { readOnly: true })),
  );
  const byRole = new Map(
    images.map(({ superblock }, i) => [newest.superblock.dev_roles[superblock.dev_number], devices[i]]),
  );
  const hash = createHash("sha256");
  const disks = new Int32Array(raid10.copies);
  const sectors = new Float64Array(raid10.copies);
  const content = new Uint8Array(chunkSectors * 512);
  for (let at = 0; at < raid10.size; at += chunkSectors) {
    raid10.map(sector(at), disks, sectors);
    const copies = [...disks.keys()].filter((copy) => byRole.has(disks[copy]));
    const copy = choose === "first" ? copies[0] : copies.at(-1);
    if (copy === undefined) throw new Error(`array sector ${at} has no copy`);
    const on = dataOffset + (sectors[copy] ?? 0);
    await byRole
      .get(disks[copy])
      ?.read(sector(on), content.subarray(0, Math.min(chunkSectors, raid10.size - at) * 512));
    hash.update(content);
  }
  await Promise.all(devices.map((device) => device.close()));
  return hash.digest("hex");
}

describe("what Linux md wrote to a RAID10", () => {
  it.each(known)("%s reads back as it did there", async (name) => {
    expect(await hashOf(name, "first")).toBe(goldenContentHash(name));
  });

  it.runIf(known.includes("raid10-clean"))("and from the other copies as well, once they are equal", async () => {
    expect(await hashOf("raid10-clean", "last")).toBe(goldenContentHash("raid10-clean"));
  });
});
