import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ControlReply, MAX_REQUEST_BYTES, type PingData } from "../../src/daemon/control-api.ts";
import { Host } from "../support/daemons.ts";

/** F42: whatever a client sends, it gets an error or is disconnected, and the daemon serves the next one. */
let host: Host;

beforeAll(async () => {
  host = new Host();
  await host.start("n1");
});
afterAll(() => host.close());

const open = (): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(host.socketOf("n1"));
    socket.once("connect", () => resolve(socket)).once("error", reject);
  });

/** Everything that comes back until the daemon or the test ends the connection. */
async function send(bytes: string | Buffer, replies = 1): Promise<ControlReply[]> {
  const socket = await open();
  return new Promise((resolve) => {
    let text = "";
    const lines = (): ControlReply[] =>
      text
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as ControlReply);
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (lines().length >= replies) socket.destroy();
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(lines()));
    socket.write(bytes);
  });
}

const request = (method: string, params: unknown = {}, id: unknown = 1, v: unknown = 1): string =>
  `${JSON.stringify({ v, id, method, params })}\n`;

async function stillServes(): Promise<void> {
  const [reply] = await send(request("ping"));
  expect(reply).toMatchObject({ ok: true, data: { node: "n1", pid: host.pidOf("n1") } satisfies Partial<PingData> });
}

describe("one line", () => {
  it.each([
    ["no JSON", "hello\n", null, "E_VALUE"],
    ["half of a JSON", '{"v":1,\n', null, "E_VALUE"],
    ["no object", "[1,2,3]\n", null, "E_VALUE"],
    ["null", "null\n", null, "E_VALUE"],
    ["bytes that are no UTF-8", Buffer.from([0xff, 0xfe, 0x0a]), null, "E_VALUE"],
    ["no id", '{"v":1,"method":"ping","params":{}}\n', null, "E_VALUE"],
    ["an id that is no number", request("ping", {}, "1"), null, "E_VALUE"],
    ["an id beyond 2^53", request("ping", {}, 1e300), null, "E_VALUE"],
    ["another version", request("ping", {}, 1, 2), 1, "E_PROTOCOL_VERSION"],
    ["no version", request("ping", {}, 1, null), 1, "E_PROTOCOL_VERSION"],
    ["an unknown method", request("frobnicate"), 1, "E_VALUE"],
    ["a method of every object", request("constructor"), 1, "E_VALUE"],
    ["__proto__", request("__proto__"), 1, "E_VALUE"],
    ["a method that is no text", request(7 as unknown as string), 1, "E_VALUE"],
    ["parameters that are no object", request("ping", [1]), 1, "E_VALUE"],
    ["a parameter too many", request("ping", { extra: 1 }), 1, "E_VALUE"],
    ["__proto__ as a parameter", '{"v":1,"id":1,"method":"ping","params":{"__proto__":{"x":1}}}\n', 1, "E_VALUE"],
    ["a parameter of a wrong type", request("detail", { array: 5 }), 1, "E_VALUE"],
    ["a NUL in a name", request("detail", { array: "md0\0" }), 1, "E_VALUE"],
    ["a name of 5 KiB", request("detail", { array: "x".repeat(5000) }), 1, "E_VALUE"],
    ["a list for a text", request("unmap", { target: ["md0"], force: false }), 1, "E_VALUE"],
    ["a list of 5000", request("wait", { arrays: Array.from({ length: 5000 }, () => "md0") }), 1, "E_VALUE"],
    [
      "deep nesting",
      `{"v":1,"id":1,"method":"ping","params":${"[".repeat(200_000)}${"]".repeat(200_000)}}\n`,
      1,
      "E_VALUE",
    ],
    ["a level that is not", request("create", { level: 5, members: ["/a", "/b"] }), 1, "E_LEVEL_UNSUPPORTED"],
    ["a negative count", request("events", { array: null, since: -1, follow: false }), 1, "E_VALUE"],
    ["a relative path", request("create", { level: 1, members: ["a", "../b"] }), 1, "E_VALUE"],
  ])("%s is refused", async (_what, line, id, code) => {
    const [reply] = await send(line);
    expect(reply).toMatchObject({ id, ok: false, error: { code } });
    await stillServes();
  });

  it("that is too long ends the connection, without its newline too", async () => {
    const long = Buffer.alloc(MAX_REQUEST_BYTES + 2, "a");
    expect(await send(long)).toMatchObject([{ id: null, ok: false, error: { code: "E_VALUE" } }]);
    expect(await send(Buffer.concat([long, Buffer.from("\n"), Buffer.from(request("ping"))]), 2)).toHaveLength(1);
    await stillServes();
  });

  it("may come in pieces, and several at once", async () => {
    const socket = await open();
    const line = request("ping");
    for (const char of line.slice(0, -1)) socket.write(char);
    const answered = new Promise<string>((resolve) =>
      socket.once("data", (chunk: Buffer) => resolve(chunk.toString())),
    );
    socket.write("\n");
    expect(JSON.parse(await answered)).toMatchObject({ id: 1, ok: true });
    socket.destroy();
    const many = Array.from({ length: 20 }, (_, id) => request("ping", {}, id)).join("");
    expect((await send(many, 20)).map(({ id }) => id).sort((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 20 }, (_, id) => id),
    );
  });

  it("that repeats the id of an open request is refused, as is one too many at a time", async () => {
    const follow = (id: number): string => request("events", { array: null, since: 1e9, follow: true }, id);
    expect(await send(follow(1) + follow(1))).toMatchObject([{ id: 1, ok: false, error: { code: "E_VALUE" } }]);
    const flood = Array.from({ length: 65 }, (_, id) => follow(id)).join("");
    expect(await send(flood)).toMatchObject([{ id: 64, ok: false, error: { code: "E_DAEMON" } }]);
    await stillServes();
  });
});

