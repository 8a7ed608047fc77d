import { describe, expect, it } from "vitest";
import { type SectorRange, sectorRange, slotNumber } from "../../src/base/units.ts";
import type { LockRecord, LockReply } from "../../src/dlm/lock-call.ts";
import { engineCounters, SharedBlock } from "../../src/engine/shared-block.ts";
import { judgeLocks, judgeRequests } from "../../src/sim/checkers/at-rest.ts";
import type { Checker } from "../../src/sim/checkers/checker.ts";
import { FaultyMemberChecker } from "../../src/sim/checkers/faulty-member.ts";
import { SuperblockEventsChecker } from "../../src/sim/checkers/superblock-events.ts";
import { SuspendListChecker } from "../../src/sim/checkers/suspend-list.ts";
import { visibleSuperblock } from "../../src/sim/disk-superblocks.ts";
import { createSimArray } from "../../src/sim/sim-array.ts";
import type { SimEvent } from "../../src/sim/sim-event.ts";
import { SimThread } from "../../src/sim/sim-thread.ts";
import { World } from "../../src/sim/world.ts";
import type { Superblock } from "../../src/superblock/superblock.ts";
import { encodeSuperblock } from "../../src/superblock/superblock-codec.ts";

/** What a checker says of a forged log. */
function judge(make: (report: (text: string) => void) => Checker, log: readonly SimEvent[]): string[] {
  const reports: string[] = [];
  const checker = make((text) => reports.push(text));
  for (const event of log) checker.observe(event);
  return reports;
}

describe("the checker of suspend lists", () => {
  const SIZE = 1000;
  const make = (report: (text: string) => void): Checker =>
    new SuspendListChecker(
      () => 0,
      () => SIZE,
      report,
    );
  const slot = slotNumber(0);
  const window = sectorRange(64, 128);
  const is = (type: "listening" | "serving" | "deaf" | "engine_stopped" | "evicted", life: string): SimEvent => ({
    type,
    life,
  });
  const lease = (life: string, until: number): SimEvent => ({ type: "lease", life, until });
  const begun = (number: number, range: SectorRange | null): SimEvent => ({
    ...{ type: "message_begun", life: "a", number, message: { type: "resyncing", from: slot, range } },
  });
  const said = (number: number): SimEvent => ({ type: "message_said", life: "a", number });
  const suspended = (life: string, range: SectorRange): SimEvent => ({ type: "suspended", life, slot, range });
  const resumed = (life: string): SimEvent => ({ type: "resumed", life, slot });
  const start = [lease("a", 1e3), is("listening", "a"), is("listening", "b"), is("serving", "b")];
  const announced = [...start, begun(1, window), suspended("b", window), said(1)];

  it("is content when all suspend what was announced, until something else is, or its owner is gone", () => {
    const withdrawn: SimEvent = { type: "window_shown", life: "a", slot, range: null };
    expect(judge(make, [...announced, withdrawn, begun(2, null), resumed("b"), said(2)])).toEqual([]);
    expect(judge(make, [...announced, is("evicted", "a"), resumed("b")])).toEqual([]);
    const whole = sectorRange(0, 2 * SIZE);
    expect(judge(make, [...start, begun(1, whole), suspended("b", sectorRange(0, SIZE)), said(1)])).toEqual([]);
  });

  it("is content with what joiners read before it is announced", () => {
    const next = sectorRange(128, 256);
    const shown: SimEvent = { type: "window_shown", life: "a", slot, range: next };
    expect(judge(make, [...announced, shown, suspended("c", next), is("serving", "c")])).toEqual([]);
  });

  it("bites when somebody suspends nothing, or something else", () => {
    expect(judge(make, [...start, begun(1, window), said(1)])).toHaveLength(1);
    expect(judge(make, [...start, begun(1, window), suspended("b", sectorRange(0, 64)), said(1)])).toHaveLength(1);
    expect(judge(make, [...announced, begun(2, null), said(2)])).toHaveLength(1);
  });

  it("bites when it is resumed too early, or never suspended by who joins", () => {
    expect(judge(make, [...announced, resumed("b")])).toHaveLength(1);
    expect(judge(make, [...announced, is("listening", "c"), is("serving", "c")])).toHaveLength(1);
  });

  it("asks nothing of a node that leaves, once its data plane has stopped", () => {
    expect(judge(make, [...start, is("engine_stopped", "b"), begun(1, window), said(1)])).toEqual([]);
  });

  it("says nothing of an owner without a lease", () => {
    expect(judge(make, [...start, lease("a", 0), begun(1, window), said(1)])).toEqual([]);
    expect(judge(make, [...announced, lease("a", 0), resumed("b")])).toEqual([]);
  });
});

describe("the checker of faulty members", () => {
  const make = (report: (text: string) => void): Checker => new FaultyMemberChecker(report);
  const view = (state: "in_sync" | "faulty"): SimEvent => ({
    ...{ type: "member_view", life: "a", raidDisk: 0, disk: "d0", state },
  });
  const write = (life: string, disk: string): SimEvent => ({
    ...{ type: "write_submitted", life, disk, lo: 0, hi: 1, area: "data", leaseHolds: true },
  });

  it("is content with writes to others, of others, and when the member is back", () => {
    expect(
      judge(make, [view("in_sync"), write("a", "d0"), view("faulty"), write("a", "d1"), write("b", "d0")]),
    ).toEqual([]);
    const back: SimEvent = { type: "member_taken", life: "a", disk: "d0" };
    expect(judge(make, [view("faulty"), back, write("a", "d0")])).toEqual([]);
  });

  it("bites on a write to a member that is faulty to the writer", () => {
    expect(judge(make, [view("in_sync"), view("faulty"), write("a", "d0")])).toHaveLength(1);
  });
});

