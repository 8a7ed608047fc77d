import { execFileSync } from "node:child_process";
import { existsSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { failMember, isLastCopy } from "../../src/array/array-state.ts";
import { assembleArray } from "../../src/array/assemble-array.ts";
import { bitmapFor } from "../../src/array/bitmap-kind.ts";
import { CopyGroups } from "../../src/array/copy-groups.ts";
import { chooseDataOffset, createArray, planCreate } from "../../src/array/create-array.ts";
import { examine } from "../../src/array/examine.ts";
import { examineText } from "../../src/array/examine-text.ts";
import { writeSuperblocks } from "../../src/array/superblock-store.ts";
import { MdError } from "../../src/base/md-error.ts";
import { sector } from "../../src/base/units.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import { parseRaid10Layout } from "../../src/superblock/raid10-layout.ts";
import { allSubsets, mdEnough, mdSize } from "../support/raid10.ts";
import { tempDir } from "../support/temp-dir.ts";
import { byNumber, createRequest, DISK_SECTORS } from "./example.ts";

const MIB = 2048;
const GIB = 1024 * MIB;

const request = (
  layout: string,
  members: number,
  change: Parameters<typeof createRequest>[1] = {},
  size = 64 * MIB,
): ReturnType<typeof createRequest> =>
  createRequest(
    Array.from({ length: members }, () => size),
    { level: 10, layout: parseRaid10Layout(layout), ...change },
  );

describe("what mdadm would choose for a RAID10", () => {
  it.each([
    [100 * MIB, 4096],
    [512 * MIB, 4096],
    [GIB, 4096],
    [8 * GIB, 18_432],
    [16 * GIB, 34_816],
    [128 * GIB, 264_192],
  ])("data offset on %i sectors, chunk 512 KiB: %i (6.1)", (size, offset) => {
    expect(chooseDataOffset(sector(size), 1024)).toBe(offset);
  });

  it("is near 2, chunks of 512 KiB, and as many whole chunks as all members have", () => {
    const array = planCreate(createRequest([GIB, GIB + 5000, GIB + 100, GIB], { level: 10 }));
    expect(array).toMatchObject({ level: 10, layout: 0x102, chunkSectors: 1024, raidDisks: 4 });
    expect(array.memberSize).toBe(Math.floor((GIB - 4096) / 1024) * 1024);
    expect(array.size).toBe(array.memberSize * 2);
    expect(array.bitmap.layout.syncSize).toBe(array.size);
  });

  // The size of the golden images: 64 MiB disks, 64 KiB chunks.
  it("gives the peer's numbers for the peer's disks", () => {
    const array = planCreate(request("n2", 4, { stripeBytes: 65_536, chunkBytes: 65_536 }));
    expect(array).toMatchObject({ layout: 258, chunkSectors: 128, memberSize: 129_024, size: 258_048 });
    expect(array.members[0]?.dataOffset).toBe(2048);
    expect(array.bitmap.layout.chunks).toBe(2016);
  });

  it("has whole chunks only on an odd number of members, and of a size that is given", () => {
    const array = planCreate(request("n2", 3, { stripeBytes: 65_536, memberSize: sector(5 * 128 + 100) }));
    expect([array.memberSize, array.size]).toEqual([5 * 128, 7 * 128]);
  });
});

describe("a RAID10 that cannot be", () => {
  it.each([
    ["f2", {}, "layout f2 is not possible with a clustered bitmap; near layouts (n2, n3) are"],
    ["o2", {}, "layout o2 is not possible with a clustered bitmap; near layouts (n2, n3) are"],
    ["n1", {}, "layout n1 keeps no second copy; n2 does"],
  ])("%s", (layout, change, message) => {
    expect(() => planCreate(request(layout, 4, change))).toThrow(
      expect.objectContaining({ code: "E_LAYOUT_UNSUPPORTED", message }),
    );
  });

  it("for want of members", () => {
    expect(() => planCreate(request("n3", 2))).toThrow("layout n3 needs at least 3 members, got 2");
    const [a = null, b = null] = request("n2", 4).members;
    expect(() => planCreate(request("n2", 4, { members: [null, null, a, b] }))).toThrow("too many members are missing");
    expect(planCreate(request("n2", 4, { members: [null, a, null, b] })).members).toHaveLength(2);
  });

  it.each([3000, 2048, 3 * 65_536, 2 ** 31])("with chunks of %i bytes", (stripeBytes) => {
    expect(() => planCreate(request("n2", 4, { stripeBytes }))).toThrow(`a chunk of ${stripeBytes} bytes`);
  });
});

describe("a RAID10 with members out", () => {
  const array = planCreate(request("n2", 4));

  it("cannot lose the other one of a pair", () => {
    expect(isLastCopy(array, 2)).toBe(false);
    const { array: without } = failMember(array, 2);
    expect([0, 1, 3].map((number) => isLastCopy(without, number))).toEqual([false, false, true]);
    expect(() => failMember(without, 3)).toThrow(MdError);
    expect(failMember(without, 0).array.members.filter(({ state }) => state === "in_sync")).toHaveLength(2);
  });

  it("on three members cannot lose two", () => {
    const { array: without } = failMember(planCreate(request("n2", 3)), 1);
    expect([0, 2].map((number) => isLastCopy(without, number))).toEqual([true, true]);
  });

  it("is assembled if each pair has one, and refused otherwise whatever was asked for", async () => {
    const devices = Array.from(
      { length: 4 },
      (_, i) => new MemoryDevice(`/dev/m${i}`, new Uint8Array(DISK_SECTORS * 512)),
    );
    const small = planCreate(request("n2", 4, { stripeBytes: 4096 }, DISK_SECTORS));
    await createArray(small, byNumber(devices));
    const assembly = await assembleArray(devices);
    expect(assembly.array).toMatchObject({ level: 10, layout: 0x102, chunkSectors: 8, size: small.size });
    const [d0, d1, d2] = devices;
    if (d0 === undefined || d1 === undefined || d2 === undefined) throw new Error("four devices were made");
    await expect(assembleArray([d0, d2])).rejects.toMatchObject({ code: "E_NO_DEVICE" });
    expect((await assembleArray([d0, d2], { run: true })).array.members).toHaveLength(2);
    await expect(assembleArray([d0, d1], { run: true, force: true })).rejects.toMatchObject({
      message: expect.stringContaining("of some of its data no copy is here"),
    });
  });

  it.each(["n2", "n3", "f2", "f3", "o2", "o3"])(
    "%s starts with exactly the members that md would start it with",
    async (layout) => {
      const raidDisks = 4;
      const alone = { stripeBytes: 4096, bitmap: "internal", assumeClean: true } as const;
      const array = planCreate(request(layout, raidDisks, alone, DISK_SECTORS));
      const devices = memoryDevices(raidDisks);
      await createArray(array, byNumber(devices));
      for (const alive of allSubsets(raidDisks)) {
        const here = devices.filter((_, disk) => alive[disk] === 1);
        if (here.length === 0) continue;
        const started = await assembleArray(here, { run: true }).then(
          ({ array: found }) => found.members.length === here.length,
          () => false,
        );
        expect(started, `with ${alive}`).toBe(mdEnough(array, alive));
      }
    },
  );
});

const memoryDevices = (count: number): MemoryDevice[] =>
  Array.from({ length: count }, (_, i) => new MemoryDevice(`/dev/m${i}`, new Uint8Array(DISK_SECTORS * 512)));

describe("a RAID10 with far or offset copies", () => {
  const alone = { stripeBytes: 4096, bitmap: "internal" } as const;

  it.each([
    ["f2", 0x201],
    ["o2", 0x1_0201],
    ["f3", 0x301],
  ])("%s is one node's: with an internal bitmap, or none", async (layout, word) => {
    for (const bitmap of ["internal", "none"] as const) {
      const devices = memoryDevices(5);
      const array = planCreate(request(layout, 5, { ...alone, bitmap }, DISK_SECTORS));
      await createArray(array, byNumber(devices));
      const { array: found } = await assembleArray(devices);
      expect(found).toMatchObject({ layout: word, size: mdSize(array), memberSize: array.memberSize });
      expect(found.bitmap).toMatchObject({ kind: bitmap, layout: { syncSize: array.size } });
    }
  });

  it("of a cluster is refused by name where it is found, and none becomes a cluster's", async () => {
    const devices = memoryDevices(4);
    const near = planCreate(request("n2", 4, { stripeBytes: 4096 }, DISK_SECTORS));
    await createArray(near, byNumber(devices));
    await writeSuperblocks({ ...near, layout: 0x201 }, byNumber(devices));
    await expect(assembleArray(devices)).rejects.toMatchObject({
      code: "E_LAYOUT_UNSUPPORTED",
      message: expect.stringContaining('the array "any:md0": layout f2 is not possible with a clustered bitmap'),
    });
    const far = planCreate(request("f2", 4, alone, DISK_SECTORS));
    const wish = { kind: "clustered", slots: 2, clusterName: "alpha" } as const;
    expect(() => bitmapFor(far, wish)).toThrow(
      expect.objectContaining({
        code: "E_LAYOUT_UNSUPPORTED",
        message: '"any:md0": layout f2 is not possible with a clustered bitmap; near layouts (n2, n3) are',
      }),
    );
    expect(bitmapFor(far, { ...wish, kind: "none" }).kind).toBe("none");
  });

  it.each([
    ["two copies in one place", 0x2_0201, 3],
    ["keeps no second copy", 0x101, 3],
    ["no such kind of far sets", 0x6_0201, 4],
  ])("is refused on what other tools may have written: %s", async (text, layout, members) => {
    const devices = memoryDevices(members);
    const array = planCreate(request("n2", members, alone, DISK_SECTORS));
    await createArray(array, byNumber(devices));
    await writeSuperblocks({ ...array, layout }, byNumber(devices));
    await expect(assembleArray(devices)).rejects.toThrow(text);
  });

  it("with small far sets, which only superblocks can ask for, has the copies where they say", async () => {
    const devices = memoryDevices(5);
    const array = planCreate(request("f2", 5, alone, DISK_SECTORS));
    await createArray(array, byNumber(devices));
    await writeSuperblocks({ ...array, layout: 0x4_0201 }, byNumber(devices));
    const { array: found } = await assembleArray(devices);
    expect(new CopyGroups(found).groups).toEqual([
      [0, 1],
      [1, 0],
      [2, 3],
      [3, 4],
      [4, 2],
    ]);
  });
});

describe.runIf(existsSync("/usr/sbin/mdadm") || existsSync("/sbin/mdadm"))("stock mdadm", () => {
  it.each([
    ["n2", 4, "near=2"],
    ["n3", 5, "near=3"],
    ["n2", 3, "near=2"],
    ["f2", 2, "far=2"],
    ["f2", 3, "far=2"],
    ["f3", 4, "far=3"],
    ["o2", 4, "offset=2"],
    ["o3", 5, "offset=3"],
    ["n2f2", 4, "near=2, far=2"],
  ])("examines what was created as %s on %i members, and says of it what we say", async (layout, members, said) => {
    const folder = tempDir("raid10");
    try {
      const paths = Array.from({ length: members }, (_, i) => join(folder.path, `d${i}`));
      for (const path of paths) {
        writeFileSync(path, "");
        truncateSync(path, 64 * MIB * 512);
      }
      const devices = await Promise.all(paths.map((path) => openFileDevice(path, { readOnly: false })));
      const bitmap = layout.startsWith("n") && !layout.includes("f") ? "clustered" : "internal";
      const array = planCreate(request(layout, members, { stripeBytes: 65_536, bitmap }));
      await createArray(array, byNumber(devices));
      const ours = await Promise.all(devices.map(async (device) => examineText(await examine(device), () => 0)));
      await Promise.all(devices.map((device) => device.close()));
      for (const [i, path] of paths.entries()) {
        const env = { ...process.env, TZ: "UTC" };
        const text = execFileSync("mdadm", ["--examine", path], { encoding: "utf8", env });
        expect(text.trimEnd().split("\n")).toEqual(ours[i]);
        expect(text).toContain(`Layout : ${said}`);
        expect(text).toContain("Chunk Size : 64K");
        expect(text).toContain("- correct");
        expect(text).toContain(`Device Role : Active device ${i}`);
        expect(text).toContain(`Raid Devices : ${members}`);
      }
    } finally {
      folder.remove();
    }
  });
});
