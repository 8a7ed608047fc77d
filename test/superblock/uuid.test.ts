import { expect, it } from "vitest";
import { mdUuidText, parseUuid, sameUuid, uuidText } from "../../src/superblock/uuid.ts";

const uuid = Uint8Array.from({ length: 16 }, (_, i) => i * 17);

it("writes a UUID as mdadm does and as everybody else does", () => {
  expect(mdUuidText(uuid)).toBe("00112233:44556677:8899aabb:ccddeeff");
  expect(uuidText(uuid)).toBe("00112233-4455-6677-8899-aabbccddeeff");
});

it("reads both back, and any other punctuation", () => {
  for (const text of [
    mdUuidText(uuid),
    uuidText(uuid),
    uuidText(uuid).toUpperCase(),
    "0011.2233445566778899aabbccddeeff",
  ]) {
    expect(sameUuid(parseUuid(text), uuid)).toBe(true);
  }
});

it.each(["", "0011", "00112233:44556677:8899aabb:ccddeefg", `${"0".repeat(33)}`])("refuses %j", (text) => {
  expect(() => parseUuid(text)).toThrowError(expect.objectContaining({ code: "E_VALUE" }));
});
