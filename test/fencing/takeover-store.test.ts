import { execFileSync, spawnSync } from "node:child_process";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { assembleArray } from "../../src/array/assemble-array.ts";
import { createArray } from "../../src/array/create-array.ts";
import { bitmapStart, type MdArray } from "../../src/array/md-array.ts";
import type { MemberDevices } from "../../src/array/write-members.ts";
import { sector, slotNumber } from "../../src/base/units.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import {
  condemn,
  condemnVictim,
  introduce,
  type RecordWriter,
  sayGoodbye,
} from "../../src/cluster/takeover-records.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { PillCheck, type PillReader, type PillVerdict } from "../../src/fencing/pill-check.ts";
import { decodeTakeover } from "../../src/fencing/takeover-blocks.ts";
import { nodeAt, pillAt, type TakeoverLayout, takeoverLayout } from "../../src/fencing/takeover-layout.ts";
import { hasTakeoverRoom, ownerOf, readTakeover } from "../../src/fencing/takeover-store.ts";
import { byNumber, planFor } from "../array/example.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { haveLoopDevices, withLoopDevice } from "../support/loop-device.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { SharedDisks } from "../support/shared-disks.ts";
import { tempDir } from "../support/temp-dir.ts";

const SECTORS = 8192;
const env = { clock: new FakeClock(), random: new SeededRandom(1), log: silentLogger };
const slot = slotNumber(1);

function layoutOf(array: MdArray, number = 0): TakeoverLayout {
  const member = array.members[number];
  const layout = member === undefined ? null : takeoverLayout(array, member);
  if (layout === null) throw new Error("no room");
  return layout;
}

/** Two members, as host `a` sees them. */
class Fixture {
  readonly disks = new SharedDisks();
  readonly array: MdArray;
  readonly devices: MemberDevices;

  constructor() {
    for (const path of ["/d0", "/d1"]) this.disks.add(path, SECTORS);
    const devices = ["/d0", "/d1"].map((path) => this.disks.open(path, "a"));
    this.array = planFor(devices);
    this.devices = byNumber(devices);
  }

  writer(nodeName: string): RecordWriter {
    return { array: this.array, devices: this.devices, env, nodeName };
  }

  pillOn(path: string, of = slot): ReturnType<typeof decodeTakeover<"pill">> {
    const block = this.disks.data(path, pillAt(layoutOf(this.array), of), 8);
    return decodeTakeover("pill", block, this.array.uuid, 4);
  }

  /** What the data plane of this owner sees. */
  verdictOn(path: string, owner: PillReader | null): PillVerdict {
    if (owner === null) throw new Error("there is no room for records");
    return new PillCheck(owner).verdict(this.disks.data(path, pillAt(layoutOf(this.array), owner.slot), 8), 0);
  }
}

const wanted = new AbortController().signal;

describe("where takeover records lie", () => {
  it("is between the bitmaps and the data, whatever the members' shape", () => {
    for (const megabytes of [4, 100, 512, 1024, 16 * 1024]) {
      for (const slots of [2, 4, 64]) {
        const array = planFor([{ size: sector(megabytes * 2048) }, { size: sector(megabytes * 2048) }], { slots });
        const [member] = array.members;
        if (member === undefined) throw new Error("no member");
        const layout = takeoverLayout(array, member);
        if (layout === null) {
          expect(megabytes).toBe(4);
          continue;
        }
        expect(layout.start).toBeGreaterThanOrEqual(bitmapStart(array, member, slotNumber(slots)));
        expect(layout.start + layout.sectors).toBeLessThanOrEqual(member.dataOffset);
        const places = [layout.epochAt];
        for (let n = 0; n < slots; n++) places.push(nodeAt(layout, n), pillAt(layout, n));
        expect(new Set(places).size).toBe(2 * slots + 1);
        expect(Math.min(...places)).toBe(layout.start);
        expect(places.every((at) => at % 8 === 0)).toBe(true);
      }
    }
  });

  it("stays where it is when the array gets more slots", () => {
    const devices = [{ size: sector(2 ** 20) }, { size: sector(2 ** 20) }];
    const few = layoutOf(planFor(devices, { slots: 2 }));
    const many = layoutOf(planFor(devices, { slots: 32 }));
    expect([pillAt(few, 1), nodeAt(few, 0), few.epochAt]).toEqual([pillAt(many, 1), nodeAt(many, 0), many.epochAt]);
  });

  it("is nowhere when there is no room", async () => {
    const devices = [
      new MemoryDevice("/d0", new Uint8Array(SECTORS * 512)),
      new MemoryDevice("/d1", new Uint8Array(SECTORS * 512)),
    ];
    const array = planFor(devices, { dataOffset: sector(64) });
    expect(hasTakeoverRoom(array)).toBe(false);
    const writer = { array, devices: byNumber(devices), env, nodeName: "a" };
    expect(await introduce(writer, slot, "aa")).toBeNull();
    expect(await condemn(writer, slot)).toBeNull();
  });
});

