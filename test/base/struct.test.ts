import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytes, s32le, struct, u8, u16le, u32le, u64, u64le } from "../../src/base/struct.ts";

const example = struct("example", 40, {
  tiny: u8(0),
  small: u16le(2),
  medium: u32le(4),
  signed: s32le(8),
  large: u64le(12),
  all: u64(20),
  raw: bytes(28, 4),
});

describe("a fixed layout", () => {
  it("puts each field, little endian, where it says", () => {
    const value = {
      tiny: 0x01,
      small: 0x0302,
      medium: 0x07060504,
      signed: -2,
      large: 2 ** 40 + 1,
      all: 2n ** 64n - 1n,
      raw: Uint8Array.of(9, 8, 7, 6),
    };
    const encoded = example.encode(value);
    expect(Buffer.from(encoded).toString("hex")).toBe(
      "0100020304050607feffffff0100000000010000ffffffffffffffff090807060000000000000000",
    );
    expect(example.decode(encoded)).toEqual(value);
  });

  it("reads at any place in a larger buffer", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 40, maxLength: 40 }), fc.nat(64), (found, at) => {
        found[19] = 0;
        found[18] = 0;
        const larger = new Uint8Array(128);
        larger.set(found, at);
        expect(example.decode(larger.subarray(at, at + 40))).toEqual(example.decode(found));
      }),
    );
  });

  it("does not round a 64-bit number silently", () => {
    const encoded = new Uint8Array(40).fill(0xff);
    expect(() => example.decode(encoded)).toThrow("beyond 2^53");
  });

  it("is wrong when fields overlap or do not fit, at once", () => {
    expect(() => struct("bad", 8, { a: u32le(0), b: u16le(2) })).toThrow("overlaps");
    expect(() => struct("bad", 8, { a: u64le(4) })).toThrow("overruns");
  });
});
