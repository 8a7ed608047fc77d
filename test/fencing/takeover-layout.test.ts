import { describe, expect, it } from "vitest";
import { badBlockSpan } from "../../src/array/bad-block-place.ts";
import type { BitmapKind, MdArray } from "../../src/array/md-array.ts";
import type { Member } from "../../src/array/member.ts";
import { sector } from "../../src/base/units.ts";
import { slotStart } from "../../src/bitmap/bitmap-layout.ts";
import { nodeAt, pillAt, takeoverLayout } from "../../src/fencing/takeover-layout.ts";
import { planFor } from "../array/example.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const SECTORS = 1 << 20;

function planned(bitmap: BitmapKind, dataOffset: number, slots = 2): MdArray | null {
  try {
    return planFor([{ size: sector(SECTORS) }], { bitmap, slots, dataOffset: sector(dataOffset), badBlockLog: true });
  } catch {
    return null;
  }
}

/** Each record by itself: epoch, and every slot's two. */
function recordsOf(array: MdArray, member: Member): readonly number[] {
  const layout = takeoverLayout(array, member);
  if (layout === null) return [];
  const slots = Array.from({ length: layout.slots }, (_, slot) => [nodeAt(layout, slot), pillAt(layout, slot)]);
  return [layout.epochAt, ...slots.flat()];
}

function expectApart(array: MdArray, member: Member): number {
  const records = recordsOf(array, member);
  const { layout, offset, slots } = array.bitmap;
  const bitmapsEnd = slotStart(layout, member.superOffset, offset, slots);
  const log = badBlockSpan(array, member);
  const isApart = (at: number): boolean => log === null || at + 8 <= log.lo || at >= log.hi;
  const wrong = records.filter((at) => at % 8 !== 0 || at < bitmapsEnd || at + 8 > member.dataOffset || !isApart(at));
  expect({ wrong, log }).toEqual({ wrong: [], log });
  expect(new Set(records).size).toBe(records.length);
  return records.length;
}

describe("takeover records", () => {
  it.each(["none", "internal", "clustered"] as const)(
    "lie beside bitmaps, bad-block log and data, at every data offset and wherever the log is (bitmap %s)",
    (bitmap) => {
      const random = new SeededRandom(5);
      let seen = 0;
      for (let dataOffset = 24; dataOffset < 400; dataOffset += dataOffset < 80 ? 1 : 7) {
        const array = planned(bitmap, dataOffset);
        const [member] = array?.members ?? [];
        if (array === null || member === undefined) continue;
        // Where mdadm puts it when it makes an array, when it updates one, right before the data; and anywhere.
        const places = [member.badBlockLog?.offset ?? 80, 80, dataOffset - 8 - 8, dataOffset - 8 - 12];
        for (let i = 0; i < 6; i++) places.push(8 + random.below(dataOffset));
        for (const offset of places) {
          if (offset < 8 || 8 + offset + 8 > dataOffset) continue;
          const badBlockLog = { offset, sectors: 8, shift: 0, entries: [] };
          seen += expectApart(array, { ...member, badBlockLog });
        }
        expectApart(array, { ...member, badBlockLog: null });
      }
      expect(seen).toBeGreaterThan(1000);
    },
  );

  it("are where they were before, if the log lies where we and mdadm put it", () => {
    for (const dataOffset of [2048, 4096, 18_432]) {
      const array = planned("internal", dataOffset);
      const [member] = array?.members ?? [];
      if (array === null || member === undefined) throw new Error("no plan");
      const bare = takeoverLayout(array, { ...member, badBlockLog: null });
      for (const offset of [16, 80]) {
        const badBlockLog = { offset, sectors: 8, shift: 0, entries: [] };
        expect(takeoverLayout(array, { ...member, badBlockLog })?.epochAt).toBe(bare?.epochAt);
      }
    }
  });

  it.each([0, 1] as const)("are not where the superblock lies elsewhere (1.%i)", (minor) => {
    const array = planned("internal", 2048);
    const [member] = array?.members ?? [];
    if (array === null || member === undefined) throw new Error("no plan");
    expect(takeoverLayout({ ...array, minor }, member)).toBeNull();
  });
});
