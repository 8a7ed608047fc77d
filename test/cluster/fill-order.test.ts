import { describe, expect, it } from "vitest";
import { sector, sectorRange } from "../../src/base/units.ts";
import {
  arrayRangeOf,
  fillEnd,
  fillPosition,
  memberFilledTo,
  nextInFill,
  sectionAt,
} from "../../src/cluster/fill-order.ts";
import { Raid1 } from "../../src/raid1/raid1.ts";
import { Raid10 } from "../../src/raid10/raid10.ts";
import { raid10Shape } from "../support/raid10.ts";

const far = new Raid10(raid10Shape("f2", 4, 16, 64));
const mirror = new Raid1(2, sector(1000));
const { size } = far;

describe("the order in which a member is filled", () => {
  it("is that of the array, once for each section of the member", () => {
    expect([fillEnd(mirror), fillEnd(far)]).toEqual([1000, 2 * size]);
    const chunk = (from: number) => (from <= 32 ? sectorRange(Math.max(from, 32), 48) : null);
    const found: (number | undefined)[] = [];
    let range = nextInFill(far, sector(0), chunk);
    for (; range !== null; range = nextInFill(far, sector(range.hi), chunk)) found.push(range.lo, range.hi);
    expect(found).toEqual([32, 48, size + 32, size + 48]);
    expect(nextInFill(mirror, sector(48), chunk)).toBeNull();
  });

  it("comes back as array sectors and sections", () => {
    expect(arrayRangeOf(far, sectorRange(size + 32, 2 * size))).toEqual({ lo: 32, hi: size });
    expect(arrayRangeOf(far, sectorRange(32, 2 * size))).toEqual({ lo: 0, hi: size });
    expect([sectionAt(far, sector(5)), sectionAt(far, sector(size))]).toEqual([far.fillSection(0), far.fillSection(1)]);
    expect(sectionAt(mirror, sector(5))).toBeNull();
  });

  it("goes on from what superblocks say, in the section that it lies in", () => {
    for (let position = 0; position <= 2 * size; position += 16) {
      const on = memberFilledTo(far, sector(position));
      const next = fillPosition(far, on);
      expect(next).toBeLessThanOrEqual(position);
      expect(position - next).toBeLessThan(4 * 16 + 16);
    }
    expect(fillPosition(mirror, sector(77))).toBe(77);
  });
});