describe("takeover records", () => {
  it("name the owner of a slot, and condemn exactly that one", async () => {
    const { array, devices, ...fixture } = Object.assign(new Fixture());
    const writer = (nodeName: string): RecordWriter => ({ array, devices, env, nodeName });
    expect(await introduce(writer("b"), slot, "b1")).toEqual({
      arrayUuid: array.uuid,
      slot,
      incarnation: "b1",
      generation: 0,
    });
    expect(await condemn(writer("a"), slot)).toMatchObject({ node: "b", incarnation: "b1" });
    for (const path of ["/d0", "/d1"]) {
      const block = fixture.disks.data(path, pillAt(layoutOf(array), slot), 8);
      expect(decodeTakeover("pill", block, array.uuid, 4)).toMatchObject({
        record: { generation: 1, incarnation: "b1", node: "b", by: "a" },
      });
      const epoch = fixture.disks.data(path, layoutOf(array).epochAt, 8);
      expect(decodeTakeover("epoch", epoch, array.uuid, 4)).toMatchObject({ record: { generation: 1, slot, by: "a" } });
    }
    // The next owner is not meant, and begins where the takeover ended.
    expect(await introduce(writer("c"), slot, "c1")).toMatchObject({ generation: 1 });
  });

  it("are written once for each owner, however often the slot is taken over", async () => {
    const fixture = new Fixture();
    await introduce(fixture.writer("b"), slot, "b1");
    expect(await condemn(fixture.writer("a"), slot)).not.toBeNull();
    expect(await condemn(fixture.writer("c"), slot)).toBeNull();
    expect((await readTakeover(fixture.array, fixture.devices)).generation).toBe(1);
    await introduce(fixture.writer("b"), slot, "b2");
    expect(await condemn(fixture.writer("a"), slot)).toMatchObject({ incarnation: "b2" });
    expect((await readTakeover(fixture.array, fixture.devices)).generation).toBe(2);
  });

  it("warn nobody who has left in order, and nobody where there was nobody", async () => {
    const fixture = new Fixture();
    expect(await condemn(fixture.writer("a"), slot)).toBeNull();
    await introduce(fixture.writer("b"), slot, "b1");
    await sayGoodbye(fixture.writer("b"), slot, "b1");
    expect(await condemn(fixture.writer("a"), slot)).toBeNull();
    expect(fixture.pillOn("/d0").type).toBe("blank");
  });

  it("let no former owner say goodbye for the present one", async () => {
    const fixture = new Fixture();
    await introduce(fixture.writer("b"), slot, "b1");
    await introduce(fixture.writer("c"), slot, "c1");
    await sayGoodbye(fixture.writer("b"), slot, "b1");
    const owner = ownerOf(await readTakeover(fixture.array, fixture.devices), slot);
    expect(owner).toMatchObject({ incarnation: "c1", state: "joined" });
  });

  it("condemn by name also who has not introduced itself yet, but nobody in place of a former owner", async () => {
    const fixture = new Fixture();
    const victim = (incarnation: string) => ({ node: "b", slot, incarnation, generation: 1 });
    await condemnVictim(fixture.writer("a"), victim("b1"), wanted);
    expect(fixture.pillOn("/d1")).toMatchObject({ record: { incarnation: "b1", node: "b", by: "a", generation: 1 } });
    // It comes to introduce itself late: the pill is older than its join, but names it.
    await introduce(fixture.writer("b"), slot, "b1");
    expect(fixture.pillOn("/d0")).toMatchObject({ record: { incarnation: "b1" } });
    const successor = await introduce(fixture.writer("c"), slot, "c1");
    await condemnVictim(fixture.writer("a"), victim("b1"), wanted);
    expect(fixture.verdictOn("/d1", successor)).toBe("clear");
    await condemnVictim(fixture.writer("a"), victim("c1"), wanted);
    expect(fixture.pillOn("/d1")).toMatchObject({ record: { incarnation: "c1", generation: 2 } });
    expect(fixture.verdictOn("/d1", successor)).toBe("condemned");
  });

  it("condemn by name on every member in sync, or not at all", async () => {
    const fixture = new Fixture();
    await introduce(fixture.writer("b"), slot, "b1");
    fixture.disks.failWrites("/d0");
    const condemning = condemnVictim(
      fixture.writer("a"),
      { node: "b", slot, incarnation: "b1", generation: 1 },
      wanted,
    );
    await expect(condemning).rejects.toThrow("the pill for b in slot 1 reads back from 1 of 2 in-sync members only");
  });

  it("are not written any more once nobody waits for them", async () => {
    const fixture = new Fixture();
    await introduce(fixture.writer("b"), slot, "b1");
    const whom = { node: "b", slot, incarnation: "b1", generation: 1 };
    await expect(condemnVictim(fixture.writer("a"), whom, AbortSignal.abort())).rejects.toThrow("was not written");
    expect(fixture.pillOn("/d0").type).toBe("blank");
  });

  it("condemn a slot's former owner when another one moves in", async () => {
    const fixture = new Fixture();
    const former = await introduce(fixture.writer("b"), slot, "b1");
    const present = await introduce(fixture.writer("c"), slot, "c1");
    for (const path of ["/d0", "/d1"]) {
      expect(fixture.verdictOn(path, former)).toBe("condemned");
      expect(fixture.verdictOn(path, present)).toBe("clear");
    }
  });

  it("are good when one member takes them, and not when none does", async () => {
    const fixture = new Fixture();
    await introduce(fixture.writer("b"), slot, "b1");
    fixture.disks.failWrites("/d0");
    expect(await condemn(fixture.writer("a"), slot)).not.toBeNull();
    expect(fixture.pillOn("/d0").type).toBe("blank");
    expect(fixture.pillOn("/d1")).toMatchObject({ record: { incarnation: "b1" } });
    // Somebody else, who can write both, makes up for it.
    fixture.disks.heal("/d0");
    expect(await condemn(fixture.writer("c"), slot)).not.toBeNull();
    expect(fixture.pillOn("/d0")).toMatchObject({ record: { incarnation: "b1" } });
    await introduce(fixture.writer("b"), slot, "b2");
    for (const path of ["/d0", "/d1"]) fixture.disks.failWrites(path);
    await expect(condemn(fixture.writer("a"), slot)).rejects.toThrow(/cannot warn b on any member/);
  });

  it("are cleared of what a device held before", async () => {
    const fixture = new Fixture();
    fixture.disks.bytes("/d1").fill(0xff, 0, 2048 * 512);
    expect(await introduce(fixture.writer("b"), slot, "b1")).toMatchObject({ generation: 0 });
    expect(fixture.pillOn("/d1").type).toBe("blank");
    expect(fixture.pillOn("/d1", slotNumber(2)).type).toBe("bad");
    expect(await condemn(fixture.writer("a"), slotNumber(2))).toBeNull();
  });
});

