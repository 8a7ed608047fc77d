import { describe, expect, it } from "vitest";
import { greeting, type HandshakeState, handshakeStep, initialHandshake } from "../../src/blockdev/nbd/handshake.ts";
import { infoRequest, optionBytes } from "../support/raw-nbd.ts";

const exported = {
  name: "disk",
  size: 0x1_0000_2000,
  flags: 0x16d,
  minimumBlock: 512,
  preferredBlock: 4096,
  maximumPayload: 32 << 20,
};

const flags = (bits: number): Buffer => Buffer.from([0, 0, 0, bits]);
const FIXED = flags(3);
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ""), "hex");

/** What a client sees that sends `bytes`, in pieces of `piece`, and waits for no answer. */
function talk(
  bytes: Buffer,
  piece: number,
): { reply: Buffer; state: HandshakeState; end: "close" | "transmission" | "wait"; left: number } {
  let state = initialHandshake;
  let pending = Buffer.alloc(0);
  const replies: Uint8Array[] = [];
  for (let sent = 0; sent < bytes.length; sent += piece) {
    pending = Buffer.concat([pending, bytes.subarray(sent, sent + piece)]);
    for (;;) {
      const step = handshakeStep(state, pending, exported);
      state = step.state;
      pending = pending.subarray(step.consumed);
      replies.push(step.reply);
      if (step.next === "wait") break;
      if (step.next !== "again") {
        const left = pending.length + Math.max(0, bytes.length - sent - piece);
        return { reply: Buffer.concat(replies), state, end: step.next, left };
      }
    }
  }
  return { reply: Buffer.concat(replies), state, end: "wait", left: pending.length };
}

const reply = (option: number, type: number, data: Uint8Array = Buffer.alloc(0)): Buffer => {
  const header = hex("0003e889045565a9 00000000 00000000 00000000");
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(type, 12);
  header.writeUInt32BE(data.length, 16);
  return Buffer.concat([header, data]);
};

const UNSUP = 0x80000001;
const INVALID = 0x80000003;
const UNKNOWN = 0x80000006;
const TOO_BIG = 0x80000009;
const exportInfo = hex("0000 0000000100002000 016d");
const exportInfoWithDf = hex("0000 0000000100002000 01ed");
const blockInfo = hex("0003 00000200 00001000 02000000");
const named = (option: number, ...infos: Buffer[]): Buffer =>
  Buffer.concat([...infos.map((info) => reply(option, 3, info)), reply(option, 1)]);
const unknownName = Buffer.from('the export is called "disk"');
const meta = (name: string, ...queries: string[]): Buffer => {
  const lengths = (text: string): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(Buffer.byteLength(text));
    return Buffer.concat([bytes, Buffer.from(text)]);
  };
  const count = Buffer.alloc(4);
  count.writeUInt32BE(queries.length);
  return Buffer.concat([lengths(name), count, ...queries.map(lengths)]);
};

