import { describe, expect, it } from "vitest";
import { REQUEST_FUA, RequestOp } from "../../src/blockdev/front-end.ts";
import { diskName, EngineBench, isData, isRead, on, type TestRequest } from "../support/engine-bench.ts";
import type { FakeOp } from "../support/fake-ring.ts";
import { raid10Shape } from "../support/raid10.ts";

/** Whatever is asked for, and whichever members fail it: the answer, what becomes of the members, and the bits. */

const EIO = -5;
const NEW = 7;
const OLD = 1;
/** Sectors; two chunks of the bitmap, of 64 sectors each, and unaligned to both. */
const AT = 61;
const SECTORS = 9;

interface Operation {
  readonly submit: (bench: EngineBench) => TestRequest;
  /** What a member is asked that fails. */
  readonly isLeg: (op: FakeOp) => boolean;
  /** What the range holds on a member that took it. */
  readonly holds: number;
  readonly during: "write" | "flush";
  readonly changes: boolean;
}

const isWriteOrZero = (op: FakeOp): boolean => isData(op) && op.type !== "read";
const isFlush = (op: FakeOp): boolean => op.type === "flush";

const zeroing = (op: RequestOp, flags: number): Operation => ({
  submit: (bench) => bench.submit(op, AT, SECTORS, 0, flags),
  isLeg: isWriteOrZero,
  holds: 0,
  during: "write",
  changes: true,
});

const operations: Readonly<Record<string, Operation>> = {
  write: {
    submit: (bench) => bench.write(AT, SECTORS, NEW),
    isLeg: isWriteOrZero,
    holds: NEW,
    during: "write",
    changes: true,
  },
  "write with FUA": {
    submit: (bench) => bench.write(AT, SECTORS, NEW, REQUEST_FUA),
    isLeg: isWriteOrZero,
    holds: NEW,
    during: "write",
    changes: true,
  },
  flush: { submit: (bench) => bench.flush(), isLeg: isFlush, holds: OLD, during: "flush", changes: false },
  discard: zeroing(RequestOp.discard, 0),
  "discard with FUA": zeroing(RequestOp.discard, REQUEST_FUA),
  "write-zeroes": zeroing(RequestOp.zero, 0),
  "write-zeroes with FUA": zeroing(RequestOp.zero, REQUEST_FUA),
};

const levels = {
  "RAID1 of 2": { disks: 2 },
  "RAID1 of 3": { disks: 3 },
  "RAID1 of 4": { disks: 4 },
  "RAID10 n2 of 4": { disks: 4, shape: raid10Shape("n2", 4, 64, 1024) },
} as const;

/** The array holds something everywhere in the range, and its bits are durable. */
function benchOf(level: (typeof levels)[keyof typeof levels]): EngineBench {
  const bench = new EngineBench(level);
  bench.write(0, 128, OLD);
  bench.run();
  return bench;
}

/** Of each place: does it hold a copy of something in the range? And of which places is one needed. */
function groupsOf(level: keyof typeof levels): readonly (readonly number[])[] {
  if (level === "RAID10 n2 of 4") {
    return [
      [0, 1],
      [2, 3],
    ];
  }
  return [Array.from({ length: levels[level].disks }, (_, place) => place)];
}

/** In the order of places each may fail that is not the last copy of something. */
function mayGo(groups: readonly (readonly number[])[], failing: readonly number[]): readonly number[] {
  const gone: number[] = [];
  for (const place of failing) {
    const isLast = groups.some(
      (group) => group.includes(place) && group.every((one) => one === place || gone.includes(one)),
    );
    if (!isLast) gone.push(place);
  }
  return gone;
}

const patterns = Object.keys(levels).flatMap((level) => {
  const { disks } = levels[level as keyof typeof levels];
  return Object.keys(operations).flatMap((operation) =>
    Array.from({ length: 2 ** disks }, (_, mask) => {
      const failing = Array.from({ length: disks }, (_, place) => place).filter((place) => ((mask >> place) & 1) === 1);
      return [level as keyof typeof levels, operation, failing] as const;
    }),
  );
});

describe("an operation that fails on some members", () => {
  it.each(patterns)("%s, %s, on %j", async (level, name, failing) => {
    const operation = operations[name];
    if (operation === undefined) throw new RangeError(name);
    const bench = benchOf(levels[level]);
    const groups = groupsOf(level);
    for (const place of failing) bench.ring.fail(on(diskName(place), operation.isLeg), EIO);
    const request = operation.submit(bench);
    bench.run();

    const gone = mayGo(groups, failing);
    const isLost = gone.length < failing.length;
    const told = bench
      .failures()
      .map((notice) => ("place" in notice ? [notice.place, "during" in notice && notice.during] : []));
    expect(told).toEqual(gone.map((place) => [place, operation.during]));
    // An error is told at once: no answer that claims success may come before all nodes know who lacks it.
    expect(request.errno).toBe(isLost ? 5 : gone.length > 0 ? null : 0);
    for (const [i, place] of gone.entries()) {
      await bench.send({ type: "settleFailure", place, outcome: "faulty" });
      if (!isLost) expect(request.errno).toBe(i === gone.length - 1 ? 0 : null);
    }
    expect(request.errno).toBe(isLost ? 5 : 0);

    bench.ring.heal();
    const holders = Array.from({ length: levels[level].disks }, (_, place) => place).filter(
      (place) => !failing.includes(place),
    );
    if (level !== "RAID10 n2 of 4") {
      for (const place of holders) {
        expect([...new Set(bench.content(diskName(place), AT, SECTORS))]).toEqual([operation.holds]);
      }
    }
    // Nothing is read from who failed, and nothing of what was answered is lost.
    const from = bench.ring.log.length;
    const read = bench.read(AT, SECTORS);
    bench.run();
    expect(read.errno).toBe(0);
    const readFrom = bench.ring.log.slice(from).filter(isRead);
    for (const place of gone) expect(readFrom.some(({ path }) => path === diskName(place))).toBe(false);
    if (!isLost) {
      const bytes = bench.ring.arena.subarray(read.buffer, read.buffer + SECTORS * 512);
      expect([...new Set(bytes)]).toEqual([operation.holds]);
    }
    // The bits stay for as long as somebody lacks the range, or may hold another half of it than the others.
    for (let period = 0; period < 6; period++) bench.pass(5001);
    const left = Array.from({ length: levels[level].disks }, (_, place) => place).filter(
      (place) => !gone.includes(place),
    );
    const keeps = gone.length > 0 || (isLost && operation.changes);
    for (const place of left) {
      for (const chunk of [0, 1]) expect(bench.bitOnDisk(diskName(place), chunk)).toBe(keeps);
    }
  });

  it.each(["discard", "write-zeroes"])("%s is data where the member cannot do it: nobody fails", (name) => {
    const bench = benchOf(levels["RAID1 of 3"]);
    bench.ring.fail(
      on("d1", (op) => op.type === "zero"),
      -95,
    );
    const request = operations[name]?.submit(bench);
    bench.run();
    expect([request?.errno, bench.failures()]).toEqual([0, []]);
    for (const path of ["d0", "d1", "d2"]) expect([...new Set(bench.content(path, AT, SECTORS))]).toEqual([0]);
  });
});
