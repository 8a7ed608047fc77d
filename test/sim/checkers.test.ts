import { describe, expect, it } from "vitest";
import { sectorRange, slotNumber } from "../../src/base/units.ts";
import type { Checker } from "../../src/sim/checkers/checker.ts";
import { ForeignWindowChecker } from "../../src/sim/checkers/foreign-window.ts";
import { dirtyChunks, judgeHealed } from "../../src/sim/checkers/healed.ts";
import { LastCopyChecker } from "../../src/sim/checkers/last-copy.ts";
import { LeaseChecker } from "../../src/sim/checkers/lease.ts";
import { MemberViewChecker } from "../../src/sim/checkers/member-view.ts";
import { TokenChecker } from "../../src/sim/checkers/token.ts";
import { WriteIntentChecker } from "../../src/sim/checkers/write-intent.ts";
import { ContentModel } from "../../src/sim/content-model.ts";
import { createSimArray } from "../../src/sim/sim-array.ts";
import type { SimDisk } from "../../src/sim/sim-disk.ts";
import type { SimEvent } from "../../src/sim/sim-event.ts";
import { SimThread } from "../../src/sim/sim-thread.ts";
import { stampSectors } from "../../src/sim/stamp.ts";
import { World } from "../../src/sim/world.ts";

/** What a checker says of a forged log. */
function judge(make: (report: (text: string) => void) => Checker, log: readonly SimEvent[]): string[] {
  const reports: string[] = [];
  const checker = make((text) => reports.push(text));
  for (const event of log) checker.observe(event);
  return reports;
}

const write = (life: string, lo: number, hi: number, more: Partial<SimEvent> = {}): SimEvent =>
  ({ type: "write_submitted", life, disk: "d0", lo, hi, area: "data", leaseHolds: true, ...more }) as SimEvent;

const landed = (life: string, lo: number, hi: number): SimEvent => ({
  type: "write_landed",
  life,
  disk: "d0",
  lo,
  hi,
  area: "data",
});

/** Disks with an array on them, and a hand that writes on them directly. */
async function makeArray() {
  const world = new World(1);
  const array = await createSimArray(world, { members: 2, slots: 4, size: 256, chunkSectors: 16 });
  const { geometry, disks } = array;
  const [first, second] = disks;
  if (first === undefined || second === undefined) throw new Error("two disks were asked for");
  const user = { life: "n1.1", thread: new SimThread(world, "n1"), leaseHolds: () => true };
  const put = async (disk: SimDisk, at: number, bytes: Uint8Array, durable = true): Promise<void> => {
    let done = false;
    disk.submit({ type: "write", at, source: bytes, durable }, user, () => {
      done = true;
    });
    await world.run(world.now + 100, () => done);
  };
  const sectorOf = (value: number, sector: number): Uint8Array => {
    const bytes = new Uint8Array(512);
    stampSectors(bytes, value, sector);
    return bytes;
  };
  /** Sets or clears a chunk's bit in a slot on both members. */
  const mark = async (slot: number, chunk: number, set: boolean, durable = true): Promise<void> => {
    const { sector, byte, mask } = geometry.bitOf(slot, chunk);
    for (const disk of disks) {
      const bytes = disk.versions.current(sector).slice();
      bytes[byte] = set ? (bytes[byte] ?? 0) | mask : (bytes[byte] ?? 0) & ~mask;
      await put(disk, sector, bytes, durable);
    }
  };
  // A new array has every bit of slot 0 set.
  for (let chunk = 0; chunk < geometry.chunks; chunk++) await mark(0, chunk, false);
  return { world, geometry, disks, first, second, put, sectorOf, mark };
}