const haveMdadm = spawnSync("mdadm", ["--version"]).status === 0;

describe.skipIf(!haveMdadm)("the installed mdadm", () => {
  it("says the same of members with records as of members without", async () => {
    const folder = tempDir("records");
    const paths = ["disk0", "disk1"].map((name) => join(folder.path, name));
    for (const path of paths) {
      writeFileSync(path, "");
      truncateSync(path, 64 * 2 ** 20);
    }
    const devices = await Promise.all(paths.map((path) => openFileDevice(path, { readOnly: false })));
    const array = planFor(devices);
    await createArray(array, byNumber(devices));
    const ask = (what: string, path: string): string => execFileSync("mdadm", [what, path], { encoding: "utf8" });
    // It reads bitmaps of block devices only.
    const bitmap = (file: string): Promise<string> | string =>
      haveLoopDevices()
        ? withLoopDevice(file, (device) => ask("--examine-bitmap", device).replaceAll(device, file))
        : "";
    const says = async (): Promise<readonly string[]> => {
      const texts: string[] = [];
      for (const path of paths) texts.push(ask("--examine", path), await bitmap(path));
      return texts;
    };
    const before = await says();
    const writer = { array, devices: byNumber(devices), env, nodeName: "b" };
    for (let n = 0; n < 4; n++) {
      await introduce(writer, slotNumber(n), `b${n}`);
      expect(await condemn(writer, slotNumber(n))).not.toBeNull();
    }
    expect(await says()).toEqual(before);
    const assembled = await assembleArray(devices, { run: false, force: false });
    expect(assembled.missing).toEqual([]);
    expect((await readTakeover(assembled.array, assembled.devices)).generation).toBe(4);
    await Promise.all(devices.map((device) => device.close()));
    folder.remove();
  });
});
