import { describe, expect, it } from "vitest";
import { decodeNodeCard, encodeNodeCard } from "../../src/daemon/node-card.ts";

describe("what a node tells of itself", () => {
  it("comes back as it was written", () => {
    const card = { protocol: 3, version: "1.4.0-rc.1+abc" };
    expect(decodeNodeCard(encodeNodeCard(card))).toEqual(card);
  });

  it("is not believed blindly: it is printed on terminals of other hosts", () => {
    expect(decodeNodeCard(new Uint8Array(64))).toBeNull();
    expect(decodeNodeCard(new Uint8Array(16))).toBeNull();
    expect(decodeNodeCard(encodeNodeCard({ protocol: 1, version: "\x1b[2J" }))).toBeNull();
    expect(decodeNodeCard(encodeNodeCard({ protocol: 1, version: "" }))).toBeNull();
  });
});
