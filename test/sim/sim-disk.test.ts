import { describe, expect, it } from "vitest";
import { type DiskOp, type DiskUser, SimDisk } from "../../src/sim/sim-disk.ts";
import type { SimEvent } from "../../src/sim/sim-event.ts";
import { SimThread } from "../../src/sim/sim-thread.ts";
import { World } from "../../src/sim/world.ts";

const filled = (byte: number, sectors = 1): Uint8Array => new Uint8Array(sectors * 512).fill(byte);

function setUp(seed = 1) {
  const world = new World(seed);
  const thread = new SimThread(world, "n1");
  const user: DiskUser = { life: "n1.1", thread, leaseHolds: () => true };
  const disk = new SimDisk(world, { path: "d0", sectors: 64 });
  const events: SimEvent[] = [];
  world.observe((event) => events.push(event));
  const run = async (op: DiskOp): Promise<number> => {
    let result: number | null = null;
    disk.submit(op, user, (got) => {
      result = got;
    });
    await world.run(world.now + 1000, () => result !== null);
    return result ?? Number.NaN;
  };
  const write = (at: number, source: Uint8Array, durable = false): Promise<number> =>
    run({ type: "write", at, source, durable });
  const read = async (at: number, sectors = 1): Promise<Uint8Array> => {
    const target = new Uint8Array(sectors * 512);
    await run({ type: "read", at, target });
    return target;
  };
  return { world, thread, user, disk, events, run, write, read };
}

describe("a simulated disk", () => {
  it("reads back what was written", async () => {
    const { write, read } = setUp();
    expect(await write(3, filled(7, 2))).toBe(1024);
    expect(await read(2, 4)).toEqual(new Uint8Array([...filled(0), ...filled(7, 2), ...filled(0)]));
  });

  it("keeps flushed and durable writes at a power cut, whatever the seed", async () => {
    for (let seed = 0; seed < 20; seed++) {
      const { disk, run, write, read } = setUp(seed);
      await write(0, filled(1, 4));
      expect(await run({ type: "flush" })).toBe(0);
      await write(8, filled(2, 4), true);
      disk.powerCut();
      expect(await read(0, 4)).toEqual(filled(1, 4));
      expect(await read(8, 4)).toEqual(filled(2, 4));
    }
  });

  it("loses un-flushed sectors one by one at a power cut: a write may be torn", async () => {
    const kept = new Set<number>();
    for (let seed = 0; seed < 20; seed++) {
      const { disk, write, read } = setUp(seed);
      await write(0, filled(1, 8));
      disk.powerCut();
      kept.add((await read(0, 8)).filter((byte) => byte === 1).length / 512);
    }
    expect(kept.size).toBeGreaterThan(2);
    for (const sectors of kept) expect(Number.isInteger(sectors)).toBe(true);
  });

  it("may bring back any version since the last flush, but none from before it", async () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 40; seed++) {
      const { disk, run, write, read } = setUp(seed);
      await write(0, filled(1));
      await write(0, filled(2));
      await run({ type: "flush" });
      await write(0, filled(3));
      await write(0, filled(4));
      disk.powerCut();
      seen.add((await read(0))[0] ?? 0);
    }
    expect([...seen].sort()).toEqual([2, 3, 4]);
  });

  it("does not count a write that completed after the flush was submitted", async () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 40; seed++) {
      const { disk, world, user, read } = setUp(seed);
      let left = 2;
      disk.submit({ type: "write", at: 0, source: filled(1), durable: false }, user, () => left--);
      disk.submit({ type: "flush" }, user, () => left--);
      await world.run(100, () => left === 0);
      disk.powerCut();
      seen.add((await read(0))[0] ?? 9);
    }
    expect([...seen].sort()).toEqual([0, 1]);
  });

  it("fails reads and writes of a bad range with EIO, and only those", async () => {
    const { disk, write, read, run, events } = setUp();
    disk.bad = [{ lo: 4, hi: 5, read: true, write: true }];
    expect(await write(2, filled(1, 4))).toBe(-5);
    expect(await run({ type: "read", at: 4, target: new Uint8Array(512) })).toBe(-5);
    expect(await write(8, filled(1))).toBe(512);
    expect(await read(5)).toEqual(filled(0));
    expect(events.filter(({ type }) => type === "disk_error")).toHaveLength(2);
  });

  it("lets writes of a killed process land at most until their latency is over", async () => {
    let landed = 0;
    for (let seed = 0; seed < 40; seed++) {
      const { disk, world, thread, user } = setUp(seed);
      let completed = false;
      disk.submit({ type: "write", at: 0, source: filled(1, 8), durable: false }, user, () => {
        completed = true;
      });
      thread.end();
      disk.abandon([thread]);
      await world.run(5);
      expect(completed).toBe(false);
      if ((disk.versions.current(0)[0] ?? 0) === 1) landed++;
    }
    expect(landed).toBeGreaterThan(5);
    expect(landed).toBeLessThan(35);
  });
});
