import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { WRITE_DURABLE } from "../../src/blockdev/io-ring.ts";
import { SimClock } from "../../src/sim/sim-clock.ts";
import { SimDisk } from "../../src/sim/sim-disk.ts";
import { SimRing, type SimRingOptions } from "../../src/sim/sim-ring.ts";
import { SimThread } from "../../src/sim/sim-thread.ts";
import { World } from "../../src/sim/world.ts";

function setUp(seed = 1, options: Partial<SimRingOptions> = {}) {
  const world = new World(seed);
  const thread = new SimThread(world, "n1");
  const disk = new SimDisk(world, { path: "d0", sectors: 64 });
  const ring = new SimRing({
    world,
    clock: new SimClock(world, thread),
    user: { life: "n1.1", thread, leaseHolds: () => true },
    disks: new Map([["d0", disk]]),
    entries: 8,
    arenaBytes: 1 << 16,
    ...options,
  });
  const device = ring.openDevice("d0", { readOnly: false });
  const results = new Map<number, number>();
  ring.onReady.set(() => {
    const count = ring.submitAndReap(0);
    for (let i = 0; i < count; i++) results.set(ring.completedTag[i] ?? 0, ring.completedResult[i] ?? 0);
  });
  const drain = async (): Promise<Map<number, number>> => {
    await world.run(world.now + 100);
    return results;
  };
  return { world, thread, disk, ring, device, drain };
}

describe("a simulated ring", () => {
  it("moves data between its arena and a disk, with the tags it was given", async () => {
    const { ring, device, drain } = setUp();
    ring.arena.fill(9, 512, 1536);
    ring.write(device, sector(4), 2, 512, WRITE_DURABLE, 77);
    await drain();
    ring.read(device, sector(3), 4, 4096, 0xffff_ffff);
    ring.flush(device, 3);
    expect(await drain()).toEqual(
      new Map([
        [77, 1024],
        [0xffff_ffff, 2048],
        [3, 0],
      ]),
    );
    expect(ring.arena.subarray(4096, 6144).filter((byte) => byte === 9)).toHaveLength(1024);
    expect(ring.arena[4096 + 512]).toBe(9);
  });

  it("completes in another order than it was asked, for some seed", async () => {
    const orders = new Set<string>();
    for (let seed = 0; seed < 10; seed++) {
      const { ring, device, drain } = setUp(seed);
      for (let tag = 0; tag < 4; tag++) ring.write(device, sector(tag * 8), 1, 0, 0, tag);
      orders.add([...(await drain()).keys()].join());
    }
    expect(orders.size).toBeGreaterThan(3);
  });

  it("cuts transfers short where told to, by whole sectors", async () => {
    const { ring, device, drain } = setUp(1, { shortTransfers: 1 });
    for (let tag = 0; tag < 4; tag++) ring.read(device, sector(0), 8, tag * 4096, tag);
    for (const result of (await drain()).values()) {
      expect(result % 512).toBe(0);
      expect(result).toBeGreaterThan(0);
      expect(result).toBeLessThan(4096);
    }
  });

  it("answers mistakes as completions", async () => {
    const { ring, drain, device } = setUp(1, { zeroes: false });
    const readOnly = ring.openDevice("d0", { readOnly: true });
    ring.read(device, sector(63), 2, 0, 1);
    ring.write(readOnly, sector(0), 1, 0, 0, 2);
    ring.read(9, sector(0), 1, 0, 3);
    ring.zero(device, sector(0), 1, true, 4);
    expect(await drain()).toEqual(
      new Map([
        [1, -22],
        [3, -9],
        [4, -95],
        [2, -9],
      ]),
    );
  });

  it("zeroes a range", async () => {
    const { ring, device, drain, disk } = setUp();
    ring.arena.fill(1);
    ring.write(device, sector(0), 4, 0, 0, 1);
    await drain();
    ring.zero(device, sector(1), 2, true, 2);
    expect((await drain()).get(2)).toBe(0);
    expect([0, 1, 2, 3].map((at) => disk.versions.current(at)[0])).toEqual([1, 0, 0, 1]);
  });

  it("calls its owner after the time it wished to wait", async () => {
    const { ring, world } = setUp();
    let turns = 0;
    ring.onReady.set(() => {
      turns++;
      ring.submitAndReap(10);
    });
    ring.wake();
    await world.run(35);
    expect(turns).toBe(4);
  });
});