describe("the checker of events", () => {
  async function make() {
    const world = new World(1);
    const { geometry, disks } = await createSimArray(world, { members: 2, slots: 4, size: 256, chunkSectors: 16 });
    const reports: string[] = [];
    const checker = new SuperblockEventsChecker(geometry, disks, (text) => reports.push(text));
    world.observe((event) => checker.observe(event));
    const user = { life: "n1.1", thread: new SimThread(world, "n1"), leaseHolds: () => true };
    const write = async (at: number, change: (before: Superblock) => Partial<Superblock>): Promise<void> => {
      const disk = disks[at];
      const before = disk === undefined ? null : visibleSuperblock(disk, geometry);
      if (disk === undefined || before === null) throw new Error("no superblock");
      const source = new Uint8Array(4096);
      source.set(encodeSuperblock({ ...before, ...change(before) }));
      let done = false;
      disk.submit({ type: "write", at: geometry.superblockAt, source, durable: true }, user, () => {
        done = true;
      });
      await world.run(world.now + 100, () => done);
    };
    const message = { type: "metadata_updated", from: slotNumber(0), number: 0 } as const;
    const tell = (): void => world.tell({ type: "message_begun", life: "n1.1", number: 1, message });
    return { reports, write, tell };
  }
  const next = ({ events }: Superblock): Partial<Superblock> => ({ events: events + 1 });
  const last = ({ events }: Superblock): Partial<Superblock> => ({ events: events - 1 });
  const other = ({ utime }: Superblock): Partial<Superblock> => ({ utime: { ...utime, seconds: utime.seconds + 1 } });

  it("is content with numbers that rise, and with one that is written again for the same", async () => {
    const { reports, write } = await make();
    for (const at of [0, 1, 0, 1]) await write(at, next);
    await write(1, () => ({}));
    expect(reports).toEqual([]);
  });

  it("bites on a number that falls, on the device or behind another's", async () => {
    const { reports, write } = await make();
    for (const at of [0, 1]) await write(at, next);
    await write(0, last);
    expect(reports.join("\n")).toMatch(/after events \d+ on \/sim\/d0\n.*after events \d+ on \/sim\/d1/);
  });

  it("lets an update that failed half way say something else under its number, until it is told of", async () => {
    const { reports, write, tell } = await make();
    await write(0, next);
    await write(0, other);
    tell();
    expect(reports).toEqual([]);
    await write(1, next);
    tell();
    expect(reports).toEqual([expect.stringMatching(/tells of events \d+, under which members differ/)]);
  });

  it("bites on a number that is used twice", async () => {
    const { reports, write } = await make();
    await write(0, other);
    expect(reports[0]).toMatch(/used on \/sim\/d0 for another state/);
  });
});

describe("the judgement of a cluster at rest", () => {
  const lock = (slot: number, mode: LockRecord["gr"], more: Partial<LockRecord> = {}): LockRecord => ({
    ...{ lkid: 1, slot, queue: "g", gr: mode, rq: -1 as LockRecord["rq"], ex: 0, sb: 0, hi: 0, bast: false },
    ...{ lvbSeq: 0, order: 0 },
    ...more,
  });
  const judged = (locks: Readonly<Record<string, readonly LockRecord[]>>): readonly string[] => {
    const resources = Object.entries(locks).map(([name, all]) => ({ name, lvbSeq: 0, lvbInvalid: false, locks: all }));
    const members = [1, 2].map((slot) => ({ slot, node: `n${slot}` }));
    return judgeLocks({ resources, members } as unknown as LockReply);
  };
  const modes = { nl: 0, cr: 1, pw: 4, ex: 5 } as const;

  it("is content with what members hold", () => {
    const both = (mode: LockRecord["gr"]): readonly LockRecord[] => [lock(1, mode), lock(2, mode)];
    const own = { bitmap0000: [lock(1, modes.pw), lock(2, modes.nl)], bitmap0001: [lock(2, modes.pw)] };
    expect(judged({ token: both(modes.nl), ack: both(modes.cr), result0001: [lock(2, modes.pw)], ...own })).toEqual([]);
  });

  it("bites on a lock that is kept, of another's slot, of nobody, or that is waited for", () => {
    expect(judged({ resync: [lock(1, modes.ex)] })).toEqual(["lock left over: resync by slot 0 in EX"]);
    expect(judged({ bitmap0001: [lock(2, modes.pw), lock(1, modes.pw)] })).toHaveLength(1);
    expect(judged({ token: [lock(3, modes.nl)] })).toHaveLength(1);
    expect(judged({ token: [lock(1, modes.nl, { queue: "c", rq: modes.ex })] })).toHaveLength(1);
    expect(judged({ ack: [lock(1, modes.cr)] })).toEqual(["n2 has no lock on ack"]);
  });

  it("bites on requests and commands that are not answered", () => {
    const shared = new SharedBlock();
    expect(judgeRequests("n1.1", shared, 0)).toEqual([]);
    shared.set(engineCounters.indexOf("waitingOnSuspend"), 1);
    expect(judgeRequests("n1.1", shared, 2)).toHaveLength(2);
  });
});
