import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Examination, examine } from "../../src/array/examine.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { Feature, hasFeature } from "../../src/superblock/superblock.ts";
import { bootGuests, type Guest, type GuestSet } from "../../tools/vm/boot.ts";
import { Host } from "../support/daemons.ts";
import { KernelMd, mdGuest } from "./kernel-md.ts";
import { contentOf, detailOf, md5, tear, writePiece } from "./our-arrays.ts";

const MIB = 1024 * 1024;
/** Written at the front of a dirty array when the guest's power is cut. */
const FRONT_BYTES = 128 * 1024;
const PIECE_AT = 4 * MIB;

type State = "clean" | "dirty" | "degraded" | "rebuilding";

interface Case {
  readonly title: string;
  readonly state: State;
  readonly options: string;
  readonly name: string;
  readonly disks: readonly string[];
}

const internal = "--bitmap=internal --bitmap-chunk=64K";
let lastDisk = 0;
const cases: readonly Case[] = (
  [
    ["RAID1, internal bitmap", "clean", `--level=1 --raid-devices=2 ${internal}`, 2],
    ["RAID1, internal bitmap", "dirty", `--level=1 --raid-devices=2 ${internal}`, 2],
    ["RAID1, internal bitmap", "degraded", `--level=1 --raid-devices=2 ${internal}`, 2],
    ["RAID1, internal bitmap", "rebuilding", `--level=1 --raid-devices=2 --spare-devices=1 ${internal}`, 3],
    ["RAID1, no bitmap", "dirty", "--level=1 --raid-devices=2 --bitmap=none", 2],
    ["RAID10, internal bitmap", "clean", `--level=10 --raid-devices=4 --spare-devices=1 ${internal}`, 5],
    ["RAID10, internal bitmap", "dirty", `--level=10 --raid-devices=4 ${internal}`, 4],
    ["RAID10, internal bitmap", "degraded", `--level=10 --raid-devices=4 ${internal}`, 4],
  ] as const
).map(([title, state, options, count], i) => {
  const disks = Array.from({ length: count }, () => `d${++lastDisk}`);
  return { title, state, options, disks, name: `md${i + 1}` };
});

/** What the kernel made is used by mdctl and taken back: docs/interop.md. */
describe("arrays that the kernel's md made", () => {
  const host = new Host();
  const disks = cases.flatMap((one) => one.disks);
  /** MD5 of all that each array holds. */
  const contents = new Map<Case, string>();
  let set: GuestSet | undefined;
  let guest: Guest;

  const boot = async (): Promise<void> => {
    const files = disks.map((name) => ({ name, path: host.path(name) }));
    set = await bootGuests({ ...mdGuest, limitSeconds: 600, disks: files });
    [guest] = set.guests as [Guest];
  };

  beforeAll(async () => {
    for (const name of disks) host.memberFile(name, 16 * MIB);
    await boot();
    for (const one of cases) contents.set(one, await make(guest, one));
    const dirty = cases.filter(({ state }) => state === "dirty");
    for (const one of dirty) await keepWriting(guest, one);
    // A power cut in the middle of writes.
    await guest.kill();
    await set?.close();
    for (const one of dirty) await tearSecond(host, one.disks);
    for (const {
      disks: [, , spare = ""],
    } of cases.filter(({ state }) => state === "rebuilding")) {
      const { superblock } = await examined(host, spare);
      expect(hasFeature(superblock, Feature.recoveryOffset)).toBe(true);
    }
    await host.start("n1");
  });
  afterAll(async () => {
    await set?.close();
    await host.close();
  });

  describe.each(cases)("$title, $state", (one) => {
    it("is assembled by mdctl, made whole, and holds what it held", async () => {
      await host.data("n1", "assemble", one.name, ...one.disks.map((disk) => host.path(disk)));
      if (one.state === "degraded") await bringBack(host, one);
      await host.data("n1", "wait", one.name);
      expect(await detailOf(host, one.name)).toMatchObject({ health: "optimal", sync: { status: "none" } });
      expect(md5(await contentOf(host, one.name))).toBe(contents.get(one));
    });

    it("is written by mdctl", async () => {
      // A piece, and not where copies differed: what mdctl has copied is for the kernel to judge.
      const content = await contentOf(host, one.name);
      const piece = randomBytes(MIB);
      piece.copy(content, PIECE_AT);
      await writePiece(host, one.name, PIECE_AT, piece);
      contents.set(one, md5(content));
      await host.data("n1", "stop", one.name);
    });
  });

  describe("back under the kernel", () => {
    beforeAll(boot);

    it.each(cases)("$title, $state: clean, equal, with what mdctl wrote", async (one) => {
      const md = new KernelMd(guest, one.name);
      await md.assemble(one.disks, "--readonly");
      expect((await md.detail()).get("State")).toBe("clean");
      expect(await md.content()).toBe(contents.get(one));
      await md.mdadm(`--readwrite /dev/${one.name}`);
      expect(await md.mismatches()).toBe(0);
      await md.stop();
    });

    it("leaves nothing in the kernel's log that speaks of damage or of a resync", async () => {
      const log = await guest.output("dmesg");
      const bad = /corrupt|BUG:|WARNING:|Call Trace|I\/O error|not clean|(resync|recovery) of RAID/;
      expect(log.split("\n").filter((line) => bad.test(line))).toEqual([]);
    });
  });
});

