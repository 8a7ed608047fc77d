import { describe, expect, it } from "vitest";
import { PackedWriter } from "../../src/dlm/redis/packed-writer.ts";
import { packCall, unpackMessage, unpackReply } from "../../src/dlm/redis/redis-wire.ts";
import { packedEvent, packedMessage, packedReply } from "../support/packed-reply.ts";

const marked = (mark: number, rest: Buffer): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(mark);
  return Buffer.concat([bytes, rest]);
};

describe("what is sent to Redis and comes back", () => {
  it("packs texts with their length in bytes, however long, and numbers behind them", () => {
    const long = "ä€😀".repeat(2000);
    const writer = new PackedWriter().begin().shortText("né").text(long).double(-1.5);
    const bytes = writer.take();
    expect(bytes.toString("utf8", 0, 4)).toBe("\x03né");
    expect(bytes.readUInt32LE(4)).toBe(Buffer.byteLength(long));
    expect(bytes.toString("utf8", 8, bytes.length - 8)).toBe(long);
    expect(bytes.readDoubleLE(bytes.length - 8)).toBe(-1.5);
    expect(writer.begin().byte(7).take()).toEqual(Buffer.from([7]));
    // At the end of the room that there is: it moves.
    const filled = new PackedWriter().begin();
    for (let n = 0; n < 4090; n++) filled.byte(0);
    expect(filled.shortText("abcdef").take().toString("latin1", 4090)).toBe("\x06abcdef");
  });

  it("begins each call with its mark, and takes no reply with another one", () => {
    const [head] = packCall({ op: "hello" }, { mark: 12, code: "c", known: undefined });
    expect(head?.readDoubleLE(0)).toBe(12);
    expect(unpackReply(marked(12, packedReply({ seq: 3 })), 12)).toMatchObject({ rc: 0, seq: 3, events: [] });
    expect(unpackReply(marked(11, packedReply({ seq: 3 })), 12)).toBeNull();
  });

  it("unpacks each kind of event, alone and behind others", () => {
    const cast = { n: 1, seq: 7, type: "cast", lkid: 4, status: -11, mode: 5, flags: 2, lvbSeq: 9 };
    const numbers = [1, 7, 4, -11, 5, 2, 9];
    const events = [
      packedEvent("c", numbers),
      packedEvent("v", numbers, "dmFsdWU="),
      packedEvent("b", [2, 8, 4, 3]),
      packedEvent("j", [3, 9], '"type":"left","slot":2,"node":"n2"'),
    ];
    const expected = [
      cast,
      { ...cast, lvb: "dmFsdWU=" },
      { n: 2, seq: 8, type: "bast", lkid: 4, mode: 3 },
      { n: 3, seq: 9, type: "left", slot: 2, node: "n2" },
    ];
    expect(unpackReply(marked(1, packedReply({ events })), 1)?.events).toEqual(expected);
    for (const [at, event] of events.entries()) {
      const heard = { epoch: 5, incarnation: "i-1", event: expected[at] };
      expect(unpackMessage(packedMessage(5, "i-1", event))).toEqual(heard);
    }
  });

  it("gives the mailboxes of a dump their events", () => {
    const mailbox = { lastRid: 0, sent: 2, acked: 0, ring: [] };
    const rest = JSON.stringify({
      mailboxes: [
        { slot: 1, ...mailbox, events: 1 },
        { slot: 2, ...mailbox, events: 2 },
      ],
    });
    const events = [1, 2, 3].map((n) => packedEvent("b", [n, n, 1, 5]));
    const reply = unpackReply(marked(1, packedReply({ events, rest })), 1);
    expect(reply?.events).toEqual([]);
    expect(reply?.mailboxes?.map((each) => each.events.map(({ n }) => n))).toEqual([[1], [2, 3]]);
  });
});
