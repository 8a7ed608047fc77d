import { describe, expect, it } from "vitest";
import { countReadError, type ReadErrorCount } from "../../src/array/read-error-count.ts";

const HOUR = 3_600_000;
const countAfter = (errors: number, ms: number): number => countReadError({ errors, lastAt: 5000 }, 5000 + ms).errors;

describe("read errors that count", () => {
  it("begin with one, also at the beginning of time", () => {
    expect(countReadError(null, 0)).toEqual({ errors: 1, lastAt: 0 });
    expect(countReadError({ errors: 1, lastAt: 0 }, 10).errors).toBe(2);
  });

  it("are halved for each full hour since the last one, and no sooner", () => {
    expect(countAfter(20, HOUR - 1)).toBe(21);
    expect(countAfter(20, HOUR)).toBe(11);
    expect(countAfter(20, 2 * HOUR)).toBe(6);
    expect(countAfter(7, HOUR)).toBe(4);
    expect(countAfter(20, 100 * HOUR)).toBe(1);
    expect(countAfter(20, 10_000 * HOUR)).toBe(1);
  });

  it("never add up to more than twenty if there is one in twenty minutes and a pause of an hour a day", () => {
    let count: ReadErrorCount | null = null;
    let most = 0;
    for (let day = 0; day < 3; day++) {
      for (let i = 0; i < 10; i++) {
        count = countReadError(count, day * 24 * HOUR + i * (HOUR / 3));
        most = Math.max(most, count.errors);
      }
    }
    expect(most).toBeLessThanOrEqual(20);
  });
});