const table: readonly {
  readonly name: string;
  readonly sends: readonly Buffer[];
  readonly gets: readonly Buffer[];
  readonly end: "close" | "transmission" | "wait";
}[] = [
  {
    name: "GO: size, flags, block sizes, no zeroes behind",
    sends: [FIXED, optionBytes(7, infoRequest("disk"))],
    gets: [named(7, exportInfo, blockInfo)],
    end: "transmission",
  },
  {
    name: "INFO: the same answer, and the handshake goes on",
    sends: [FIXED, optionBytes(6, infoRequest("disk", [3])), optionBytes(7, infoRequest("disk", [3]))],
    gets: [named(6, exportInfo, blockInfo), named(7, exportInfo, blockInfo)],
    end: "transmission",
  },
  {
    name: "the name when it is asked for",
    sends: [FIXED, optionBytes(6, infoRequest("", [1]))],
    gets: [named(6, exportInfo, blockInfo, Buffer.from("\0\x01disk"))],
    end: "wait",
  },
  {
    name: "the empty name is the default export",
    sends: [FIXED, optionBytes(7, infoRequest(""))],
    gets: [named(7, exportInfo, blockInfo)],
    end: "transmission",
  },
  {
    name: "GO for an unknown name, then for the right one",
    sends: [FIXED, optionBytes(7, infoRequest("dis")), optionBytes(7, infoRequest("disk"))],
    gets: [reply(7, UNKNOWN, unknownName), named(7, exportInfo, blockInfo)],
    end: "transmission",
  },
  {
    name: "EXPORT_NAME with NO_ZEROES: ten bytes",
    sends: [FIXED, optionBytes(1, Buffer.from("disk"))],
    gets: [hex("0000000100002000 016d")],
    end: "transmission",
  },
  {
    name: "EXPORT_NAME without NO_ZEROES: 124 zeroes behind",
    sends: [flags(1), optionBytes(1)],
    gets: [hex("0000000100002000 016d"), Buffer.alloc(124)],
    end: "transmission",
  },
  {
    name: "EXPORT_NAME from a client that is not fixed newstyle",
    sends: [flags(0), optionBytes(1, Buffer.from("disk"))],
    gets: [hex("0000000100002000 016d"), Buffer.alloc(124)],
    end: "transmission",
  },
  { name: "EXPORT_NAME of an unknown name", sends: [FIXED, optionBytes(1, Buffer.from("x"))], gets: [], end: "close" },
  { name: "EXPORT_NAME of 4 GiB", sends: [FIXED, optionBytes(1, Buffer.alloc(0), 0xffffffff)], gets: [], end: "close" },
  { name: "another option without fixed newstyle", sends: [flags(2), optionBytes(3)], gets: [], end: "close" },
  { name: "unknown client flags", sends: [flags(7)], gets: [], end: "close" },
  { name: "a wrong option magic", sends: [FIXED, Buffer.from("IHAVEOPPxxxxyyyy")], gets: [], end: "close" },
  { name: "ABORT is acknowledged", sends: [FIXED, optionBytes(2)], gets: [reply(2, 1)], end: "close" },
  { name: "ABORT with data", sends: [FIXED, optionBytes(2, Buffer.from("bye"))], gets: [reply(2, 1)], end: "close" },
  {
    name: "LIST",
    sends: [FIXED, optionBytes(3)],
    gets: [reply(3, 2, Buffer.from("\0\0\0\x04disk")), reply(3, 1)],
    end: "wait",
  },
  {
    name: "LIST takes no data",
    sends: [FIXED, optionBytes(3, Buffer.from("x"))],
    gets: [reply(3, INVALID, Buffer.from("LIST takes no data"))],
    end: "wait",
  },
  {
    name: "STRUCTURED_REPLY brings DF",
    sends: [FIXED, optionBytes(8), optionBytes(7, infoRequest("disk"))],
    gets: [reply(8, 1), named(7, exportInfoWithDf, blockInfo)],
    end: "transmission",
  },
  {
    name: "STRUCTURED_REPLY takes no data",
    sends: [FIXED, optionBytes(8, Buffer.from("x")), optionBytes(6, infoRequest("disk"))],
    gets: [reply(8, INVALID, Buffer.from("STRUCTURED_REPLY takes no data")), named(6, exportInfo, blockInfo)],
    end: "wait",
  },
  {
    name: "meta contexts: we have none",
    sends: [FIXED, optionBytes(8), optionBytes(10, meta("disk", "base:allocation")), optionBytes(9, meta("disk"))],
    gets: [reply(8, 1), reply(10, 1), reply(9, 1)],
    end: "wait",
  },
  {
    name: "meta contexts before structured replies",
    sends: [FIXED, optionBytes(10, meta("disk", "base:allocation"))],
    gets: [reply(10, INVALID)],
    end: "wait",
  },
  {
    name: "meta contexts of an unknown export, and malformed ones",
    sends: [
      FIXED,
      optionBytes(8),
      optionBytes(10, meta("x", "base:allocation")),
      optionBytes(10, meta("disk", "base:allocation").subarray(0, -1)),
      optionBytes(10, hex("ffffffff 00000000")),
      optionBytes(10, hex("00000000 ffffffff")),
      optionBytes(10, hex("00000000 00000001 ffffffff")),
    ],
    gets: [reply(8, 1), reply(10, UNKNOWN), ...Array.from({ length: 4 }, () => reply(10, INVALID))],
    end: "wait",
  },
  {
    name: "malformed INFO and GO",
    sends: [
      FIXED,
      optionBytes(7),
      optionBytes(7, infoRequest("disk").subarray(0, -1)),
      optionBytes(6, hex("ffffffff 0000")),
      optionBytes(6, hex("00000000 ffff")),
      optionBytes(6, Buffer.concat([infoRequest("disk"), Buffer.from("x")])),
    ],
    gets: [reply(7, INVALID), reply(7, INVALID), reply(6, INVALID), reply(6, INVALID), reply(6, INVALID)],
    end: "wait",
  },
  {
    name: "STARTTLS, EXTENDED_HEADERS and an unknown option are not supported",
    sends: [FIXED, optionBytes(5), optionBytes(11), optionBytes(0), optionBytes(0xffffffff, Buffer.from("what"))],
    gets: [reply(5, UNSUP), reply(11, UNSUP), reply(0, UNSUP), reply(0xffffffff, UNSUP)],
    end: "wait",
  },
  {
    name: "64 KiB of an unknown option are skipped",
    sends: [FIXED, optionBytes(77, Buffer.alloc(65536, "IHAVEOPT")), optionBytes(2)],
    gets: [reply(77, UNSUP), reply(2, 1)],
    end: "close",
  },
  {
    name: "too much data for a known option is skipped",
    sends: [FIXED, optionBytes(7, Buffer.alloc(65536)), optionBytes(2)],
    gets: [reply(7, TOO_BIG), reply(2, 1)],
    end: "close",
  },
  { name: "4 GiB of data", sends: [FIXED, optionBytes(77, Buffer.alloc(0), 0xffffffff)], gets: [], end: "close" },
];

describe("the handshake", () => {
  it("greets", () => {
    expect(Buffer.from(greeting())).toEqual(hex("4e42444d41474943 49484156454f5054 0003"));
  });

  it.each(table)("$name", ({ sends, gets, end }) => {
    const bytes = Buffer.concat(sends);
    const whole = talk(bytes, bytes.length);
    expect(whole.reply.toString("hex")).toBe(Buffer.concat(gets).toString("hex"));
    expect(whole.end).toBe(end);
    // Byte by byte, and cut anywhere else, it is the same.
    for (const piece of bytes.length < 1000 ? [1, 2, 3, 7, 15, 16, 17] : [1, 4096]) {
      const pieces = talk(bytes, piece);
      expect({ ...pieces, left: 0 }).toEqual({ ...whole, left: 0 });
    }
  });

  it("leaves what follows GO to the data phase", () => {
    const { end, left } = talk(Buffer.concat([FIXED, optionBytes(7, infoRequest("disk")), Buffer.alloc(28)]), 1000);
    expect({ end, left }).toEqual({ end: "transmission", left: 28 });
  });

  it("answers one option a step", () => {
    const { state } = handshakeStep(initialHandshake, FIXED, exported);
    const two = Buffer.concat([optionBytes(3), optionBytes(3)]);
    expect(handshakeStep(state, two, exported).consumed).toBe(16);
  });
});
