import { describe, expect, it } from "vitest";
import { CopySpeed } from "../../src/engine/copy-speed.ts";
import { EngineBench, isRead } from "../support/engine-bench.ts";

/** Sectors of so many KiB. */
const kib = (count: number): number => count * 2;

describe("the least speed of a copy", () => {
  it("is not reached before so much was copied, whatever the first second looks like", () => {
    const speed = new CopySpeed(1000);
    expect(speed.isBelow(50_000)).toBe(true);
    speed.add(kib(999));
    expect(speed.isBelow(50_000)).toBe(true);
    speed.add(kib(1));
    expect(speed.isBelow(50_000)).toBe(false);
    expect(speed.isBelow(50_100)).toBe(true);
  });

  it("is compared with the mean of the last marks: a stall is made up for, an old burst is forgotten", () => {
    const speed = new CopySpeed(1000);
    speed.isBelow(0);
    speed.add(kib(20_000));
    for (let at = 1000; at <= 18_000; at += 1000) expect([at, speed.isBelow(at)]).toEqual([at, false]);
    expect(speed.isBelow(20_000)).toBe(true);
    for (let at = 21_000; at < 60_000; at += 1000) {
      speed.add(kib(1300));
      speed.isBelow(at);
    }
    expect(speed.isBelow(60_000)).toBe(false);
    for (let at = 61_000; at < 100_000; at += 1000) {
      speed.add(kib(700));
      speed.isBelow(at);
    }
    expect(speed.isBelow(100_000)).toBe(true);
  });

  it("begins anew with a pass that comes long after the last one", () => {
    const speed = new CopySpeed(1000);
    speed.isBelow(0);
    speed.add(kib(1_000_000));
    expect(speed.isBelow(1000)).toBe(false);
    expect(speed.isBelow(40_000)).toBe(true);
  });

  it("of 0 is always reached", () => {
    expect(new CopySpeed(0).isBelow(5)).toBe(false);
  });
});

describe("a copy beside a client's request", () => {
  /** Sectors that are read at once for a copy while a read of a client is in flight. */
  async function readAtOnce(least: number): Promise<number> {
    const bench = new EngineBench({ bits: Uint8Array.of(255), chunkSectors: 512 });
    await bench.send({ type: "setCopyLeast", kib: least });
    bench.ring.hold(isRead);
    bench.read(4000, 8);
    bench.run();
    const from = bench.ring.log.length;
    void bench.engine.send({ type: "copy", kind: "resync", range: { lo: 0 as never, hi: 4096 as never } });
    bench.run();
    const sectors = bench.ring.log.slice(from).reduce((sum, op) => sum + (isRead(op) ? op.sectors : 0), 0);
    bench.ring.release();
    bench.run();
    return sectors;
  }

  it("makes room for it above the least speed, and does not below", async () => {
    expect([await readAtOnce(0), await readAtOnce(1000)]).toEqual([256, 512]);
  });
});
