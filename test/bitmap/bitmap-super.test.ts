import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { type BitmapSuper, decodeBitmapSuper, encodeBitmapSuper } from "../../src/bitmap/bitmap-super.ts";

const uuid = Uint8Array.from({ length: 16 }, (_, i) => i);

/** The example of the on-disk format, section 17.2. */
const example: BitmapSuper = {
  version: 5,
  uuid,
  events: 7,
  eventsCleared: 7,
  syncSize: 1_046_528,
  state: 0,
  chunkBytes: 64 * 2 ** 20,
  daemonSleep: 5,
  writeBehind: 0,
  sectorsReserved: 0,
  nodes: 4,
  clusterName: "mycl",
};
const expected = { where: "/dev/example, slot 0", uuid, syncSize: 1_046_528, space: 2032 };

it("encodes the test vector of the format", () => {
  const vector = `
62 69 74 6d 05 00 00 00 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 07 00 00 00 00 00 00 00
07 00 00 00 00 00 00 00 00 f8 0f 00 00 00 00 00 00 00 00 00 00 00 00 04 05 00 00 00 00 00 00 00
00 00 00 00 04 00 00 00 6d 79 63 6c`;
  const encoded = Buffer.from(encodeBitmapSuper(example)).toString("hex");
  expect(encoded).toBe(vector.replace(/\s/g, "").padEnd(512, "0"));
});

it("decodes what it encodes", () => {
  const count = fc.nat(Number.MAX_SAFE_INTEGER);
  const valid = fc.record({
    events: count,
    eventsCleared: count,
    state: fc.constantFrom(0, 2),
    chunkBytes: fc.integer({ min: 17, max: 31 }).map((shift) => 2 ** shift),
    daemonSleep: fc.integer({ min: 1, max: 0xffff_ffff }),
    writeBehind: fc.nat(16_383),
    sectorsReserved: fc.nat(2032),
    nodes: fc.integer({ min: 1, max: 254 }),
    clusterName: fc
      .string({ maxLength: 20, unit: "grapheme" })
      .filter((name) => !name.includes("\0") && new TextEncoder().encode(name).byteLength <= 63),
  });
  fc.assert(
    fc.property(valid, (fields) => {
      const value = { ...example, ...fields };
      expect(decodeBitmapSuper(encodeBitmapSuper(value), expected)).toEqual(value);
    }),
  );
});

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

describe("hostile values (F41, 26.17)", () => {
  it.each([
    ["magic", 0, u32(0), "E_SUPERBLOCK_BAD"],
    ["version", 4, u32(0), "E_METADATA_UNSUPPORTED"],
    ["version", 4, u32(3), "E_METADATA_UNSUPPORTED"],
    ["version", 4, u32(6), "E_METADATA_UNSUPPORTED"],
    ["version", 4, u32(0xffff_ffff), "E_METADATA_UNSUPPORTED"],
    ["uuid", 8, u32(0xffff_ffff), "E_SUPERBLOCK_BAD"],
    ["events", 28, u32(0xffff_ffff), "E_SUPERBLOCK_BAD"],
    ["events_cleared", 36, u32(0xffff_ffff), "E_SUPERBLOCK_BAD"],
    ["sync_size", 40, u32(0), "E_SUPERBLOCK_BAD"],
    ["sync_size", 44, u32(0xffff_ffff), "E_SUPERBLOCK_BAD"],
    ["state", 48, u32(0x8000), "E_SUPERBLOCK_BAD"],
    ["chunksize", 52, u32(0), "E_SUPERBLOCK_BAD"],
    ["chunksize", 52, u32(1), "E_SUPERBLOCK_BAD"],
    ["chunksize", 52, u32(768), "E_SUPERBLOCK_BAD"],
    ["chunksize", 52, u32(0xffff_ffff), "E_SUPERBLOCK_BAD"],
    ["daemon_sleep", 56, u32(0), "E_SUPERBLOCK_BAD"],
    ["write_behind", 60, u32(16_384), "E_SUPERBLOCK_BAD"],
    ["sectors_reserved", 64, u32(0xffff_ffff), "E_SUPERBLOCK_BAD"],
    ["nodes", 68, u32(0), "E_SUPERBLOCK_BAD"],
    ["nodes", 68, u32(255), "E_SUPERBLOCK_BAD"],
    ["nodes", 68, u32(0xffff_ffff), "E_SUPERBLOCK_BAD"],
    ["cluster_name", 72, new Uint8Array(64).fill(0x61), "E_SUPERBLOCK_BAD"],
    ["cluster_name", 72, Uint8Array.of(0xff), "E_SUPERBLOCK_BAD"],
  ])("%s at %i: %o", (field, at, bytes, code) => {
    const encoded = encodeBitmapSuper(example);
    encoded.set(bytes, at);
    expect(() => decodeBitmapSuper(encoded, expected)).toThrowError(
      expect.objectContaining({ code, message: expect.stringMatching(`${expected.where}.*${field}`) }),
    );
  });

  it("refuses chunks so small that one slot would reach the data", () => {
    const small = encodeBitmapSuper({ ...example, chunkBytes: 512, nodes: 1 });
    expect(() => decodeBitmapSuper(small, { ...expected, space: 64 })).toThrowError(/chunksize/);
  });

  it("fails only with an MdError, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 248, maxLength: 248 }), (random) => {
        const found = encodeBitmapSuper(example);
        found.set(random, 8);
        try {
          decodeBitmapSuper(found, expected);
        } catch (error) {
          expect(error).toBeInstanceOf(MdError);
        }
      }),
    );
  });
});
