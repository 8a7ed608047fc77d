import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { sector } from "../../src/base/units.ts";
import { superblockChecksum } from "../../src/superblock/checksum.ts";
import { IN_SYNC, type Superblock } from "../../src/superblock/superblock.ts";
import { decodeSuperblock, encodeSuperblock } from "../../src/superblock/superblock-codec.ts";
import { superblockPlaces, superblockSector } from "../../src/superblock/superblock-location.ts";
import { examplePlace, exampleSuperblock } from "./example.ts";

/** Section 17.1, as printed there. */
const vector = `
fc 4e 2b a9 01 00 00 00 01 01 00 00 00 00 00 00 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f
68 6f 73 74 3a 74 31 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 f1 53 65 00 00 00 00 01 00 00 00 00 00 00 00 00 f8 0f 00 00 00 00 00 00 00 00 00 02 00 00 00
08 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 08 00 00 00 00 00 00 00 f8 0f 00 00 00 00 00 08 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 00 00 00 00 00 00 00 40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f 00 00 00 00 00 00 00 00
00 f1 53 65 00 00 00 00 07 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 6d 47 da 31 80 00 00 00
00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
00 00 01 00`;
const vectorHead = Buffer.from(vector.replace(/\s/g, ""), "hex");

const checksumOf = (encoded: Uint8Array): number => new DataView(encoded.buffer).getUint32(216, true);
const roles = (first: readonly number[], length: number): number[] => [
  ...first,
  ...new Array<number>(length - first.length).fill(0xffff),
];

describe("the test vectors of the format", () => {
  it("are what the example encodes to", () => {
    const encoded = encodeSuperblock(exampleSuperblock);
    expect(encoded.byteLength).toBe(512);
    expect(Buffer.from(encoded.subarray(0, vectorHead.byteLength)).toString("hex")).toBe(vectorHead.toString("hex"));
    expect(encoded.subarray(vectorHead.byteLength).every((byte) => byte === 0xff)).toBe(true);
  });

  it.each([
    ["the example", {}, 0x31da476d],
    ["an odd number of roles: two bytes are left over", { devRoles: roles([0, 1], 127) }, 0x31db476b],
    ["wide values", { devRoles: roles([0, 0xfffe, 1], 128), events: 0x1234567890, resyncOffset: IN_SYNC }, 0x662cc00b],
  ])("have the checksums listed: %s", (_, change: Partial<Superblock>, checksum) => {
    expect(checksumOf(encodeSuperblock({ ...exampleSuperblock, ...change }))).toBe(checksum);
  });
});

describe("where superblocks lie", () => {
  it.each([
    [0, 1_048_576, 1_048_560],
    [0, 1_048_583, 1_048_560],
    [0, 2 ** 33 + 17, 2 ** 33],
    [1, 1_048_576, 0],
    [2, 1_048_576, 8],
  ] as const)("1.%i on %i sectors: sector %i", (minor, size, at) => {
    expect(superblockSector(minor, sector(size))).toBe(at);
  });

  it("is nowhere on a device without room", () => {
    expect(superblockPlaces(sector(7))).toEqual([]);
    expect(superblockPlaces(sector(8)).map(({ minor }) => minor)).toEqual([1]);
  });
});

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const time = fc.record({ seconds: fc.integer({ min: 0, max: 2 ** 40 - 1 }), microseconds: fc.nat(2 ** 24 - 1) });
const uuid = fc.uint8Array({ minLength: 16, maxLength: 16 });

/** Any superblock that is valid on the example's device, at any of the three places. */
const validSuperblock = fc
  .record({
    minor: fc.constantFrom(0, 1, 2) as fc.Arbitrary<0 | 1 | 2>,
    setUuid: uuid,
    deviceUuid: uuid,
    setName: fc.string({ maxLength: 8, unit: "grapheme" }).filter((text) => !text.includes("\0")),
    ctime: time,
    utime: time,
    newLevel: u32,
    reshapePosition: fc.bigInt(0n, IN_SYNC),
    deltaDisks: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    newOffset: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    correctedReads: u32,
    devFlags: fc.nat(255),
    bblogShift: fc.nat(255),
    bblogSize: fc.nat(0xffff),
    bblogOffset: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    events: fc.nat(Number.MAX_SAFE_INTEGER),
    resyncOffset: fc.constantFrom(0n, IN_SYNC, 100n),
    maxDev: fc.integer({ min: 3, max: 1920 }),
    devNumber: fc.nat(2),
    size: fc.integer({ min: 128, max: 100_000 }),
  })
  .filter(({ setName }) => new TextEncoder().encode(setName).byteLength <= 32)
  .map(({ minor, maxDev, size, ...fields }): Superblock => {
    const superOffset = superblockSector(minor, examplePlace.deviceSize);
    return {
      ...exampleSuperblock,
      ...fields,
      minor,
      superOffset,
      dataOffset: sector(minor === 0 ? 0 : 2048),
      bitmapOffset: minor === 0 ? -16 : 8,
      size: sector(size),
      dataSize: sector(size + 10),
      devRoles: roles([0, 1], maxDev),
    };
  });

