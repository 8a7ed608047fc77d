import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sector, sectorRange, slotNumber } from "../../src/base/units.ts";
import type { ClusterMessage } from "../../src/messages/message.ts";
import { decodeFrame, encodeFrame } from "../../src/messages/message-codec.ts";
import { decodeResyncWindow, decodeSpeech, encodeResyncWindow } from "../../src/messages/resync-window-codec.ts";

const from = slotNumber(3);
const uuid = Uint8Array.from({ length: 16 }, (_, i) => i + 1);

/** Wire numbers of Linux 6.12, drivers/md/md-cluster.c. */
const numbered: readonly (readonly [number, ClusterMessage])[] = [
  [0, { type: "metadata_updated", from, number: 2 }],
  [1, { type: "resyncing", from, range: sectorRange(128, 8192) }],
  [1, { type: "resyncing", from, range: sectorRange(128, 8192), isCheck: true }],
  [2, { type: "newdisk", from, uuid, number: 4 }],
  [3, { type: "remove", from, number: 1 }],
  [4, { type: "re_add", from, number: 1 }],
  [5, { type: "bitmap_needs_sync", from }],
  [6, { type: "change_capacity", from }],
  [7, { type: "bitmap_resize", from, size: sector(2 ** 40), raidDisks: 3, chunkBytes: 2 ** 26 }],
  [8, { type: "resyncing_start", from }],
];

describe("message codec", () => {
  it.each(numbered)("writes number %i where the kernel has it and reads it back", (number, message) => {
    const lvb = encodeFrame({ message, sequence: 77 });
    const view = new DataView(lvb.buffer);
    expect([lvb.byteLength, view.getUint32(0, true), view.getUint32(4, true)]).toEqual([64, number, 3]);
    expect(decodeFrame(lvb)).toEqual({ message, sequence: 77 });
  });

  it("has the kernel's offsets, and our sequence number behind its 48 bytes", () => {
    const window = encodeFrame({
      message: { type: "resyncing", from, range: sectorRange(1, 2 ** 33 + 5) },
      sequence: 9,
    });
    const view = new DataView(window.buffer);
    expect([view.getBigUint64(8, true), view.getBigUint64(16, true)]).toEqual([1n, 2n ** 33n + 5n]);
    expect([view.getUint32(40, true), view.getUint32(44, true), view.getUint32(48, true)]).toEqual([0, 0, 9]);
    const device = encodeFrame({ message: { type: "newdisk", from, uuid, number: 6 }, sequence: 0 });
    expect([...device.subarray(24, 40)]).toEqual([...uuid]);
    expect(new DataView(device.buffer).getUint32(40, true)).toBe(6);
  });

  it("takes the kernel's windows: 32 MiB from anywhere, RAID10's of whole stripes, and beyond the end", () => {
    for (const [lo, hi] of [
      [0, 65_536],
      [8, 65_544],
      [1_000_000, 1_000_000 + 5 * 1024 * 64],
      [2 ** 40, 2 ** 40 + 65_536],
    ] as const) {
      const message = { type: "resyncing", from: slotNumber(1), range: sectorRange(lo, hi) } as const;
      expect(decodeFrame(encodeFrame({ message, sequence: 0 }))?.message).toEqual(message);
    }
  });

  it("tells the end of a resync by hi = 0", () => {
    const lvb = encodeFrame({ message: { type: "resyncing", from, range: null }, sequence: 1 });
    expect([...lvb.subarray(8, 24)]).toEqual(new Array(16).fill(0));
    expect(decodeFrame(lvb)?.message).toEqual({ type: "resyncing", from, range: null });
  });

  it("keeps the number of a type that it does not know", () => {
    const lvb = new Uint8Array(64);
    new DataView(lvb.buffer).setUint32(0, 4711, true);
    expect(decodeFrame(lvb)?.message).toEqual({ type: "unknown", from: 0, raw: 4711 });
  });

  it("makes something or null of any bytes, never an exception", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), fc.nat(9), (bytes, type) => {
        new DataView(bytes.buffer).setUint32(0, type, true);
        const frame = decodeFrame(bytes);
        const window = decodeResyncWindow(bytes);
        if (frame?.message.type === "resyncing" && frame.message.range !== null) {
          expect(frame.message.range.lo).toBeLessThan(frame.message.range.hi);
        }
        if (window?.range != null) expect(window.range.lo).toBeLessThan(window.range.hi);
      }),
    );
  });
});

describe("resync window codec", () => {
  it.each([
    { range: sectorRange(8, 16), needsResync: true },
    { range: sectorRange(0, 2 ** 41), needsResync: false },
    { range: null, needsResync: true },
    { range: null, needsResync: false },
  ])("keeps %j", (window) => {
    const speech = { range: { oldest: 2, newest: 4, features: 7 }, spoken: { version: 3, features: 5 } };
    const lvb = encodeResyncWindow(window, speech);
    expect(lvb.byteLength).toBe(64);
    expect(decodeSpeech(lvb)).toEqual(speech);
    expect(decodeSpeech(encodeResyncWindow(window))).toBe(null);
    expect(decodeResyncWindow(lvb)).toEqual(window);
    const view = new DataView(lvb.buffer);
    expect([view.getBigUint64(0, true), view.getBigUint64(8, true)]).toEqual([
      BigInt(window.range?.lo ?? 0),
      BigInt(window.range?.hi ?? 0),
    ]);
  });
});
