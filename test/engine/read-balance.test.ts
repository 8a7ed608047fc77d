import { describe, expect, it } from "vitest";
import { chooseCopy, type ReadOrder } from "../../src/engine/read-balance.ts";

interface Copy {
  readonly usable?: boolean;
  readonly inFlight?: number;
  readonly head?: number;
}

function choose(order: ReadOrder, sector: number | readonly number[], copies: readonly Copy[]): number {
  return chooseCopy(
    order,
    copies.length,
    Float64Array.from(copies, (_, copy) => (typeof sector === "number" ? sector : (sector[copy] ?? 0))),
    Uint8Array.from(copies, ({ usable }) => (usable === false ? 0 : 1)),
    Int32Array.from(copies, ({ inFlight }) => inFlight ?? 0),
    Float64Array.from(copies, ({ head }) => head ?? 0),
  );
}

describe("the copy to read", () => {
  it.each<[string, ReadOrder, number | readonly number[], readonly Copy[], number]>([
    ["none when none is usable", "nearest", 0, [{ usable: false }, { usable: false }], -1],
    [
      "the first usable one, on order, however busy",
      "first",
      64,
      [{ usable: false }, { inFlight: 9 }, { head: 64 }],
      1,
    ],
    ["never one that is not usable", "nearest", 64, [{ usable: false, head: 64 }, { inFlight: 9 }], 1],
    [
      "the one with the fewest requests in flight",
      "nearest",
      64,
      [{ inFlight: 3 }, { inFlight: 1 }, { inFlight: 2 }],
      1,
    ],
    ["among equals the one whose last read ended nearest", "nearest", 1000, [{ head: 10 }, { head: 1100 }], 1],
    ["the one whose last read ended here, though busier", "nearest", 64, [{}, { inFlight: 4, head: 64 }], 1],
    ["with far copies the lowest one that is as idle", "lowest", [900, 100], [{ head: 900 }, { head: 10_000 }], 1],
    ["not that one if it is busier", "lowest", [900, 100], [{}, { inFlight: 1 }], 0],
    ["not even that if it is much busier", "nearest", 64, [{}, { inFlight: 5, head: 64 }], 0],
  ])("is %s", (_, order, sector, copies, expected) => {
    expect(choose(order, sector, copies)).toBe(expected);
  });
});
