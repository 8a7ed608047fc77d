import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RangeLock } from "../../src/engine/range-lock.ts";

const HOLDERS = 24;

/** The plain model: whoever came, in order; a range is granted when no earlier one that is left overlaps it. */
class Model {
  readonly ranges: { readonly holder: number; readonly lo: number; readonly hi: number }[] = [];

  granted(): ReadonlySet<number> {
    return new Set(
      this.ranges
        .filter(({ lo, hi }, i) => this.ranges.slice(0, i).every((earlier) => earlier.hi <= lo || hi <= earlier.lo))
        .map(({ holder }) => holder),
    );
  }

  remove(holder: number): void {
    const at = this.ranges.findIndex((one) => one.holder === holder);
    this.ranges.splice(at, 1);
  }
}

describe("a range lock", () => {
  it("grants in the order of arrival what overlaps, and at once what does not", () => {
    // Both near each other and far apart, narrow and wide, and in different buckets that share a counter.
    const lo = fc.oneof(
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: 0, max: 3 }).map((i) => i * 128 * 4096),
    );
    const length = fc.oneof(fc.integer({ min: 1, max: 64 }), fc.constant(128 * 40));
    const step = fc.record({ holder: fc.integer({ min: 0, max: HOLDERS - 1 }), lo, length });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const granted = new Set<number>();
        const lock = new RangeLock(HOLDERS, (holder) => granted.add(holder));
        const model = new Model();
        for (const { holder, lo, length } of steps) {
          if (model.ranges.some((range) => range.holder === holder)) {
            granted.delete(holder);
            model.remove(holder);
            lock.unlock(holder);
          } else {
            model.ranges.push({ holder, lo, hi: lo + length });
            if (lock.lock(holder, lo, lo + length)) granted.add(holder);
          }
          expect(granted).toEqual(model.granted());
        }
      }),
      { numRuns: 400 },
    );
  });

  it("is not taken twice by one holder", () => {
    const lock = new RangeLock(2, () => {});
    lock.lock(0, 0, 8);
    expect(() => lock.lock(0, 8, 16)).toThrow("one range");
    expect(() => lock.unlock(1)).toThrow("unlocked twice");
  });
});
