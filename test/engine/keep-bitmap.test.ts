import { describe, expect, it } from "vitest";
import { type Sector, sector } from "../../src/base/units.ts";
import { EngineBench, isBitmap, isWrite } from "../support/engine-bench.ts";

const AT = 24;
const place = (at: number) => ({
  superblock: new Uint8Array(256).fill(0x5a),
  at: new Map<number, Sector>([
    [0, sector(at)],
    [1, sector(at)],
  ]),
});

/** Bits of the first eight chunks, where the bitmap is on a member. */
const firstBits = ({ ring }: EngineBench, path: string, at: number): number =>
  ring.disks.get(path)?.[at * 512 + 256] ?? -1;

describe("a bitmap that is kept in memory alone", () => {
  it("lets writes go at once, and writes nothing of it to the members", async () => {
    const made = new EngineBench({ stored: false });
    const write = made.write(0, 8, 1);
    made.run();
    await made.settle();
    expect(write.errno).toBe(0);
    expect(made.ring.log.filter(isBitmap)).toEqual([]);
    const { answer } = await made.send({ type: "queryBitmap" });
    expect(answer).toMatchObject({ dirty: 1 });
  });

  it("is on the members with all that it has once it is kept there, and before a write that comes then", async () => {
    const made = new EngineBench({ stored: false });
    made.write(0, 8, 1);
    made.run();
    await made.settle();
    made.ring.hold(isBitmap);
    const keeping = await made.send({ type: "keepBitmap", on: place(AT) });
    const late = made.write(200, 8, 2);
    made.run();
    expect([keeping.answer, late.errno]).toEqual([null, null]);
    expect(made.ring.log.filter(isWrite)).toHaveLength(2);
    made.ring.holdNoMore();
    made.ring.release();
    made.run();
    await made.settle();
    expect([keeping.answer, late.errno]).toEqual([{ type: "none" }, 0]);
    for (const path of ["d0", "d1"]) {
      expect(firstBits(made, path, AT)).toBe(0b1001);
      // What it says of itself is new, but for its events.
      const head = made.ring.disks.get(path)?.subarray(AT * 512, AT * 512 + 256) ?? new Uint8Array();
      expect([head[0], head[24], head[255]]).toEqual([0x5a, 7, 0x5a]);
    }
  });
});

describe("a bitmap on the members", () => {
  it("is no more kept there once that was answered, however long a page takes", async () => {
    const made = new EngineBench();
    made.ring.hold(isBitmap);
    made.write(0, 8, 1);
    made.run();
    const forgetting = await made.send({ type: "keepBitmap", on: null });
    made.run();
    expect(forgetting.answer).toBeNull();
    made.ring.holdNoMore();
    made.ring.release();
    made.run();
    await made.settle();
    expect(forgetting.answer).toEqual({ type: "none" });
    const before = made.ring.log.filter(isBitmap).length;
    const write = made.write(200, 8, 2);
    made.run();
    await made.settle();
    expect([write.errno, made.ring.log.filter(isBitmap).length]).toEqual([0, before]);
  });

  it("moves only where there are raid_disks", async () => {
    const made = new EngineBench();
    const refused = await made.send({ type: "keepBitmap", on: { ...place(AT), at: new Map([[5, sector(AT)]]) } });
    expect(refused.error).toMatchObject({ code: "E_VALUE" });
  });
});