describe("the write-intent checker", () => {
  async function watch() {
    const parts = await makeArray();
    const reports: string[] = [];
    const content = new ContentModel(parts.geometry.size);
    const checker = new WriteIntentChecker(parts.geometry, parts.disks, content, (text) => reports.push(text));
    parts.world.observe((event) => checker.observe(event));
    const writeData = (disk: SimDisk, sector: number, value: number): Promise<void> =>
      parts.put(disk, parts.geometry.dataAt + sector, parts.sectorOf(value, sector));
    return { ...parts, content, reports, writeData };
  }

  it("is content with a bit that is durable before the data", async () => {
    const { mark, writeData, first, second, reports } = await watch();
    await mark(2, 1, true);
    await writeData(first, 20, 5);
    await writeData(second, 20, 5);
    await mark(2, 1, false);
    expect(reports).toEqual([]);
  });

  it("bites when data is written without a bit", async () => {
    const { writeData, first, reports } = await watch();
    await writeData(first, 20, 5);
    expect(reports[0]).toMatch(/sector 20 may differ/);
  });

  it("lets copies differ of what two nodes wrote at once, when both are safe", async () => {
    for (const durable of [true, false]) {
      const { geometry, content, first, second, put, sectorOf, mark, reports } = await watch();
      content.beginWrite(5, "n1.1", 20, 21, 5);
      content.beginWrite(6, "n2.1", 20, 21, 6);
      await mark(2, 1, true);
      await put(first, geometry.dataAt + 20, sectorOf(5, 20));
      await put(second, geometry.dataAt + 20, sectorOf(6, 20), durable);
      await mark(2, 1, false);
      // A power cut may still leave one of them with something else.
      expect(reports).toHaveLength(durable ? 0 : 1);
    }
  });

  it("bites when the bit was written but is not durable", async () => {
    const { mark, writeData, first, reports } = await watch();
    await mark(2, 1, true, false);
    await writeData(first, 20, 5);
    expect(reports[0]).toMatch(/chunk 1 has no bit/);
  });

  it("bites when a bit is cleared while the mirrors differ", async () => {
    const { mark, writeData, first, reports } = await watch();
    await mark(2, 1, true);
    await writeData(first, 20, 5);
    expect(reports).toEqual([]);
    await mark(2, 1, false);
    expect(reports[0]).toMatch(/chunk 1 lost its last bit/);
  });

  it("bites when a bit is cleared before the data is flushed", async () => {
    const { mark, put, sectorOf, geometry, first, second, reports } = await watch();
    await mark(2, 1, true);
    for (const disk of [first, second]) await put(disk, geometry.dataAt + 20, sectorOf(5, 20), false);
    expect(reports).toEqual([]);
    await mark(2, 1, false);
    expect(reports[0]).toMatch(/chunk 1 lost its last bit/);
  });
});

describe("the foreign window checker", () => {
  const copying: SimEvent = { type: "copying", life: "n1.1", range: sectorRange(64, 128) };
  const uses = (life: string, raidDisk: number): SimEvent => ({
    type: "member_view",
    life,
    raidDisk,
    disk: "d0",
    state: "in_sync",
  });

  async function make(level: 1 | 10, raidDisk: number) {
    const members = level === 1 ? 2 : 4;
    const { geometry } = await createSimArray(new World(1), { level, members, slots: 4, size: 256, chunkSectors: 16 });
    const { dataAt } = geometry;
    const known = [uses("n1.1", raidDisk), uses("n2.1", raidDisk)];
    return {
      dataAt,
      judged: (...log: SimEvent[]) => judge((report) => new ForeignWindowChecker(geometry, report), [...known, ...log]),
    };
  }

  it("lets the owner copy and others write beside it or afterwards", async () => {
    const { judged, dataAt } = await make(1, 0);
    expect(
      judged(
        copying,
        write("n1.1", dataAt + 70, dataAt + 80),
        landed("n2.1", dataAt + 128, dataAt + 130),
        { type: "copied", life: "n1.1", sectors: 1 },
        landed("n2.1", dataAt + 70, dataAt + 80),
      ),
    ).toEqual([]);
  });

  it("takes no window from who was evicted before it began to copy", async () => {
    const { judged, dataAt } = await make(1, 0);
    const evicted: SimEvent = { type: "evicted", life: "n1.1" };
    expect(judged(evicted, copying, landed("n2.1", dataAt + 70, dataAt + 80))).toEqual([]);
  });

  it("bites on a write of another node that is issued or lands inside", async () => {
    const { judged, dataAt } = await make(1, 0);
    expect(judged(copying, write("n2.1", dataAt + 127, dataAt + 129))).toHaveLength(1);
    expect(judged(copying, landed("n2.1", dataAt + 60, dataAt + 65))).toHaveLength(1);
  });

  it("knows where a RAID10 has the window's sectors", async () => {
    // Chunks of 8 sectors: 8 to 15 are in the window, rows 4 to 7 of either pair.
    const { judged, dataAt } = await make(10, 2);
    expect(judged(copying, write("n2.1", dataAt + 64, dataAt + 72))).toEqual([]);
    expect(judged(copying, write("n2.1", dataAt + 63, dataAt + 64))).toHaveLength(1);
    expect(judged(copying, landed("n2.1", dataAt + 24, dataAt + 32))).toEqual([]);
    expect(judged(copying, landed("n2.1", dataAt + 24, dataAt + 33))).toHaveLength(1);
  });
});