describe("encoding and decoding", () => {
  it("gives back every superblock that is valid", () => {
    fc.assert(
      fc.property(validSuperblock, (superblock) => {
        const encoded = encodeSuperblock(superblock);
        const place = { ...examplePlace, minor: superblock.minor, at: superblock.superOffset };
        const decoded = decodeSuperblock(encoded, place);
        expect(decoded).toEqual(superblock);
        expect(encodeSuperblock(decoded)).toEqual(encoded);
      }),
    );
  });

  it("refuses every flipped bit under the checksum, naming both checksums", () => {
    const encoded = encodeSuperblock(exampleSuperblock);
    // The magic and max_dev are judged before the checksum can be: they say that it is one, and how long it is.
    const early = (at: number): boolean => at < 8 || (at >= 220 && at < 224);
    for (let bit = 0; bit < encoded.byteLength * 8; bit++) {
      const at = Math.floor(bit / 8);
      const flipped = encoded.slice();
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (bit % 8));
      const error = refusal(flipped);
      if (early(at)) continue;
      const stored = new DataView(flipped.buffer).getUint32(216, true);
      const hex = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;
      expect(error.code).toBe("E_CHECKSUM");
      expect(error.message).toContain(hex(stored));
      expect(error.message).toContain(hex(superblockChecksum(flipped)));
    }
  });

  it("never takes random bytes behind a magic for a superblock, and fails only with an MdError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 256, maxLength: 4096 }), fc.boolean(), (random, mended) => {
        const found = new Uint8Array(4096);
        found.set(random);
        const view = new DataView(found.buffer);
        view.setUint32(0, 0xa92b4efc, true);
        view.setUint32(4, 1, true);
        view.setUint32(220, 128, true);
        if (mended) view.setUint32(216, superblockChecksum(found.subarray(0, 512)), true);
        refusal(found);
      }),
    );
  });

  it("says that there is none where there is none", () => {
    expect(refusal(new Uint8Array(4096)).code).toBe("E_NO_SUPERBLOCK");
    expect(refusal(new Uint8Array(16)).code).toBe("E_NO_SUPERBLOCK");
  });
});

function refusal(found: Uint8Array): MdError {
  try {
    decodeSuperblock(found, examplePlace);
  } catch (error) {
    if (error instanceof MdError) return error;
    throw error;
  }
  throw new Error("accepted");
}

/** Writes `bytes` into an encoded example and makes the checksum right again. */
function patched(at: number, bytes: Uint8Array): Uint8Array {
  const encoded = new Uint8Array(4096);
  encoded.set(encodeSuperblock(exampleSuperblock));
  encoded.set(bytes, at);
  const view = new DataView(encoded.buffer);
  const length = 256 + 2 * Math.min(view.getUint32(220, true), 1920);
  view.setUint32(216, superblockChecksum(encoded.subarray(0, length)), true);
  return encoded;
}

const u32Bytes = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
};
const u64Bytes = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
};

