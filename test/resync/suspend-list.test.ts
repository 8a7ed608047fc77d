import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sectorRange, slotNumber } from "../../src/base/units.ts";
import { SuspendList } from "../../src/resync/suspend-list.ts";

describe("suspend list", () => {
  it("27.4: keeps one range a slot: the end of one resync leaves another's range alone", () => {
    const list = new SuspendList();
    list.suspend(slotNumber(0), sectorRange(0, 100));
    list.suspend(slotNumber(2), sectorRange(50, 200));
    list.resume(slotNumber(0));
    expect([list.blocks(0, 50), list.blocks(0, 51), list.blocks(199, 300), list.blocks(200, 300)]).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect(list.rangeOf(slotNumber(0))).toBeNull();
    expect(list.rangeOf(slotNumber(2))).toEqual({ lo: 50, hi: 200 });
  });

  it("agrees with the obvious implementation", () => {
    const range = fc.tuple(fc.nat(50), fc.integer({ min: 1, max: 20 })).map(([lo, n]) => sectorRange(lo, lo + n));
    const action = fc.record({ slot: fc.nat(63), range: fc.option(range), probe: range });
    fc.assert(
      fc.property(fc.array(action), (actions) => {
        const list = new SuspendList();
        const model = new Map<number, { lo: number; hi: number }>();
        for (const { slot, range: set, probe } of actions) {
          if (set === null) {
            list.resume(slotNumber(slot));
            model.delete(slot);
          } else {
            list.suspend(slotNumber(slot), set);
            model.set(slot, set);
          }
          const expected = [...model.values()].some(({ lo, hi }) => probe.lo < hi && lo < probe.hi);
          expect(list.blocks(probe.lo, probe.hi)).toBe(expected);
          expect(list.isEmpty).toBe(model.size === 0);
        }
      }),
    );
  });
});
