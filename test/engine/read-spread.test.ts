import { describe, expect, it } from "vitest";
import { DATA_AT, EngineBench, isRead, member, on, range } from "../support/engine-bench.ts";
import { raid10Shape } from "../support/raid10.ts";

const SECTORS = 4096;

/** Reads of each member, in the order of the members. */
const counts = (bench: EngineBench, from = 0): number[] =>
  [...bench.ring.disks.keys()].map((path) => bench.ring.log.slice(from).filter(on(path, isRead)).length);

/** Where a client that jumps about reads next. */
function* jumps(): Generator<number> {
  for (let x = 12345; ; ) {
    x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
    yield Math.floor((x / 2 ** 32) * (SECTORS / 8)) * 8;
  }
}

/** So many reads at random places, `depth` of them in flight at any time; the oldest one ends first. */
function readAtRandom(bench: EngineBench, reads: number, depth: number): void {
  const places = jumps();
  bench.ring.hold(isRead);
  for (let i = 0; i < reads; i++) {
    bench.read(places.next().value ?? 0, 8);
    bench.run();
    if (i >= depth) endOldest(bench);
  }
  while (bench.ring.held.length > 0) endOldest(bench);
}

function endOldest(bench: EngineBench): void {
  const [oldest] = bench.ring.held;
  bench.ring.release((op) => op === oldest);
  bench.run();
}

describe("reads at random places", () => {
  it.each([
    [2, 1],
    [2, 8],
    [3, 4],
    [3, 32],
  ])("spread over %i members with %i in flight", (disks, depth) => {
    const bench = new EngineBench({ disks });
    readAtRandom(bench, 600, depth);
    const even = 600 / disks;
    for (const count of counts(bench)) {
      expect(count).toBeGreaterThan(even * 0.7);
      expect(count).toBeLessThan(even * 1.3);
    }
  });

  it("leave a member alone that does not answer, but for the few that it has", () => {
    const bench = new EngineBench({ disks: 2 });
    bench.ring.hold(on("d0", isRead));
    const places = jumps();
    const wanted = Array.from({ length: 200 }, () => {
      const read = bench.read(places.next().value ?? 0, 8);
      bench.run();
      return read;
    });
    expect(wanted.filter(({ errno }) => errno === 0).length).toBeGreaterThanOrEqual(198);
    expect(counts(bench)[0]).toBeLessThanOrEqual(2);
  });
});

describe("reads one after the other", () => {
  it("stay on one member", () => {
    const bench = new EngineBench({ disks: 3 });
    bench.read(2000, 8);
    bench.run();
    const from = bench.ring.log.length;
    for (let at = 2008; at < 3000; at += 8) {
      bench.read(at, 8);
      bench.run();
    }
    expect(counts(bench, from).filter((count) => count > 0)).toEqual([124]);
  });

  it("of two clients go to a member each", () => {
    const bench = new EngineBench({ disks: 2 });
    bench.ring.hold(isRead);
    const ends: Set<string>[] = [new Set(), new Set()];
    for (let i = 0; i < 100; i++) {
      for (const [client, base] of [0, 2048].entries()) {
        bench.read(base + i * 8, 8);
        bench.run();
        // How each begins is of no matter.
        if (i > 1) ends[client]?.add(bench.ring.log.at(-1)?.path ?? "");
        if (bench.ring.held.length > 1) endOldest(bench);
      }
    }
    expect(ends.map(({ size }) => size)).toEqual([1, 1]);
    expect(new Set(ends.flatMap((paths) => [...paths])).size).toBe(2);
  });

  it("leave a member that does not answer after a few", () => {
    const bench = new EngineBench({ disks: 2 });
    bench.ring.hold(on("d0", isRead));
    const wanted = Array.from({ length: 200 }, (_, i) => {
      const read = bench.read(i * 8, 8);
      bench.run();
      return read;
    });
    expect(wanted.filter(({ errno }) => errno === 0).length).toBeGreaterThanOrEqual(190);
  });

  it("of far copies go to all members, and to the lower half of each", () => {
    const shape = raid10Shape("f2", 2, 8, 256);
    const bench = new EngineBench({ disks: 2, shape });
    for (let at = 0; at < 1024; at += 64) {
      bench.read(at, 64);
      bench.run();
    }
    const [one = 0, other = 0] = counts(bench);
    expect(one).toBe(other);
    expect(bench.ring.log.filter(isRead).every(({ at }) => at - DATA_AT < 1024)).toBe(true);
  });
});

describe("reads do not go", () => {
  it("to a member that is being filled, beyond what it has", () => {
    const rebuilding = { state: "rebuilding", recoveredTo: 2048 } as never;
    const bench = new EngineBench({ disks: 2, members: [{}, rebuilding] });
    readAtRandom(bench, 400, 8);
    const filled = bench.ring.log.filter(on("d1", isRead));
    expect(filled.length).toBeGreaterThan(100);
    expect(filled.every(({ at, sectors }) => at - DATA_AT + sectors <= 2048)).toBe(true);
  });

  it("anywhere but to the first copy where mirrors may differ, and where another node resyncs", async () => {
    const bench = new EngineBench({ disks: 2, bits: Uint8Array.of(0b11, 0, 0, 0, 0, 0, 0, 0) });
    await bench.send({ type: "suspend", slot: 3 as never, range: range(1024, 2048) });
    readAtRandom(bench, 600, 8);
    const second = bench.ring.log.filter(on("d1", isRead)).map(({ at }) => at - DATA_AT);
    expect(second.length).toBeGreaterThan(100);
    expect(second.filter((at) => at < 128 || (at >= 1024 && at < 2048))).toEqual([]);
  });

  it("to a write-mostly member, unless no other has the data", async () => {
    const bench = new EngineBench({ disks: 3, members: [{ writeMostly: true }] });
    readAtRandom(bench, 300, 8);
    expect(counts(bench)[0]).toBe(0);
    for (const place of [1, 2]) await bench.send({ type: "setMember", member: { ...member(place), state: "faulty" } });
    bench.ring.hold(() => false);
    const read = bench.read(64, 8);
    bench.run();
    expect(read.errno).toBe(0);
    expect(counts(bench)[0]).toBe(1);
  });

  it("to a write-mostly member after a failed read, while a third has the data", () => {
    const bench = new EngineBench({ disks: 3, members: [{}, { writeMostly: true }] });
    bench.ring.fail(on("d0", isRead), -5);
    const read = bench.read(64, 8);
    bench.run();
    expect(read.errno).toBe(0);
    expect(counts(bench)[1]).toBe(0);
  });
});
