import fc from "fast-check";
import { expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { untilRenewal } from "../../src/dlm/renewal-pace.ts";

const times = { leaseMs: 1000, pingMs: 100 };
const WALL = 1_700_000_000_000;

/** Where in the interval a node renews that was started at `at`. */
function placeOf(slot: number, at: number): number {
  let now = at;
  for (let renewals = 0; renewals < 10; renewals++) now += untilRenewal(times, slotNumber(slot), WALL + now);
  return Math.round(now % 100);
}

it("each slot has a place of its own in the interval, as far from the others as can be, whenever it was started", () => {
  expect([0, 1, 2, 3].map((slot) => placeOf(slot, 7))).toEqual([0, 50, 25, 75]);
  for (let at = 0; at < 100; at += 3.7) expect(placeOf(1, at)).toBe(50);
});

it("a renewal is never put off by more than a quarter of the interval, whatever the wall clock does, nor repeated at once", () => {
  fc.assert(
    fc.property(fc.nat(63), fc.double({ min: -1e13, max: 1e13, noNaN: true }), (slot, wall) => {
      const pause = untilRenewal(times, slotNumber(slot), wall);
      expect(pause).toBeGreaterThanOrEqual(25);
      expect(pause).toBeLessThanOrEqual(125);
    }),
  );
});
