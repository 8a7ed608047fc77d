import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { type LockServer, runLockServer } from "../../src/dlm/socket/lock-server.ts";
import { connectSocketMaster } from "../../src/dlm/socket/socket-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { BareMember } from "../support/lock-vector-runner.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { tempDir } from "../support/temp-dir.ts";

const env = realEnv(silentLogger);
const lockspace = { cluster: "alpha", name: "array" };
const hello = `${JSON.stringify({ type: "hello", protocol: 2 })}\n`;
const call = (id: number, body: unknown): string => `${JSON.stringify({ type: "call", id, lockspace, call: body })}\n`;

describe("a lock server among peers that behave badly", () => {
  let directory: ReturnType<typeof tempDir>;
  let socketPath: string;
  let clock: FakeClock;
  let server: LockServer | null;
  let honest: LockMaster;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    directory = tempDir("lockd");
    socketPath = join(directory.path, "lockd.sock");
    clock = new FakeClock();
    server = await runLockServer({ socketPath, env: { ...env, clock } });
    honest = await connectSocketMaster({ socketPath, env });
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await honest.close();
    await server?.close();
    directory.remove();
  });

  const open = async (): Promise<Socket> => {
    const socket = connect(socketPath);
    sockets.push(socket);
    socket.on("error", () => {});
    await once(socket, "connect");
    return socket;
  };
  const closed = (socket: Socket): Promise<void> =>
    new Promise((resolve) => {
      socket.resume();
      if (socket.closed) resolve();
      else socket.on("close", () => resolve());
    });
  const answers = async (): Promise<number> => (await honest.call(lockspace, { op: "hello" })).rc;
  /** Everything that a socket gets until it has `lines` lines or is closed. */
  const lines = (socket: Socket, count: number): Promise<string[]> =>
    new Promise((resolve) => {
      let text = "";
      const done = (): void => resolve(text.split("\n").slice(0, -1));
      socket.on("data", (chunk) => {
        text += chunk.toString();
        if (text.split("\n").length > count) done();
      });
      socket.on("close", done);
    });

  it("wants a hello first, and soon", async () => {
    const rude = await open();
    rude.write(call(1, { op: "hello" }));
    expect(await lines(rude, 9)).toEqual([expect.stringMatching(/the first request must be a hello/)]);
    const long = await open();
    long.write(`{"type":"hello","protocol":2,"more":"${"x".repeat(2000)}"}\n`);
    expect(await lines(long, 9)).toEqual([expect.stringMatching(/a frame of more than 1024 bytes/)]);
    const silent = await open();
    await answers(); // it was accepted by then
    await clock.advance(5100);
    await closed(silent);
    expect(await answers()).toBe(-1001);
  });

  it("keeps a bounded number of connections without a word, and serves who speaks", async () => {
    const silent: Socket[] = [];
    for (let n = 0; n < 100; n++) silent.push(await open());
    const polite = await open();
    polite.write(hello);
    expect(await lines(polite, 1)).toEqual([expect.stringMatching(/"type":"hello"/)]);
    await Promise.all(silent.slice(0, 36).map(closed));
    expect(silent.slice(40).filter(({ closed: gone }) => gone)).toEqual([]);
    expect(await answers()).toBe(-1001);
  });

  it("answers who does not read no further than its buffers go, and goes on when it reads", async () => {
    const member = await BareMember.join(honest, lockspace, "a");
    for (let n = 0; n < 300; n++) {
      await member.call({ op: "lock", name: `resource-${n}`, mode: 5, flags: 0, bast: true });
    }
    const slow = await open();
    slow.pause();
    const asked = 3000;
    slow.write(hello + Array.from({ length: asked }, (_, id) => call(id, { op: "dump" })).join(""));
    const before = process.memoryUsage().rss;
    for (let n = 0; n < 200; n++) await answers();
    // All answers together are 200 MB.
    expect(process.memoryUsage().rss - before).toBeLessThan(60e6);
    let count = -1;
    slow.on("data", (chunk: Buffer) => {
      for (const byte of chunk) if (byte === 10) count += 1;
    });
    slow.resume();
    while (count < asked) await answers();
    expect(slow.closed).toBe(false);
  });

  it("cuts off who reads nothing at all", async () => {
    const member = await BareMember.join(honest, lockspace, "a");
    for (let n = 0; n < 300; n++) {
      await member.call({ op: "lock", name: `resource-${n}`, mode: 5, flags: 0, bast: true });
    }
    const stuck = await open();
    stuck.pause();
    stuck.write(hello + Array.from({ length: 100 }, (_, id) => call(id, { op: "dump" })).join(""));
    for (let n = 0; n < 50; n++) await answers();
    for (let second = 0; second < 12; second++) await clock.advance(1000);
    await closed(stuck);
    expect(await answers()).toBe(0);
  });

  it("survives any bytes: 400 fuzzed sessions", async () => {
    const member = await BareMember.join(honest, lockspace, "a");
    const header = { slot: 1, incarnation: "inc-a", epoch: 1, rid: 0, ack: 0, seen: 0 };
    const good = [
      call(1, { op: "hello" }),
      call(2, { op: "dump" }),
      call(3, { op: "poll", ...header }),
      call(4, { op: "lock", ...header, name: "r", mode: 5, flags: 0, bast: true }),
      call(5, { op: "convert", ...header, name: "r", lkid: 1, mode: 0, flags: 8, lvb: "AAAA" }),
      `${JSON.stringify({ type: "watch", id: 6, lockspace, member: { slot: 1, incarnation: "inc-a", epoch: 1 } })}\n`,
      `${JSON.stringify({ type: "unwatch", id: 6 })}\n`,
    ];
    for (let seed = 1; seed <= 400; seed++) {
      const random = new SeededRandom(seed);
      const socket = connect(socketPath);
      socket.on("error", () => {});
      if (random.next() < 0.9) socket.write(hello);
      for (let n = random.below(8); n > 0; n--) {
        const bytes = Buffer.from(good[random.below(good.length)] ?? "");
        for (let flips = random.below(6); flips > 0; flips--) bytes[random.below(bytes.length)] = random.below(256);
        socket.write(random.next() < 0.1 ? bytes.subarray(0, random.below(bytes.length)) : bytes);
      }
      if (random.next() < 0.2) socket.destroy();
      else socket.end();
      await closed(socket);
    }
    // The member of before is one still, and nothing was done in its name that it did not ask for.
    const { rc } = await member.call({ op: "renew", counter: 1 });
    expect(rc).toBe(0);
    expect(await answers()).toBe(0);
  });
});