/** Makes the array in the guest, fills it with chance and leaves it in its state. Returns the MD5 of what it holds. */
async function make(guest: Guest, { state, options, name, disks }: Case): Promise<string> {
  const md = new KernelMd(guest, name);
  await md.create(disks, `--name=${name} ${options}`);
  await md.mdadm(`--wait /dev/${name} || true`);
  await guest.output(`dd if=/dev/urandom of=/dev/${name} bs=64k oflag=direct || true; sync /dev/${name}`);
  const [, second = ""] = disks;
  if (state === "degraded") {
    await md.mdadm(`/dev/${name} --fail /dev/disk/${second}`);
    await md.mdadm(`/dev/${name} --remove /dev/disk/${second}`);
    await guest.output(`dd if=/dev/urandom of=/dev/${name} bs=64k count=8 oflag=direct`);
  }
  if (state === "rebuilding") {
    await guest.output(
      `echo 100 >/sys/block/${name}/md/sync_speed_max; echo 100 >/sys/block/${name}/md/sync_speed_min`,
    );
    await md.mdadm(`/dev/${name} --fail /dev/disk/${second}`);
    await guest.output(`until grep -q recovery /proc/mdstat; do sleep 0.1; done`);
  }
  const content = await md.content();
  await md.stop();
  return content;
}

/** Writes the front of a stopped array, as it is, again and again in the background. The bitmap has only that when it returns. */
async function keepWriting(guest: Guest, { name, disks }: Case): Promise<void> {
  await new KernelMd(guest, name).assemble(disks);
  const front = `/tmp/${name}.front`;
  const write = `dd if=${front} of=/dev/${name} bs=${FRONT_BYTES} oflag=direct conv=notrunc`;
  await guest.output(`dd if=/dev/${name} of=${front} bs=${FRONT_BYTES} count=1 && ${write}`);
  await guest.output(`while :; do ${write}; sleep 0.02; done >/dev/null 2>&1 &`);
}

/** What a power cut may leave of a write: it is on one copy only. Only where a bit is set, or the whole array is told dirty. */
async function tearSecond(host: Host, [first = "", second = ""]: readonly string[]): Promise<void> {
  const { superblock, bitmap } = await examined(host, second);
  expect([first, bitmap?.slots[0]?.dirty ?? 2]).toEqual([first, 2]);
  tear(host, second, Number(superblock.dataOffset) * 512, 0, FRONT_BYTES);
}

async function examined(host: Host, disk: string): Promise<Examination> {
  const device = await openFileDevice(host.path(disk), { readOnly: true });
  return examine(device).finally(() => device.close());
}

/** The member that the kernel had failed and removed. */
async function bringBack(host: Host, { name, disks: [, second = ""] }: Case): Promise<void> {
  await host.data("n1", "add", name, host.path(second));
}
