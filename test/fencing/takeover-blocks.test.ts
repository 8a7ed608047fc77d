import { describe, expect, it } from "vitest";
import { crc32c } from "../../src/base/crc32c.ts";
import { slotNumber } from "../../src/base/units.ts";
import { PillCheck } from "../../src/fencing/pill-check.ts";
import {
  decodeTakeover,
  encodeTakeover,
  type NodeRecord,
  type PillRecord,
  TAKEOVER_BLOCK_BYTES,
} from "../../src/fencing/takeover-blocks.ts";

const arrayUuid = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i);
const pill: PillRecord = {
  kind: "pill",
  arrayUuid,
  generation: 0x1_0000_0002,
  time: 1_700_000_000,
  slot: slotNumber(3),
  incarnation: "0123456789abcdef",
  node: "n2",
  by: "n1",
  cluster: "alpha",
};
const node: NodeRecord = {
  kind: "node",
  arrayUuid,
  generation: 4,
  serial: 9,
  time: 1_700_000_000,
  slot: slotNumber(3),
  incarnation: "0123456789abcdef",
  node: "n2",
  cluster: "alpha",
  state: "joined",
};

const hex = (bytes: Uint8Array, from: number, to: number): string =>
  Buffer.from(bytes.subarray(from, to)).toString("hex");

/** With a checksum that fits. */
function changed(block: Uint8Array, at: number, ...values: readonly number[]): Uint8Array {
  const copy = block.slice();
  copy.set(values, at);
  new DataView(copy.buffer).setUint32(508, crc32c(copy, 0, 508), true);
  return copy;
}