it("no mixture of fields makes it do anything but refuse", async () => {
  const socket = await open();
  const replies: string[] = [];
  let rest = "";
  let arrived = (): void => {};
  socket.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop() ?? "";
    replies.push(...lines);
    arrived();
  });
  const field = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(fc.string()),
    fc.object(),
  );
  const names = ["array", "arrays", "members", "level", "name", "target", "ops", "since", "run", "listen", "id"];
  const methods = ["detail", "assemble", "manage", "unmap", "stop", "opShow", "locks", "create"];
  let id = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...methods),
      fc.dictionary(fc.constantFrom(...names), field),
      async (method, params) => {
        const count = replies.length;
        const answered = new Promise<void>((resolve) => {
          arrived = () => replies.length > count && resolve();
        });
        socket.write(request(method, params, id++));
        await answered;
        const reply = JSON.parse(replies.at(-1) ?? "") as ControlReply;
        expect(reply.ok).toBe(false);
        expect(reply).not.toMatchObject({ error: { code: "E_INTERNAL" } });
      },
    ),
    { numRuns: 200 },
  );
  socket.destroy();
  await stillServes();
});

it("a thousand connections are held or sent away, and the daemon serves on", async () => {
  const sockets = await Promise.all(Array.from({ length: 1000 }, () => open().catch(() => null)));
  for (const socket of sockets) {
    socket?.on("error", () => {});
    socket?.write('{"v":1,"id":1,');
  }
  for (const socket of sockets) socket?.destroy();
  await expect.poll(() => stillServes().then(() => true), { timeout: 10_000 }).toBe(true);
});

it("a client that asks and never reads is dropped, before it has cost much", async () => {
  const residentMib = (): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${host.pidOf("n1")}/status`, "utf8"))?.[1]) / 1024;
  const before = residentMib();
  const socket = await open();
  socket.pause();
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => {});
  const flood = Buffer.from(request("ping").repeat(500));
  let gone = false;
  void closed.then(() => {
    gone = true;
  });
  while (!gone) {
    if (socket.write(flood)) continue;
    const drained = new Promise((resolve) => socket.once("drain", resolve));
    await Promise.race([drained, closed]);
  }
  expect(residentMib() - before).toBeLessThan(150);
  await stillServes();
});
