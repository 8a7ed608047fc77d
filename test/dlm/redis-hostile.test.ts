import { afterEach, describe, expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { bulk, bulkOf, bytesOf, type FakeRedis, markOf, type Say, startFakeRedis } from "../support/fake-redis.ts";
import { joinRecorded } from "../support/lockspace-node.ts";
import { packedEvent, packedMessage, packedReply } from "../support/packed-reply.ts";

const env = realEnv(silentLogger);
const lockspace = { cluster: "alpha", name: "array" };
const hello = { op: "hello" } as const;
const MiB = 1024 * 1024;

const reply = (spoken: Parameters<typeof packedReply>[0] = {}): Say => ({ reply: packedReply(spoken) });
const other = (text: string): Buffer => packedEvent("j", [1, 1], text);

/** What may come in place of a reply. None of it may be believed, cost much, or end the process. */
const hostile: readonly (readonly [string, Say])[] = [
  ["a string of 2 GiB", "$2147483648\r\n"],
  ["a string of 2 GiB that does come", Buffer.concat([Buffer.from("$2147483648\r\n"), Buffer.alloc(4 * MiB, "x")])],
  ["a negative length", "$-7\r\n*-9\r\n"],
  ["a length that is no number", "$1e9\r\nx\r\n"],
  ["a length of 40 digits", `$${"9".repeat(40)}\r\n`],
  ["an array of four thousand million", "*4294967295\r\n"],
  ["arrays of 30 million, nested", "*30000000\r\n".repeat(6)],
  ["arrays nested 100,000 deep", "*1\r\n".repeat(100_000)],
  ["arrays that add up", "*1000000\r\n".repeat(5)],
  ["a flood of errors", "-ERR no\r\n".repeat(100_000)],
  ["a flood of replies that nobody asked for", "+OK\r\n".repeat(100_000)],
  ["a line without an end", `+${"x".repeat(MiB)}`],
  ["garbage", Buffer.from(Array.from({ length: 4096 }, (_, at) => (at * 7919) % 256))],
  ["HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n"],
  ["nothing but a nil", "$-1\r\n"],
  ["a number", ":5\r\n"],
  ["an array", "*2\r\n+a\r\n+b\r\n"],
  ["RESP3", "%1\r\n+a\r\n:1\r\n"],
  ["a reply that is cut", { reply: packedReply().subarray(0, 40) }],
  ["no JSON", reply({ rest: "{rc:0}" })],
  ["JSON without an end", reply({ rest: '{"state":"run","members":[' })],
  ["JSON nested 200,000 deep", reply({ rest: "[".repeat(200_000) })],
  ["JSON that is no object", reply({ rest: "null" })],
  ["a result code that is no number", reply({ rc: Number.NaN })],
  ["a sequence number that is none", reply({ seq: 1e300 })],
  ["an epoch below nothing", reply({ epoch: -1 })],
  ["events that are longer than the reply", reply({ length: 1e9 })],
  ["events of no length", reply({ length: Number.NaN })],
  ["an event that is cut", reply({ events: [packedEvent("c", [1, 1, 1, 0, 0, 0, 0]).subarray(0, 30)] })],
  ["an event that says it is empty", reply({ events: [Buffer.alloc(21)] })],
  ["an event of an unknown kind", reply({ events: [packedEvent("x", [1, 1])] })],
  ["an event of an unknown type", reply({ events: [other('"type":"__proto__"')] })],
  ["an event that is no JSON", reply({ events: [other("}")] })],
  ["a completion without a lock", reply({ events: [packedEvent("c", [1, 1])] })],
  ["a completion with a number that is none", reply({ events: [packedEvent("c", [1, 1, 0.5, 0, 0, 0, 0])] })],
  ["a bast that is too long", reply({ events: [packedEvent("b", [1, 1, 1, 5, 5])] })],
  [
    "65 members",
    reply({ rest: JSON.stringify({ members: Array.from({ length: 65 }, (_, slot) => ({ slot, node: "n" })) }) }),
  ],
  ["mailboxes without events", reply({ rest: '{"mailboxes":[null]}' })],
  ["the end of the connection", "hang up"],
  ["silence", null],
];

describe("F45: a hostile lock server", () => {
  const cleanup: (() => Promise<unknown>)[] = [];
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  afterEach(async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
    process.off("unhandledRejection", note);
    process.off("uncaughtException", note);
    expect(unhandled.splice(0)).toEqual([]);
  });

  const start = async (say: (words: readonly string[]) => Say | undefined): Promise<FakeRedis> => {
    process.on("unhandledRejection", note);
    process.on("uncaughtException", note);
    const server = await startFakeRedis(say);
    cleanup.push(() => server.stop());
    return server;
  };
  const connect = async (url: string): Promise<LockMaster> => {
    const master = await connectRedisMaster({ url, node: "n1", env });
    cleanup.push(() => master.close());
    return master;
  };
  const answered = async (master: LockMaster): Promise<void> => {
    for (;;) {
      const answer = await master.call(lockspace, hello).catch(() => null);
      if (answer !== null) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };

  it.each(hostile)("is not believed when it answers with %s, and is used again when it is sane", async (_, say) => {
    let sane = false;
    const server = await start(([name]) => (name === "FCALL" ? (sane ? reply() : say) : undefined));
    const master = await connect(server.url);
    const before = process.memoryUsage().rss;
    for (let n = 0; n < 3; n++) {
      await expect(master.call(lockspace, hello)).rejects.toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * MiB);
    sane = true;
    await answered(master);
  });

  it("is not believed when it repeats a reply in the place of the next one (F33)", async () => {
    const answer = packedReply({ seq: 41 });
    let first: Buffer | undefined;
    const server = await start((words) => {
      if (words[0] !== "FCALL") return undefined;
      if (first !== undefined) {
        const twice = bulkOf(Buffer.concat([first, answer]));
        return Buffer.concat([twice, twice]);
      }
      first = markOf(words);
      return null;
    });
    const master = await connect(server.url);
    const elsewhere = { ...lockspace, name: "other" };
    const [one, two] = await Promise.allSettled([master.call(lockspace, hello), master.call(elsewhere, hello)]);
    expect(one).toMatchObject({ status: "fulfilled", value: { seq: 41 } });
    expect(two).toMatchObject({ status: "rejected", reason: { code: "E_LOCK_SERVICE_LOST" } });
  });

  it.each(hostile)("is refused when it answers INFO with %s", async (_, say) => {
    const server = await start(([name]) => (name === "INFO" ? say : undefined));
    await expect(connect(server.url)).rejects.toMatchObject({ code: expect.stringMatching(/^E_/) });
  });

  const message = (channel: string, said: Buffer): Buffer =>
    Buffer.concat([Buffer.from(`*3\r\n${bulk("message")}${bulk(channel)}`), bulkOf(said)]);
  const noMessages: readonly (readonly [string, Say])[] = [
    ["a message of nothing", "*3\r\n$7\r\nmessage\r\n$-1\r\n$-1\r\n"],
    ["a message that is a number", "*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n"],
    ["a message of four", `*4\r\n${["message", "a", "b", "c"].map(bulk).join("")}`],
    ["a subscription that nobody asked for", `*3\r\n${bulk("subscribe")}${bulk("a")}:1\r\n`],
  ];

  const prep = packedMessage(1, "me", other('"type":"prep"'));
  it.each([
    ["no message", Buffer.from("1 me {}")],
    ["nothing", Buffer.alloc(0)],
    ["a message that is cut", prep.subarray(0, prep.length - 1)],
  ])("is asked when it says %s of the mailbox", async (_, said) => {
    const server = await start(([name, channel = ""]) =>
      name === "subscribe"
        ? Buffer.concat([
            Buffer.from(`*3\r\n${bulk("subscribe")}${bulk(channel)}:1\r\n`),
            message(channel, said),
            message(channel, said),
          ])
        : undefined,
    );
    const master = await connect(server.url);
    const member = { slot: 1, incarnation: "me", epoch: 1 };
    const heard: unknown[] = [];
    // One is for the connection.
    await new Promise<void>((resolve) => {
      const watch = master.watch(lockspace, member, (events) => {
        if (heard.push(...events, "asked") === 3) resolve();
      });
      cleanup.push(async () => watch.stop());
    });
    expect(heard).toEqual(["asked", "asked", "asked"]);
  });

  it.each([...hostile, ...noMessages])("does no harm through the mailbox with %s", async (_, say) => {
    if (say === null) return; // a silent mailbox is the usual one
    let asked = 0;
    const server = await start(([name, channel = ""]) => {
      if (name !== "subscribe") return undefined;
      asked += 1;
      const subscribed = `*3\r\n${bulk("subscribe")}${bulk(channel)}:1\r\n`;
      if (asked === 1 && say === "hang up") return say;
      const spoken = asked === 1 ? bytesOf(say, []) : message(channel, prep);
      return Buffer.concat([Buffer.from(subscribed), Buffer.from(spoken)]);
    });
    const master = await connect(server.url);
    await new Promise<void>((resolve) => {
      const member = { slot: 1, incarnation: "me", epoch: 1 };
      const watch = master.watch(lockspace, member, (events) => {
        if (events.length === 0) return; // a connection was made: it is time to ask
        expect(events).toEqual([{ n: 1, seq: 1, type: "prep" }]);
        watch.stop();
        resolve();
      });
    });
  });

  it("cannot make a node write: without a sane answer there is no lease", async () => {
    const server = await start(([name]) => (name === "FCALL" ? "$2147483648\r\n" : undefined));
    const joining = joinRecorded(await connect(server.url), env, "n1");
    await expect(joining).rejects.toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
  });
});
