import { describe, expect, it } from "vitest";
import { assembleArray } from "../../src/array/assemble-array.ts";
import { readSlot } from "../../src/array/bitmap-store.ts";
import { examine } from "../../src/array/examine.ts";
import { examineBitmapText } from "../../src/array/examine-bitmap-text.ts";
import { cleanlinessLine, examineText } from "../../src/array/examine-text.ts";
import { inSyncMembers } from "../../src/array/md-array.ts";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import { bytesOf, sector, slotNumber } from "../../src/base/units.ts";
import { slotStart } from "../../src/bitmap/bitmap-layout.ts";
import { setBits } from "../../src/bitmap/bitmap-merge.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { IN_SYNC } from "../../src/superblock/superblock.ts";
import { decodeSuperblock, encodeSuperblock } from "../../src/superblock/superblock-codec.ts";
import { type GoldenImage, goldenCases, goldenImages, unpackGolden } from "../support/golden.ts";

async function withImage<T>(image: GoldenImage, use: (device: BlockDevice) => Promise<T>): Promise<T> {
  const device = await openFileDevice(await unpackGolden(image), { readOnly: true });
  try {
    return await use(device);
  } finally {
    await device.close();
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const utc = (): number => 0;

describe.each(goldenCases)("the image of Linux md %s", (name) => {
  describe.each(goldenImages(name))("$disk", (image) => {
    it("has the superblock that its sidecar tells", () =>
      withImage(image, async (device) => {
        const superblock = await readSuperblock(device);
        expect({
          feature_map: superblock.featureMap,
          set_uuid: hex(superblock.setUuid),
          name: superblock.setName,
          level: superblock.level,
          layout: superblock.layout,
          size: superblock.size,
          chunk_sectors: superblock.chunkSectors,
          raid_disks: superblock.raidDisks,
          bitmap_offset: superblock.bitmapOffset,
          data_offset: superblock.dataOffset,
          data_size: superblock.dataSize,
          dev_number: superblock.devNumber,
          device_uuid: hex(superblock.deviceUuid),
          events: superblock.events,
          resync_offset: Number(superblock.resyncOffset),
          recovery_offset: Number(superblock.recoveryOffset),
          max_dev: superblock.devRoles.length,
          dev_roles: superblock.devRoles.slice(0, image.superblock.dev_roles.length),
        }).toEqual(image.superblock);
        expect(superblock.minor).toBe(2);
      }));

    it("gives the same bytes when its superblock is encoded again", () =>
      withImage(image, async (device) => {
        const found = new Uint8Array(4096);
        await device.read(sector(8), found);
        const place = { path: image.disk, minor: 2, at: sector(8), deviceSize: device.size } as const;
        const encoded = encodeSuperblock(decodeSuperblock(found, place));
        expect(hex(encoded)).toBe(hex(found.subarray(0, encoded.byteLength)));
      }));

    it("K7: has the bitmaps that its sidecar tells, read from the image", () =>
      withImage(image, async (device) => {
        const { bitmap, superblock } = await examine(device);
        expect(
          bitmap?.slots.map(({ super: found, bits }, slot) => ({
            slot,
            byte_offset: bytesOf(slotStart(bitmap.layout, superblock.superOffset, superblock.bitmapOffset, slot)),
            version: found.version,
            events: found.events,
            events_cleared: found.eventsCleared,
            sync_size: found.syncSize,
            state: found.state,
            chunksize: found.chunkBytes,
            daemon_sleep: found.daemonSleep,
            write_behind: found.writeBehind,
            sectors_reserved: found.sectorsReserved,
            nodes: found.nodes,
            cluster_name: found.clusterName,
            chunks: bitmap.layout.chunks,
            dirty_chunks: [...setBits(bits, bitmap.layout.chunks)],
          })),
        ).toEqual(image.slots);
      }));

    it("is described as mdadm 4.4 describes it", () =>
      withImage(image, async (device) => {
        const seen = { ...(await examine(device)), path: image.disk };
        expect(examineText(seen, utc)).toEqual(image.examine.trimEnd().split("\n"));
        if (seen.bitmap === null) throw seen.bitmapError ?? new Error("no bitmap");
        expect(examineBitmapText(image.disk, seen.bitmap)).toEqual(image.examineBitmap.trimEnd().split("\n"));
      }));

    it("K4: is clean if no slot has a bit, whatever its superblock claims", () =>
      withImage(image, async (device) => {
        const seen = await examine(device);
        const never = image.superblock.resync_offset === Number(IN_SYNC);
        const dirty = new Set(image.slots.flatMap((slot) => slot.dirty_chunks)).size;
        expect(seen.clean).toBe(never || dirty === 0);
        expect(cleanlinessLine(seen)).toContain(seen.clean ? ": clean" : `${dirty} of `);
      }));
  });
});

/** What the members of each case are to an assembly: by disk, its role, or why it is not used. */
const assemblies: Record<string, readonly string[]> = {
  "raid1-clean": ["in_sync 0", "in_sync 1"],
  "raid1-fresh": ["in_sync 0", "in_sync 1"],
  "raid1-nodes8": ["in_sync 0", "in_sync 1"],
  "raid1-dirty-n1": ["in_sync 0", "in_sync 1"],
  "raid1-dirty-n2": ["in_sync 0", "in_sync 1"],
  "raid1-multiblock-slots": ["in_sync 0", "in_sync 1"],
  "raid1-failed-leg": ["in_sync 0", "it has failed"],
  "raid1-spare": ["in_sync 0", "in_sync 1", "spare"],
  "raid1-rebuilt-on-spare": ["in_sync 0", "it is", "in_sync 1"],
  "raid1-readded": ["in_sync 0", "in_sync 1"],
  "raid1-survivor-recovered": ["in_sync 0", "in_sync 1"],
  "raid1-midresync-taken-over": ["in_sync 0", "in_sync 1"],
  "raid10-clean": ["in_sync 0", "in_sync 1", "in_sync 2", "in_sync 3"],
  "raid10-dirty-n2": ["in_sync 0", "in_sync 1", "in_sync 2", "in_sync 3"],
  "raid10-failed-leg": ["in_sync 0", "in_sync 1", "it has failed", "in_sync 3"],
  "raid10-midresync-killed": ["in_sync 0", "in_sync 1", "in_sync 2", "in_sync 3"],
};

describe("assembling what Linux md left", () => {
  const known = goldenCases.filter((name) => assemblies[name] !== undefined);
  it.each(known)("%s", async (name) => {
    const devices = await Promise.all(
      goldenImages(name).map(async (image) => openFileDevice(await unpackGolden(image), { readOnly: true })),
    );
    const { array, refused, devices: used } = await assembleArray(devices);
    const seen = devices.map((device) => {
      const member = array.members.find(({ number }) => used.get(number) === device);
      if (member === undefined) return refused.find(({ path }) => path === device.path)?.reason ?? "lost";
      return member.raidDisk === null ? member.state : `${member.state} ${member.raidDisk}`;
    });
    expect(seen).toEqual(assemblies[name]?.map((role) => expect.stringContaining(role)));

    // The same bits as examine found, now by the array's own layout.
    const [first] = inSyncMembers(array);
    const image = goldenImages(name)[0];
    const device = first === undefined ? undefined : used.get(first.number);
    if (first === undefined || device === undefined || image === undefined) throw new Error("no in-sync member");
    for (const slot of image.slots) {
      const { bits } = await readSlot(array, first, device, slotNumber(slot.slot));
      expect([...setBits(bits, array.bitmap.layout.chunks)]).toEqual(slot.dirty_chunks);
    }
    await Promise.all(devices.map((one) => one.close()));
  });
});