describe("takeover records on the members", () => {
  it("have the checksum of iSCSI", () => {
    expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  });

  it("lie byte by byte as documented", () => {
    const block = encodeTakeover(pill);
    expect(block.length).toBe(TAKEOVER_BLOCK_BYTES);
    expect(hex(block, 0, 8)).toBe("6d64545001000000");
    expect(hex(block, 8, 24)).toBe("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
    expect(hex(block, 24, 32)).toBe("0200000001000000");
    expect(hex(block, 32, 40)).toBe("0000000000000000");
    expect(hex(block, 40, 48)).toBe("00f1536500000000");
    expect(hex(block, 48, 56)).toBe("0300000000000000");
    expect(Buffer.from(block.subarray(56, 72)).toString()).toBe("0123456789abcdef");
    expect(hex(block, 72, 88)).toBe("0".repeat(32));
    expect(Buffer.from(block.subarray(88, 91)).toString()).toBe("n2\0");
    expect(Buffer.from(block.subarray(152, 155)).toString()).toBe("n1\0");
    expect(Buffer.from(block.subarray(216, 222)).toString()).toBe("alpha\0");
    expect(new DataView(block.buffer).getUint32(508, true)).toBe(crc32c(block, 0, 508));
    expect(block.subarray(512).every((byte) => byte === 0)).toBe(true);
    expect(hex(encodeTakeover(node), 0, 4)).toBe("6d64544e");
    expect(hex(encodeTakeover(node), 32, 40)).toBe("0900000000000000");
    expect(hex(encodeTakeover({ ...pill, kind: "epoch" }), 0, 4)).toBe("6d645445");
  });

  it("read back as they were", () => {
    for (const record of [pill, node, { ...node, state: "left" as const }, { ...pill, kind: "epoch" as const }]) {
      expect(decodeTakeover(record.kind, encodeTakeover(record), arrayUuid, 4)).toEqual({ type: "record", record });
    }
    expect(decodeTakeover("pill", new Uint8Array(4096), arrayUuid, 4)).toEqual({ type: "blank" });
  });

  it("cut names that are too long instead of running over", () => {
    const block = encodeTakeover({ ...pill, node: "n".repeat(200), by: "b".repeat(64) });
    const found = decodeTakeover("pill", block, arrayUuid, 4);
    expect(found).toMatchObject({ record: { node: "n".repeat(63), by: "b".repeat(63), cluster: "alpha" } });
  });

  it.each<[string, Uint8Array, number]>([
    ["magic", encodeTakeover(node), 4],
    ["checksum", Uint8Array.from(encodeTakeover(pill), (byte, i) => (i === 100 ? byte ^ 1 : byte)), 4],
    ["version", changed(encodeTakeover(pill), 4, 2), 4],
    ["array uuid", changed(encodeTakeover(pill), 9, 0), 4],
    ["generation", changed(encodeTakeover(pill), 24, ...new Array<number>(8).fill(0xff)), 4],
    ["serial", changed(encodeTakeover(pill), 32, ...new Array<number>(8).fill(0xff)), 4],
    ["time", changed(encodeTakeover(pill), 40, ...new Array<number>(8).fill(0xff)), 4],
    ["slot", encodeTakeover(pill), 3],
    ["slot", changed(encodeTakeover(pill), 48, 0xff, 0xff, 0xff, 0xff), 4],
    ["state", changed(encodeTakeover(pill), 52, 1), 4],
    ["incarnation", changed(encodeTakeover(pill), 56, ...new Array<number>(32).fill(0x61)), 4],
    ["incarnation", changed(encodeTakeover(pill), 56, 0), 4],
    ["names", changed(encodeTakeover(pill), 88, 0x1b, 0x5b), 4],
    ["names", changed(encodeTakeover(pill), 152, ...new Array<number>(64).fill(0x62)), 4],
  ])("are refused when they are hostile: %s", (why, block, slots) => {
    expect(decodeTakeover("pill", block, arrayUuid, slots)).toEqual({ type: "bad", why });
  });

  it("refuse a node's state that there is none of", () => {
    expect(decodeTakeover("node", changed(encodeTakeover(node), 52, 7), arrayUuid, 4)).toEqual({
      type: "bad",
      why: "state",
    });
  });
});

describe("a pill, as the data plane reads it", () => {
  const reader = { arrayUuid, slot: 3, incarnation: "fedcba9876543210", generation: 0x1_0000_0002 };
  const verdict = (block: Uint8Array, change: Partial<typeof reader> = {}): string => {
    const memory = new Uint8Array(8192).fill(0x55);
    memory.set(block, 4096);
    return new PillCheck({ ...reader, ...change }).verdict(memory, 4096);
  };

  it("is clear when it is blank, or for an owner before us", () => {
    expect(verdict(new Uint8Array(4096))).toBe("clear");
    expect(verdict(encodeTakeover(pill))).toBe("clear");
  });

  it("condemns the incarnation that it names, and any that joined before it", () => {
    expect(verdict(encodeTakeover(pill), { incarnation: pill.incarnation })).toBe("condemned");
    expect(verdict(encodeTakeover(pill), { generation: 0x1_0000_0001 })).toBe("condemned");
    expect(verdict(encodeTakeover({ ...pill, generation: 2 ** 52 }))).toBe("condemned");
  });

  it("does not take a longer incarnation for ours", () => {
    expect(verdict(encodeTakeover({ ...pill, incarnation: `${reader.incarnation}0` }))).toBe("clear");
  });

  it("says nothing when it cannot be believed", () => {
    const mine = encodeTakeover({ ...pill, incarnation: reader.incarnation });
    expect(verdict(mine)).toBe("condemned");
    expect(verdict(Uint8Array.from(mine, (byte, i) => (i === 300 ? byte ^ 1 : byte)))).toBe("unknown");
    expect(verdict(changed(mine, 4, 9))).toBe("unknown");
    expect(verdict(changed(mine, 10, 0))).toBe("unknown");
    expect(verdict(changed(mine, 48, 2))).toBe("unknown");
    expect(verdict(encodeTakeover(node))).toBe("unknown");
    expect(verdict(new Uint8Array(4096).fill(0xff))).toBe("unknown");
  });
});