describe("hostile values under a right checksum (F40)", () => {
  it.each([
    ["major_version", 4, u32Bytes(2), "E_METADATA_UNSUPPORTED"],
    ["feature_map", 8, u32Bytes(0x2101), "E_METADATA_UNSUPPORTED"],
    ["feature_map", 8, u32Bytes(0x8000_0101), "E_METADATA_UNSUPPORTED"],
    ["feature_map", 8, u32Bytes(0x501), "E_SUPERBLOCK_BAD"],
    ["pad0", 12, u32Bytes(1), "E_SUPERBLOCK_BAD"],
    ["set_name", 32, Uint8Array.of(0xff, 0xfe), "E_SUPERBLOCK_BAD"],
    ["level", 72, u32Bytes(7), "E_SUPERBLOCK_BAD"],
    ["level", 72, u32Bytes(0x8000_0000), "E_SUPERBLOCK_BAD"],
    ["size", 80, u64Bytes(0n), "E_SUPERBLOCK_BAD"],
    ["size", 80, u64Bytes(1_046_529n), "E_SUPERBLOCK_BAD"],
    ["size", 80, u64Bytes(2n ** 63n), "E_SUPERBLOCK_BAD"],
    ["chunksize", 88, u32Bytes(3), "E_SUPERBLOCK_BAD"],
    ["raid_disks", 92, u32Bytes(0), "E_SUPERBLOCK_BAD"],
    ["raid_disks", 92, u32Bytes(2 ** 31), "E_SUPERBLOCK_BAD"],
    ["raid_disks", 92, u32Bytes(0xffff_ffff), "E_SUPERBLOCK_BAD"],
    ["bitmap_offset", 96, u32Bytes(0), "E_SUPERBLOCK_BAD"],
    ["bitmap_offset", 96, u32Bytes(0x8000_0000), "E_SUPERBLOCK_BAD"],
    ["bitmap_offset", 96, u32Bytes(2040), "E_SUPERBLOCK_BAD"],
    ["bitmap_offset", 96, u32Bytes(0x7fff_ffff), "E_SUPERBLOCK_BAD"],
    ["data_offset", 128, u64Bytes(0n), "E_SUPERBLOCK_BAD"],
    ["data_offset", 128, u64Bytes(8n), "E_SUPERBLOCK_BAD"],
    ["data_offset", 128, u64Bytes(1_048_576n), "E_SUPERBLOCK_BAD"],
    ["data_offset", 128, u64Bytes(IN_SYNC), "E_SUPERBLOCK_BAD"],
    ["data_size", 136, u64Bytes(9n), "E_SUPERBLOCK_BAD"],
    ["data_size", 136, u64Bytes(1_046_529n), "E_SUPERBLOCK_BAD"],
    ["data_size", 136, u64Bytes(2n ** 63n), "E_SUPERBLOCK_BAD"],
    ["super_offset", 144, u64Bytes(16n), "E_SUPERBLOCK_BAD"],
    ["super_offset", 144, u64Bytes(IN_SYNC), "E_SUPERBLOCK_BAD"],
    ["dev_number", 160, u32Bytes(128), "E_SUPERBLOCK_BAD"],
    ["dev_number", 160, u32Bytes(0xffff_ffff), "E_SUPERBLOCK_BAD"],
    ["events", 200, u64Bytes(IN_SYNC), "E_SUPERBLOCK_BAD"],
    ["resync_offset", 208, u64Bytes(2n ** 63n), "E_SUPERBLOCK_BAD"],
    ["max_dev", 220, u32Bytes(1921), "E_SUPERBLOCK_BAD"],
    ["max_dev", 220, u32Bytes(0xffff_ffff), "E_SUPERBLOCK_BAD"],
    ["dev_number", 220, u32Bytes(0), "E_SUPERBLOCK_BAD"],
    ["pad3", 255, Uint8Array.of(1), "E_SUPERBLOCK_BAD"],
    ["dev_roles[1]", 258, Uint8Array.of(2, 0), "E_SUPERBLOCK_BAD"],
    ["dev_roles[5]", 266, Uint8Array.of(0xfc, 0xff), "E_SUPERBLOCK_BAD"],
  ])("%s at %i: %o", (field, at, bytes, code) => {
    const error = refusal(patched(at, bytes));
    expect(error.code).toBe(code);
    expect(error.message).toContain(field);
    expect(error.message).toContain(examplePlace.path);
  });

  it.each<[string, Partial<Superblock>]>([
    ["recovery_offset", { featureMap: 0x103, recoveryOffset: 1_046_529n }],
    ["recovery_offset", { featureMap: 0x103, recoveryOffset: IN_SYNC }],
    ["bblog_offset", { featureMap: 0x109, bblogSize: 8 }],
    ["bblog_size", { featureMap: 0x109, bblogSize: 9, bblogOffset: 100 }],
    ["bblog_size", { featureMap: 0x109, bblogSize: 0, bblogOffset: 100 }],
    ["bblog_shift", { featureMap: 0x109, bblogSize: 8, bblogOffset: 100, bblogShift: 255 }],
    ["chunksize", { level: 10, layout: 0x102, chunkSectors: 0 }],
    ["chunksize", { level: 10, layout: 0x102, chunkSectors: 4 }],
    ["layout", { level: 10, layout: 0, chunkSectors: 128 }],
    ["layout", { level: 10, layout: 0x103, chunkSectors: 128 }],
    ["layout", { level: 10, layout: 0x80102, chunkSectors: 128 }],
  ])("%s of %o", (field, change) => {
    const error = refusal(encodeSuperblock({ ...exampleSuperblock, ...change }));
    expect(error.code).toBe("E_SUPERBLOCK_BAD");
    expect(error.message).toContain(field);
  });

  it("holds each 32-bit field at every extreme: a value is refused by name or harmless", () => {
    const extremes = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    for (let at = 8; at < 256; at += 4) {
      if (at === 216) continue;
      for (const value of extremes) {
        const found = patched(at, u32Bytes(value));
        try {
          const superblock = decodeSuperblock(found, examplePlace);
          expect(superblock.dataOffset + superblock.dataSize).toBeLessThanOrEqual(examplePlace.deviceSize);
          expect(superblock.size).toBeLessThanOrEqual(superblock.dataSize);
          expect(superblock.devNumber).toBeLessThan(superblock.devRoles.length);
        } catch (error) {
          expect(error).toBeInstanceOf(MdError);
        }
      }
    }
  });
});
