import { describe, expect, it } from "vitest";
import { LVB_SIZE } from "../../src/dlm/lockspace.ts";
import { decodeLvb, encodeLvb } from "../../src/dlm/lvb-codec.ts";

describe("a value block", () => {
  it("comes back as it was sent", () => {
    const block = Uint8Array.from({ length: LVB_SIZE }, (_, at) => (at * 7) & 0xff);
    expect(decodeLvb(encodeLvb(block))).toEqual(block);
  });

  it("is whole whatever a lock server has of it", () => {
    // Nobody knew its value when the locks were reported anew.
    expect(decodeLvb("")).toEqual(new Uint8Array(LVB_SIZE));
    expect(decodeLvb(encodeLvb(Uint8Array.of(1, 2)))).toEqual(
      Uint8Array.from({ length: LVB_SIZE }, (_, at) => (at < 2 ? at + 1 : 0)),
    );
    expect(decodeLvb(encodeLvb(new Uint8Array(LVB_SIZE + 9)))).toHaveLength(LVB_SIZE);
  });
});
