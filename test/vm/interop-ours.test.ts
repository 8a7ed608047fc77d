import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bootGuests, type Guest, type GuestSet } from "../../tools/vm/boot.ts";
import { Host, runProgram } from "../support/daemons.ts";
import { KernelMd, mdGuest } from "./kernel-md.ts";
import { BITMAP_CHUNK, createOurs, detailOf, killWriting, md5, type OurArray, tear } from "./our-arrays.ts";

const MIB = 1024 * 1024;
/** Written at the front of the array when the daemon is killed: so many chunks of the bitmap are dirty. */
const DIRTY_CHUNKS = 2;
/** The kernel counts a difference as the whole request that it compared. */
const SECTORS_PER_CHUNK = BITMAP_CHUNK / 512;

type State = "clean" | "dirty" | "degraded" | "spare";

interface Case {
  readonly title: string;
  readonly state: State;
  readonly options: readonly string[];
  readonly disks: readonly string[];
}

const clustered = (nodes: number): readonly string[] => ["--cluster", `--nodes=${nodes}`, "--homehost=any"];

let lastDisk = 0;
const take = (count: number): readonly string[] => Array.from({ length: count }, () => `d${++lastDisk}`);
const cases: readonly Case[] = (
  [
    ["RAID1, 4 nodes", "clean", ["--level=1", ...clustered(4)], 2],
    ["RAID1, 8 nodes", "dirty", ["--level=1", ...clustered(8)], 2],
    ["RAID1, 8 nodes", "degraded", ["--level=1", ...clustered(8)], 2],
    ["RAID10, 8 nodes", "clean", ["--level=10", ...clustered(8)], 2],
    ["RAID10, 4 nodes", "dirty", ["--level=10", ...clustered(4)], 4],
    ["RAID1, 4 nodes", "spare", ["--level=1", ...clustered(4), "--spare-devices=1"], 3],
    ["RAID1, internal bitmap", "dirty", ["--level=1", "--bitmap=internal", "--homehost=any"], 2],
    ["RAID10, internal bitmap", "degraded", ["--level=10", "--bitmap=internal", "--homehost=any"], 4],
    ["RAID10, internal bitmap", "clean", ["--level=10", "--bitmap=internal", "--homehost=any"], 3],
    ["RAID1, no bitmap", "dirty", ["--level=1", "--bitmap=none", "--homehost=any"], 2],
  ] as const
).map(([title, state, options, count]) => ({ title, state, options, disks: take(count) }));

/** What mdctl made is started by the kernel: docs/interop.md. */
describe("arrays that mdctl made, under the kernel's md", () => {
  const host = new Host();
  const arrays = new Map<Case, OurArray>();
  /** What we say of each disk when mdctl has left it. */
  const examined = new Map<string, { readonly super: string; readonly bitmap: string }>();
  let set: GuestSet;
  let guest: Guest;

  beforeAll(async () => {
    const disks = cases.flatMap((one) => one.disks);
    for (const name of disks) host.memberFile(name, 16 * MIB);
    await host.start("n1");
    for (const [i, one] of cases.entries()) arrays.set(one, await make(host, `md${i + 1}`, one));
    const dirty = cases.filter(({ state }) => state === "dirty").map((one) => arrays.get(one) as OurArray);
    await leaveDirty(host, dirty, dirty.find(({ info }) => info.bitmap === null) as OurArray);
    for (const name of disks) examined.set(name, await examine(host, name));
    set = await bootGuests({
      ...mdGuest,
      limitSeconds: 600,
      disks: disks.map((name) => ({ name, path: host.path(name) })),
    });
    [guest] = set.guests as [Guest];
  });
  afterAll(async () => {
    await set?.close();
    await host.close();
  });

  describe.each(cases)("$title, $state", (one) => {
    const ours = (): OurArray => arrays.get(one) as OurArray;
    const md = (): KernelMd => new KernelMd(guest, ours().name);
    const isClustered = one.options.includes("--cluster");

    it("is described by the guest's mdadm as by us", async () => {
      for (const disk of one.disks) {
        const seen = await md().mdadm(`--examine /dev/disk/${disk}`);
        expect(body(seen)).toBe(body(examined.get(disk)?.super ?? ""));
        if (one.options.includes("--bitmap=none")) continue;
        const bitmap = await md().mdadm(`--examine-bitmap /dev/disk/${disk}`);
        expect(body(bitmap)).toBe(body(examined.get(disk)?.bitmap ?? ""));
        if (one.state === "dirty") expect(bitmap).toContain(`, ${DIRTY_CHUNKS} dirty`);
      }
    });

    it("is started, with our content", async () => {
      // A clustered array has no bitmap of one node, and no cluster runs here: it is started without.
      const update = isClustered ? "--update=no-bitmap" : "";
      await md().assemble(one.disks, `--readonly ${update}`);
      const detail = await md().detail();
      for (const [label, value] of expected(ours(), examined.get(one.disks[0] ?? "")?.super ?? ""))
        expect([label, detail.get(label)]).toEqual([label, value]);
      expect(detail.get("State")).toMatch(one.state === "degraded" ? /degraded/ : /^(?!.*degraded)/);
      if (one.state !== "dirty") expect(await md().content()).toBe(md5(ours().content));
    });

    it.skipIf(one.state === "degraded")("has equal copies, or what differed was told by the bitmap", async () => {
      // A clustered array that was in use may say that all of it may differ; its bitmaps knew better.
      if (isClustered) await md().withoutResync();
      await md().mdadm(`--readwrite /dev/${ours().name}`);
      // The kernel has copied what a bitmap told it of, or all; of what no one told it, it finds just that.
      const torn = one.state === "dirty" && isClustered;
      expect(await md().mismatches()).toBe(torn ? DIRTY_CHUNKS * SECTORS_PER_CHUNK : 0);
      if (torn) {
        await md().repair();
        expect(await md().mismatches()).toBe(0);
      }
      expect(await md().content()).toBe(md5(ours().content));
    });

    it.runIf(one.state === "degraded" || one.state === "spare")("is made whole by the kernel", async () => {
      const [first = "", second = ""] = one.disks;
      const array = `/dev/${ours().name}`;
      if (one.state === "degraded") {
        await md().mdadm(`--readwrite ${array}`);
        // mdadm may have given it to the kernel as what it is, a faulty one.
        if ((await md().detail()).get("Failed Devices") !== "0") await md().mdadm(`${array} --remove failed`);
        await md().mdadm(`${array} --add /dev/disk/${second}`);
      } else await md().mdadm(`${array} --fail /dev/disk/${first}`);
      await md().whole();
      expect(await md().mismatches()).toBe(0);
      expect(await md().content()).toBe(md5(ours().content));
      await md().stop();
    });
  });

  it("leave nothing in the kernel's log that speaks of damage", async () => {
    const log = await guest.output("dmesg");
    expect(log.split("\n").filter((line) => /corrupt|BUG:|WARNING:|Call Trace|I\/O error/.test(line))).toEqual([]);
  });
});

