import { Redis } from "ioredis";
import { afterEach, describe, expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { BareMember } from "../support/lock-vector-runner.ts";
import { joinRecorded, type RecordedNode } from "../support/lockspace-node.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { aclRule } from "../support/redis-acl.ts";

const env = realEnv(silentLogger);
const lockspace = { cluster: "alpha", name: "array" };

describe("Redis as lock server", () => {
  const cleanup: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
  });

  const start = async (...args: string[]): Promise<RedisServer> => {
    const server = await startRedis(args);
    cleanup.push(() => server.stop());
    return server;
  };
  const connect = async (url: string): Promise<LockMaster> => {
    const master = await connectRedisMaster({ url, node: "n1", env });
    cleanup.push(() => master.close());
    return master;
  };
  const admin = (server: RedisServer): Redis => {
    const client = new Redis(server.port, "127.0.0.1", { replyMapping: "legacy" });
    client.on("error", () => {});
    cleanup.push(async () => client.disconnect());
    return client;
  };
  const waitFor = async (node: RecordedNode, pattern: RegExp): Promise<void> => {
    while (!node.log.some((line) => pattern.test(line))) await new Promise((resolve) => setTimeout(resolve, 20));
  };

  it.each(["localhost:6379", "http://x", "redis://", "redis://h/notanumber"])("refuses the URL %s", async (url) => {
    await expect(connect(url)).rejects.toMatchObject({ code: "E_VALUE" });
  });

  it("says so when nothing answers", async () => {
    await expect(connect("redis://127.0.0.1:1")).rejects.toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
    await expect(connect("unix:///nonexistent/redis.sock")).rejects.toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
  });

  it("is reached over a Unix socket and with a password too", async () => {
    const server = await start("--requirepass", "s3cret:@/");
    await expect(connect(server.url)).rejects.toMatchObject({
      code: "E_PERMISSION",
      why: expect.stringContaining("it wants a password"),
    });
    const secret = encodeURIComponent("s3cret:@/");
    const master = await connect(`redis://:${secret}@127.0.0.1:${server.port}/2`);
    expect((await master.call(lockspace, { op: "hello" })).rc).toBe(lockStatus.ENOLS);
    expect(master.about).not.toContain("s3cret");
    const open = await start();
    expect((await (await connect(`unix://${open.directory}/redis.sock`)).call(lockspace, { op: "hello" })).rc).toBe(
      lockStatus.ENOLS,
    );
  });

  it("refuses a Redis that evicts keys, and a replica", async () => {
    const evicting = await start("--maxmemory-policy", "allkeys-lru");
    await expect(connect(evicting.url)).rejects.toMatchObject({
      code: "E_VALUE",
      message: expect.stringContaining("allkeys-lru"),
    });
    const replica = await start("--replicaof", "127.0.0.1", "1");
    await expect(connect(replica.url)).rejects.toMatchObject({ code: "E_VALUE" });
  });

  it("needs few rights once the library is loaded, and says which are missing before", async () => {
    const server = await start();
    await admin(server).call("ACL", "SETUSER", "mdlm", "reset", "on", ">pw", ...aclRule());
    const url = `redis://mdlm:pw@127.0.0.1:${server.port}`;
    await expect(connect(url)).rejects.toMatchObject({ code: "E_PERMISSION" });
    await connect(server.url); // somebody who may load it
    const one = await joinRecorded(await connect(url), env, "n1");
    const lock = await one.lockspace.open("message", { lvb: true });
    await lock.convert("EX");
    await lock.convert("CW", { lvb: new Uint8Array(64).fill(1) });
    await one.lockspace.leave();
  });

  it("loads its library again when somebody has flushed it", async () => {
    const server = await start();
    const master = await connect(server.url);
    await BareMember.join(master, lockspace, "a");
    await admin(server).call("FUNCTION", "FLUSH");
    expect((await master.call(lockspace, { op: "hello" })).members).toHaveLength(1);
  });

  it("answers in a full memory: giving up, renewing and leaving work", async () => {
    const server = await start();
    const master = await connect(server.url);
    const a = await BareMember.join(master, lockspace, "a");
    const lock = await a.call({ op: "lock", name: "r", mode: 5, flags: 0, bast: false });
    await admin(server).call("CONFIG", "SET", "maxmemory", "1");
    expect((await a.call({ op: "renew", counter: 1 })).rc).toBe(0);
    expect((await a.call({ op: "unlock", name: "r", lkid: lock.value, flags: 0 })).rc).toBe(0);
    expect((await a.call({ op: "leave" })).rc).toBe(0);
  });

  it("leaves what functions of schema 3 unpack before they look at the schema, and refuse", async () => {
    const server = await start();
    await BareMember.join(await connect(server.url), lockspace, "a");
    const script =
      "local n = {cmsgpack.unpack(redis.call('HGET', KEYS[1], 'now'))} return {#n, type(n[1]), type(n[4])}";
    const key = `mdlm:{${lockspace.cluster}/${lockspace.name}}:meta`;
    expect(await server.command("eval", script, "1", key)).toBe("4\nnumber\nnumber");
  });

  it("is not the same server any more after a restart, though its data is there", async () => {
    const server = await start("--appendonly", "yes", "--appendfsync", "always");
    const master = await connect(server.url);
    const a = await BareMember.join(master, lockspace, "a");
    const reachable = new Promise<void>((resolve) => master.onReachable((yes) => yes && resolve()));
    await server.restart();
    await reachable;
    expect((await a.call({ op: "renew", counter: 1 })).rc).toBe(lockStatus.EIDENT);
    const hello = await master.call(lockspace, { op: "hello" });
    expect(hello).toMatchObject({ rc: lockStatus.EIDENT, mayHaveForgotten: true, lsid: "test", leaseMs: 1000 });
    const format = { op: "format", lsid: "new", epoch: hello.epoch } as const;
    expect((await master.call(lockspace, { ...format, replaces: "another" })).rc).toBe(lockStatus.EIDENT);
    expect((await master.call(lockspace, { ...format, replaces: "test" })).rc).toBe(0);
    expect((await a.call({ op: "renew", counter: 2 })).rc).toBe(lockStatus.EEPOCH);
  });

  it("gets back from the members what a flush took: who holds what, who waits, and the value", async () => {
    const server = await start();
    const a = await joinRecorded(await connect(server.url), env, "n1");
    const b = await joinRecorded(await connect(server.url), env, "n2");
    const ours = await a.lockspace.open("token", { lvb: true });
    const theirs = await b.lockspace.open("token", { lvb: true });
    await ours.convert("EX");
    await ours.convert("EX", { lvb: new Uint8Array(64).fill(3) });
    const waiting = theirs.convert("CR");
    await admin(server).flushall();
    await waitFor(a, /^thawed/);
    const { resources } = await a.lockspace.dump();
    expect(resources.map(({ name, granted, converting }) => [name, granted.length, converting.length])).toEqual([
      ["token", 1, 1],
    ]);
    await ours.convert("NL");
    const { status, lvb } = await waiting;
    expect([status, lvb]).toEqual(["granted", new Uint8Array(64).fill(3)]);
    expect([...a.log, ...b.log].filter((line) => /^(slot|fenced)/.test(line))).toEqual([]);
    expect(a.deadline).toBeGreaterThan(env.clock.now());
    await Promise.all([a.lockspace.leave(), b.lockspace.leave()]);
  });

  it("lets two nodes exchange what a message is made of, and finds the one that is cut off", async () => {
    const server = await start();
    const [one, two] = [await connect(server.url), await connect(server.url)];
    const a = await joinRecorded(one, env, "n1");
    const b = await joinRecorded(two, env, "n2");
    const message = await a.lockspace.open("message", { lvb: true });
    const ack = await a.lockspace.open("ack", { lvb: false });
    const theirMessage = await b.lockspace.open("message", { lvb: true });
    let received: Uint8Array | null = null;
    const theirAck = await b.lockspace.open("ack", {
      lvb: false,
      onBast: (wanted) => {
        if (wanted !== "EX" || received !== null) return;
        void theirMessage.convert("CR").then((grant) => {
          received = grant.lvb;
          return theirAck.convert("NL");
        });
      },
    });
    await theirAck.convert("CR");
    await message.convert("EX");
    await message.convert("CW", { lvb: new Uint8Array(64).fill(7) });
    expect((await ack.convert("EX")).status).toBe("granted");
    expect(received).toEqual(new Uint8Array(64).fill(7));
    expect(b.deadline).toBeGreaterThan(env.clock.now());
    // The other node loses its connection for good, holding what this one waits for.
    await theirMessage.convert("NL");
    await message.convert("NL");
    await theirMessage.convert("EX");
    const waiting = message.convert("PR");
    await two.close();
    const grant = await waiting;
    expect([grant.status, grant.lvbValid]).toEqual(["granted", false]);
    expect(a.log).toContain("slot 1 n2");
    expect(b.deadline).toBeLessThanOrEqual(env.clock.now());
    await a.lockspace.leave();
  });
});
