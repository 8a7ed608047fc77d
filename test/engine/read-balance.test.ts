import { describe, expect, it } from "vitest";
import { chooseCopy } from "../../src/engine/read-balance.ts";

interface Copy {
  readonly usable?: boolean;
  readonly inFlight?: number;
  readonly head?: number;
}

function choose(first: boolean, sector: number, copies: readonly Copy[]): number {
  return chooseCopy(
    first,
    copies.length,
    Float64Array.from(copies, () => sector),
    Uint8Array.from(copies, ({ usable }) => (usable === false ? 0 : 1)),
    Int32Array.from(copies, ({ inFlight }) => inFlight ?? 0),
    Float64Array.from(copies, ({ head }) => head ?? 0),
  );
}

describe("the copy to read", () => {
  it.each<[string, boolean, number, readonly Copy[], number]>([
    ["none when none is usable", false, 0, [{ usable: false }, { usable: false }], -1],
    ["the first usable one, on order, however busy", true, 64, [{ usable: false }, { inFlight: 9 }, { head: 64 }], 1],
    ["never one that is not usable", false, 64, [{ usable: false, head: 64 }, { inFlight: 9 }], 1],
    ["the one with the fewest requests in flight", false, 64, [{ inFlight: 3 }, { inFlight: 1 }, { inFlight: 2 }], 1],
    ["among equals the one whose last read ended nearest", false, 1000, [{ head: 10 }, { head: 1100 }], 1],
    ["the one whose last read ended here, though busier", false, 64, [{}, { inFlight: 4, head: 64 }], 1],
    ["not even that if it is much busier", false, 64, [{}, { inFlight: 5, head: 64 }], 0],
  ])("is %s", (_, first, sector, copies, expected) => {
    expect(choose(first, sector, copies)).toBe(expected);
  });
});