async function make(host: Host, name: string, { state, options, disks }: Case): Promise<OurArray> {
  const array = await createOurs(host, name, disks, options);
  if (state === "degraded") await host.data("n1", "fail", name, host.path(disks[1] ?? ""));
  const info = await detailOf(host, name);
  await host.data("n1", "stop", name);
  return { ...array, info };
}

/** The daemon dies while it writes to the dirty ones, and what it wrote has reached one of the two copies only. */
async function leaveDirty(host: Host, arrays: readonly OurArray[], withoutBitmap: OurArray): Promise<void> {
  const bytes = DIRTY_CHUNKS * BITMAP_CHUNK;
  await killWriting(host, arrays, bytes);
  // An array that pauses for 200 ms says that it is clean: on a very busy machine also between two writes.
  while (/State : clean/.test((await examine(host, withoutBitmap.disks[0] ?? "")).super)) {
    await host.start("n1");
    await killWriting(host, [withoutBitmap], bytes);
  }
  for (const { disks, info } of arrays) tear(host, disks[1] ?? "", info.dataOffsetBytes, 0, bytes);
}

async function examine(host: Host, disk: string): Promise<{ super: string; bitmap: string }> {
  const path = host.path(disk);
  const [superblock, bitmap] = await Promise.all([
    runProgram(process.execPath, ["bin/mdctl.mjs", "examine", path]),
    runProgram(process.execPath, ["bin/mdctl.mjs", "examine-bitmap", path]),
  ]);
  return { super: superblock.stdout, bitmap: bitmap.stdout };
}

/** Without the line that names the device. */
const body = (text: string): string => text.trimEnd().split("\n").slice(1).join("\n");

/** What `mdadm --detail` must say of an array that we have described so. */
function expected({ info }: OurArray, superblock: string): readonly (readonly [string, string])[] {
  const updated = /Update Time : (.*)/.exec(superblock)?.[1] ?? "";
  const kib = (bytes: number): string => `${bytes / 1024}K`;
  return [
    ["Raid Level", info.level],
    ["Raid Devices", String(info.raidDevices)],
    ["Active Devices", String(info.activeDevices)],
    ["Spare Devices", String(info.spareDevices)],
    ["Name", `any:${info.name}`],
    ["UUID", info.uuid],
    ["Update Time", updated],
    ...(info.chunkBytes === null
      ? []
      : ([
          ["Layout", "near=2"],
          ["Chunk Size", kib(info.chunkBytes)],
        ] as const)),
  ];
}
