import { describe, expect, it } from "vitest";
import { CopyGroups } from "../../src/array/copy-groups.ts";
import type { ArrayShape, Personality } from "../../src/array/personality.ts";
import { MdError } from "../../src/base/md-error.ts";
import { type Sector, sector } from "../../src/base/units.ts";
import { builtInPersonalities, type Personalities } from "../../src/engine/personalities.ts";
import { EngineBench, isWrite, member, on, range } from "../support/engine-bench.ts";

/** Members one after the other, each sector once: what md calls linear. */
class Linear implements Personality {
  readonly raidDisks: number;
  readonly copies = 1;
  readonly size: Sector;
  readonly #memberSize: Sector;
  readonly #groups: CopyGroups;

  constructor(shape: ArrayShape) {
    this.raidDisks = shape.raidDisks;
    this.size = shape.size;
    this.#memberSize = shape.memberSize;
    this.#groups = new CopyGroups(shape);
  }

  contiguous(at: Sector, hi: Sector): number {
    return Math.min(hi - at, this.#memberSize - (at % this.#memberSize));
  }

  map(at: Sector, raidDisk: Int32Array, sectorOnMember: Float64Array): void {
    raidDisk[0] = Math.floor(at / this.#memberSize);
    sectorOnMember[0] = at % this.#memberSize;
  }

  arraySectorAt(raidDisk: number, sectorOnMember: number): number {
    return raidDisk * this.#memberSize + sectorOnMember;
  }

  survives(alive: Uint8Array): boolean {
    return this.#groups.survives(alive);
  }

  isLastCopy(raidDisk: number, alive: Uint8Array): boolean {
    return this.#groups.isLastCopy(raidDisk, alive);
  }

  resized(): never {
    throw new MdError("E_VALUE", "a linear array stays as it is");
  }

  memberFilledTo(): Sector {
    return sector(0);
  }

  arrayFilledTo(): Sector {
    return sector(0);
  }
}

const LINEAR = -1;
const personalities: Personalities = new Map([
  ...builtInPersonalities,
  [LINEAR, (shape: ArrayShape): Personality => new Linear(shape)],
]);

const linearShape = { level: LINEAR, layout: 0, chunkSectors: 0, memberSize: sector(1000), size: sector(3000) };

const linearBench = (): EngineBench =>
  new EngineBench({ disks: 3, shape: linearShape, personalities, bits: new Uint8Array(6) });

describe("a personality that the engine was not made for", () => {
  it("is served by the same paths: requests go round the ends of members", () => {
    const bench = linearBench();
    const write = bench.write(900, 1200, 8);
    bench.run();
    const read = bench.read(900, 1200);
    bench.run();
    expect([write.errno, read.errno]).toEqual([0, 0]);
    expect(new Set(bench.content("d0", 900, 100))).toEqual(new Set([8]));
    expect(new Set(bench.content("d1", 0, 1000))).toEqual(new Set([8]));
    expect(new Set(bench.content("d2", 0, 100))).toEqual(new Set([8]));
    expect(new Set(bench.content("d2", 100, 100))).toEqual(new Set([0]));
    expect(new Set(bench.ring.arena.subarray(read.buffer, read.buffer + 1200 * 512))).toEqual(new Set([8]));
  });

  it("fails no member that nothing can stand in for", () => {
    const bench = linearBench();
    bench.ring.fail(on("d1", isWrite), -5);
    const bad = bench.write(1500, 8, 1);
    const good = bench.write(100, 8, 1);
    bench.run();
    expect([bad.errno, good.errno]).toEqual([5, 0]);
    expect(bench.failures()).toEqual([]);
  });

  it("has nothing to copy from: marked chunks are equal to themselves, and no member is written", async () => {
    const bits = new Uint8Array(6).fill(0xff, 0, 5);
    const bench = new EngineBench({ disks: 3, shape: linearShape, personalities, bits });
    expect(bench.shared.read("neededChunks")).toBe(40);
    const { answer } = await bench.send({ type: "copy", kind: "resync", range: range(0, 3000) });
    expect(answer).toMatchObject({ failed: false, sectors: 0 });
    expect(bench.shared.read("neededChunks")).toBe(0);
    expect(bench.ring.log.filter(isWrite)).toEqual([]);
  });

  it("is flushed on every member, and not without one of them", () => {
    const bench = linearBench();
    const good = bench.flush();
    bench.run();
    expect(good.errno).toBe(0);
    const flushed = bench.ring.log.filter(({ type }) => type === "flush").map(({ path }) => path);
    expect(new Set(flushed)).toEqual(new Set(["d0", "d1", "d2"]));
    bench.ring.fail((op) => op.type === "flush" && op.path === "d2", -5);
    const bad = bench.flush();
    bench.run();
    expect(bad.errno).toBe(5);
    expect(bench.failures()).toEqual([]);
  });

  it("does not begin without one of its members, and lets none of them go", async () => {
    const members = [{}, { state: "faulty" as const }, {}];
    expect(
      () => new EngineBench({ disks: 3, shape: linearShape, personalities, members, bits: new Uint8Array(6) }),
    ).toThrow("no copy is in sync");
    const bench = linearBench();
    const { error } = await bench.send({ type: "setMember", member: { ...member(1), state: "faulty" } });
    expect(error).toMatchObject({ code: "E_LAST_COPY" });
  });

  it("is refused where nobody has registered it", () => {
    expect(() => new EngineBench({ disks: 3, shape: linearShape, bits: new Uint8Array(6) })).toThrow(
      "level -1 is not supported",
    );
  });
});
