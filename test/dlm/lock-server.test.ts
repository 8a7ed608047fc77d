import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, lstatSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { type LockServer, runLockServer } from "../../src/dlm/socket/lock-server.ts";
import { connectSocketMaster } from "../../src/dlm/socket/socket-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { tempDir } from "../support/temp-dir.ts";

const env = realEnv(silentLogger);
const lockspace = { cluster: "alpha", name: "array" };

describe("the embedded lock server", () => {
  let directory: ReturnType<typeof tempDir>;
  let socketPath: string;
  const servers: LockServer[] = [];
  const masters: LockMaster[] = [];

  beforeEach(() => {
    directory = tempDir("lockd");
    socketPath = join(directory.path, "lockd.sock");
  });
  afterEach(async () => {
    for (const master of masters.splice(0)) await master.close();
    for (const server of servers.splice(0)) await server.close();
    directory.remove();
  });

  const serve = async (): Promise<LockServer | null> => {
    const server = await runLockServer({ socketPath, env });
    if (server !== null) servers.push(server);
    return server;
  };
  const client = async (): Promise<LockMaster> => {
    const master = await connectSocketMaster({ socketPath, env });
    masters.push(master);
    return master;
  };
  /** Sends bytes as they are; resolves with all that came back once the server closes. */
  const raw = async (...parts: (string | Buffer)[]): Promise<string> => {
    const socket = connect(socketPath);
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk.toString();
    });
    socket.on("error", () => {});
    for (const part of parts) socket.write(part);
    await new Promise((resolve) => socket.on("close", resolve));
    return answer;
  };
  const join1 = (leaseMs = 1000) =>
    ({
      op: "join",
      node: "n1",
      incarnation: "a",
      slots: 4,
      leaseMs,
      lvbSize: 64,
      fencing: "lease only",
      gone: [],
    }) as const;

  it("is usable by its owner alone and takes its socket away when it ends", async () => {
    const server = await serve();
    expect(lstatSync(socketPath).mode & 0o777).toBe(0o600);
    await server?.close();
    expect(existsSync(socketPath)).toBe(false);
  });

  it("leaves the socket to a living server", async () => {
    await serve();
    expect(await serve()).toBeNull();
    expect((await (await client()).call(lockspace, { op: "hello" })).rc).toBe(-1001);
  });

  it("has one winner among many that start at once, also over a stale socket", async () => {
    const dead = spawn(process.execPath, [
      "-e",
      `require("net").createServer().listen(${JSON.stringify(socketPath)},()=>console.log("up"))`,
    ]);
    await once(dead.stdout, "data");
    dead.kill("SIGKILL");
    await once(dead, "close");
    expect(existsSync(socketPath)).toBe(true);
    await expect(client()).rejects.toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
    const started = await Promise.all(Array.from({ length: 8 }, serve));
    expect(started.filter((server) => server !== null)).toHaveLength(1);
    expect((await (await client()).call(lockspace, { op: "hello" })).rc).toBe(-1001);
  });

  it("does not touch what is not its socket, nor a directory open to others", async () => {
    writeFileSync(socketPath, "precious");
    await expect(serve()).rejects.toMatchObject({ code: "E_PERMISSION" });
    expect(lstatSync(socketPath).isFile()).toBe(true);
    rmSync(socketPath);
    chmodSync(directory.path, 0o777);
    await expect(serve()).rejects.toMatchObject({ code: "E_PERMISSION" });
  });

  it("ends when its socket is replaced", async () => {
    const server = await serve();
    rmSync(socketPath);
    const other = createServer().listen(socketPath);
    await server?.ended;
    expect(existsSync(socketPath)).toBe(true);
    other.close();
  });

  it("answers hostile input with an error and drops only that connection", async () => {
    await serve();
    const master = await client();
    const hello = `${JSON.stringify({ type: "hello", protocol: 2 })}\n`;
    const call = (body: unknown, where: unknown = lockspace): string =>
      `${JSON.stringify({ type: "call", id: 1, lockspace: where, call: body })}\n`;
    const header = { slot: 1, incarnation: "a", epoch: 1, rid: 1, ack: 0, seen: 0 };
    const hostile: (string | Buffer)[] = [
      "GET / HTTP/1.1\r\n\r\n",
      "null\n",
      "[[[[",
      Buffer.alloc(1_100_000, 0x5b),
      Buffer.from([0xff, 0xfe, 10]),
      `${JSON.stringify({ type: "hello", protocol: 99 })}\n`,
      call({ op: "__proto__" }),
      call({ op: "constructor" }),
      call({ op: "hello" }, { cluster: "../x", name: "y" }),
      call({ op: "convert", ...header, name: "r", lkid: 1, mode: "EX", flags: 0 }),
      call({ op: "convert", ...header, name: "r", lkid: 1e300, mode: 0, flags: 0 }),
      call({ ...join1(), gone: Array.from({ length: 100 }, () => ({})) }),
      call({ op: "lock", ...header, name: "x".repeat(257), mode: 0, flags: 0, bast: true }),
      `${JSON.stringify({ type: "watch", id: 1, lockspace, member: 3 })}\n`,
    ];
    for (const bytes of hostile) {
      const parts =
        typeof bytes === "string" && !bytes.endsWith("\n") ? [bytes, Buffer.alloc(1_100_000, 0x20)] : [bytes];
      expect(await raw(hello, ...parts)).toMatch(/"type":"refused"/);
    }
    expect((await master.call(lockspace, { op: "hello" })).rc).toBe(-1001);
  });

  it("refuses to speak with a server of another version", async () => {
    const other = createServer((socket) => {
      socket.write(`${JSON.stringify({ type: "refused", kind: "protocol", reason: "it speaks 2, I speak 3" })}\n`);
      socket.on("error", () => {});
    }).listen(socketPath);
    await once(other, "listening");
    const connecting = client();
    const sockets = await once(other, "connection");
    sockets[0].destroySoon();
    await expect(connecting).rejects.toMatchObject({ code: "E_PROTOCOL_VERSION" });
    other.close();
  });

  it("after an end without members lets anybody create a lockspace at once", async () => {
    const first = await serve();
    const master = await client();
    await master.call(lockspace, { op: "format", lsid: "y", epoch: 0 });
    const { epoch, seq } = await master.call(lockspace, join1());
    const header = { slot: 1, incarnation: "a", epoch, rid: 1, ack: 0, seen: seq };
    expect((await master.call(lockspace, { op: "leave", ...header })).rc).toBe(0);
    await first?.close();
    await serve();
    expect(await (await client()).call(lockspace, { op: "hello" })).toMatchObject({ mayHaveForgotten: false });
  });

  it("after a death with members does not, however often it dies and whoever comes and goes meanwhile", async () => {
    const first = await serve();
    const master = await client();
    await master.call(lockspace, { op: "format", lsid: "x", epoch: 0 });
    await master.call(lockspace, join1(60_000));
    expect(existsSync(`${socketPath}.members`)).toBe(true);
    await first?.close();
    const second = await serve();
    const again = await client();
    expect(await again.call(lockspace, { op: "hello" })).toMatchObject({ rc: -1001, mayHaveForgotten: true });
    // Nobody that this life knows of is a member in the end; those of the first may still write.
    await again.call(lockspace, { op: "format", lsid: "y", epoch: 0 });
    const { epoch, seq } = await again.call(lockspace, join1());
    const header = { slot: 1, incarnation: "a", epoch, rid: 1, ack: 0, seen: seq };
    expect((await again.call(lockspace, { op: "leave", ...header })).rc).toBe(0);
    await second?.close();
    await serve();
    expect(await (await client()).call(lockspace, { op: "hello" })).toMatchObject({ mayHaveForgotten: true });
  });

  it("reconnects after the server came back, and tells", async () => {
    const first = await serve();
    const master = await client();
    const told: boolean[] = [];
    const back = new Promise<void>((resolve) => {
      master.onReachable((reachable) => {
        told.push(reachable);
        if (reachable) resolve();
      });
    });
    await first?.close();
    await expect(master.call(lockspace, { op: "hello" })).rejects.toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
    await serve();
    await back;
    expect(told).toEqual([false, true]);
    expect((await master.call(lockspace, { op: "hello" })).rc).toBe(-1001);
  });
});