describe("the lease checker", () => {
  const make = (report: (text: string) => void): Checker => new LeaseChecker(report);
  const joined: SimEvent = { type: "joined", life: "n1.1", slot: slotNumber(0) };

  it("is content with writes under a lease", () => {
    expect(judge(make, [joined, write("n1.1", 0, 1), landed("n1.1", 0, 1)])).toEqual([]);
  });

  it("bites on a write without a lease, and on one that lands after the eviction", () => {
    expect(judge(make, [joined, write("n1.1", 0, 1, { leaseHolds: false } as Partial<SimEvent>)])).toHaveLength(1);
    const late: SimEvent[] = [joined, write("n1.1", 0, 1), { type: "evicted", life: "n1.1" }, landed("n1.1", 0, 1)];
    expect(judge(make, late)[0]).toMatch(/^LATE/);
  });
});

describe("the token checker", () => {
  const make = (report: (text: string) => void): Checker => new TokenChecker(report);
  const held = (life: string): SimEvent => ({ type: "token_held", life });

  it("is content when the token is passed on, or its holder is evicted", () => {
    const log: SimEvent[] = [
      held("n1.1"),
      { type: "token_released", life: "n1.1" },
      held("n2.1"),
      { type: "evicted", life: "n2.1" },
      held("n3.1"),
    ];
    expect(judge(make, log)).toEqual([]);
  });

  it("bites on two holders", () => {
    expect(judge(make, [held("n1.1"), held("n2.1")])).toHaveLength(1);
  });
});

describe("the member view checker", () => {
  async function acknowledge(secondHasIt: boolean, secondIsFaulty: boolean): Promise<string[]> {
    const { geometry, disks, first, second, put, sectorOf } = await makeArray();
    const content = new ContentModel(geometry.size);
    await put(first, geometry.dataAt + 20, sectorOf(5, 20));
    if (secondHasIt) await put(second, geometry.dataAt + 20, sectorOf(5, 20));
    content.beginWrite(5, "n1.1", 20, 21, 5);
    content.endWrite(5, false);
    const view = (raidDisk: number, disk: string, state: "in_sync" | "faulty"): SimEvent => ({
      type: "member_view",
      life: "n2.1",
      raidDisk,
      disk,
      state,
    });
    const log: SimEvent[] = [
      view(0, first.path, "in_sync"),
      view(1, second.path, "in_sync"),
      ...(secondIsFaulty ? [view(1, second.path, "faulty")] : []),
      { type: "request", life: "n1.1", id: 5, op: "write", lo: 20, hi: 21, fua: false },
      { type: "reply", life: "n1.1", id: 5, errno: 0 },
    ];
    const byPath = new Map(disks.map((disk) => [disk.path, disk]));
    return judge((report) => new MemberViewChecker(geometry, byPath, content, report), log);
  }

  it("is content when every mirror that a node reads has the write", async () => {
    expect(await acknowledge(true, false)).toEqual([]);
    expect(await acknowledge(false, true)).toEqual([]);
  });

  it("bites when a node still reads a mirror that missed it", async () => {
    expect((await acknowledge(false, false))[0]).toMatch(/n2\.1 may read \/sim\/d1/);
  });
});

describe("the last copy checker", () => {
  it("bites when the newest superblock names no full copy", async () => {
    const { world, geometry, disks, put } = await makeArray();
    const reports: string[] = [];
    const checker = new LastCopyChecker(geometry, disks, (text) => reports.push(text));
    checker.observe({ type: "flushed", life: "n1.1", disk: "d0" });
    expect(reports).toEqual([]);
    for (const disk of disks) await put(disk, geometry.superblockAt, new Uint8Array(512));
    await world.run(world.now + 1);
    checker.observe({ type: "flushed", life: "n1.1", disk: "d0" });
    expect(reports).toHaveLength(1);
  });
});

describe("the judgement of a healed array", () => {
  it("is content with equal mirrors, clean bitmaps and explained content", async () => {
    const { geometry, disks } = await makeArray();
    expect(judgeHealed(geometry, disks, new ContentModel(geometry.size))).toEqual([]);
  });

  it("bites on mirrors that differ, bits that are left and lost writes", async () => {
    const { geometry, disks, first, put, sectorOf, mark } = await makeArray();
    const content = new ContentModel(geometry.size);
    content.beginWrite(9, "n1.1", 30, 31, 9);
    content.endWrite(9, false);
    await put(first, geometry.dataAt + 40, sectorOf(7, 40));
    await mark(3, 2, true);
    const wrong = judgeHealed(geometry, disks, content).join("\n");
    expect(wrong).toMatch(/sector 30 holds 0, possible are 9/);
    expect(wrong).toMatch(/sector 40 differs/);
    expect(wrong).toMatch(/slot 3 still has chunks 2/);
    expect(dirtyChunks(geometry, first, 3)).toEqual([2]);
  });
});
