import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { Raid1 } from "../../src/raid1/raid1.ts";

describe("RAID1", () => {
  const raid1 = new Raid1(3, sector(8192));

  it("has every sector on every member, at the same place, in one piece", () => {
    const disks = new Int32Array(3);
    const sectors = new Float64Array(3);
    raid1.map(sector(4097), disks, sectors);
    expect([...disks]).toEqual([0, 1, 2]);
    expect([...sectors]).toEqual([4097, 4097, 4097]);
    expect(raid1.contiguous(sector(8), sector(8192))).toBe(8184);
    expect(raid1.copies).toBe(3);
  });

  it.each([
    [[1, 1, 1], true],
    [[0, 0, 1], true],
    [[0, 0, 0], false],
  ])("with members %j left survives: %s", (alive, survives) => {
    expect(raid1.survives(Uint8Array.from(alive))).toBe(survives);
  });
});
