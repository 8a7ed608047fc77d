import { describe, expect, it } from "vitest";
import { fromTagged, toTagged } from "../../src/base/tagged-json.ts";

const there = (value: unknown): unknown => fromTagged(JSON.parse(JSON.stringify(toTagged(value))));

describe("values as JSON", () => {
  it("come back as they were, maps, sets and bytes too, however deep", () => {
    const value = {
      windows: new Map([[1, { lo: 0, hi: 128 }]]),
      slots: new Set([0, 2]),
      uuid: Uint8Array.of(0, 15, 255),
      nothing: null,
      list: [new Map([["a", new Set([new Uint8Array(0)])]])],
      text: "$map",
    };
    expect(there(value)).toEqual(value);
  });

  it("tells an empty map from an empty set and from an empty list", () => {
    expect(there([new Map(), new Set(), []])).toEqual([new Map(), new Set(), []]);
  });
});
