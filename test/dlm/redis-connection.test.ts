import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { afterEach, describe, expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { startFakeRedis } from "../support/fake-redis.ts";
import { BareMember } from "../support/lock-vector-runner.ts";
import { packedReply } from "../support/packed-reply.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";

const env = realEnv(silentLogger);
const lockspace = { cluster: "alpha", name: "array" };
const hello = { op: "hello" } as const;
const lost = (why: string) => ({ code: "E_LOCK_SERVICE_LOST", why: expect.stringContaining(why) });

describe("the connection to Redis", () => {
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
  const admin = ({ port }: RedisServer): Redis => {
    const client = new Redis(port, "127.0.0.1", { replyMapping: "legacy" });
    client.on("error", () => {});
    cleanup.push(async () => client.disconnect());
    return client;
  };
  /** How often a command was executed since the server started. */
  const executed = async (server: RedisServer, command: string): Promise<number> => {
    const stats = await admin(server).info("commandstats");
    return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  };
  const until = (master: LockMaster, wanted: boolean): Promise<void> =>
    new Promise((resolve) => {
      const heard = master.onReachable((reachable) => {
        if (reachable !== wanted) return;
        heard.stop();
        resolve();
      });
    });
  const retried = async (call: () => Promise<unknown>): Promise<unknown> => {
    for (;;) {
      try {
        return await call();
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  const stopped = (server: RedisServer): void => {
    server.process.kill("SIGSTOP");
    cleanup.push(async () => server.process.kill("SIGCONT"));
  };

  it("rejects what is in flight when the server dies, and sends none of it to the next one", async () => {
    const server = await start();
    const master = await connect(server.url);
    stopped(server);
    const calls = [1, 2, 3, 4, 5].map(() => master.call(lockspace, hello));
    const settled = Promise.allSettled(calls);
    const back = until(master, true);
    await server.restart();
    expect((await settled).map(({ status }) => status)).toEqual(Array(5).fill("rejected"));
    await back;
    expect(await executed(server, "fcall")).toBe(0);
  });

  it("refuses calls at once while there is no connection, and keeps none of them for later", async () => {
    const server = await start();
    const master = await connect(server.url);
    const down = until(master, false);
    server.process.kill("SIGKILL");
    await down;
    const calls = await Promise.allSettled(Array.from({ length: 50 }, () => master.call(lockspace, hello)));
    expect(calls.every(({ status }) => status === "rejected")).toBe(true);
    const back = until(master, true);
    await server.restart();
    await back;
    expect(await executed(server, "fcall")).toBe(0);
  });

  it("gives up on a server that stands still; what it executes later is not executed again", async () => {
    const server = await start();
    const master = await connect(server.url);
    const a = await BareMember.join(master, lockspace, "a");
    const nl = { op: "lock", name: "r", mode: 0, flags: 0, bast: false } as const;
    stopped(server);
    const call = { ...a.header(1), ...nl };
    // Sent, and lying in the socket of a server that sleeps.
    await expect(master.call(lockspace, call)).rejects.toMatchObject(lost("in time"));
    await expect(master.call(lockspace, call)).rejects.toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
    const back = until(master, true);
    server.process.kill("SIGCONT");
    await back;
    expect(await master.call(lockspace, call)).toMatchObject({ rc: 0, value: 1 });
    const { resources } = await master.call(lockspace, { op: "dump" });
    expect(resources?.[0]?.locks.map(({ lkid }) => lkid)).toEqual([1]);
  });

  it("settles a call whose connection is cut after it was sent, over and over", async () => {
    const server = await start();
    const master = await connect(server.url);
    const a = await BareMember.join(master, lockspace, "a");
    const root = admin(server);
    const nl = { op: "lock", name: "r", mode: 0, flags: 0, bast: false } as const;
    for (let rid = 1; rid <= 20; rid++) {
      const call = { ...a.header(rid), ...nl };
      const first = master.call(lockspace, call).catch(() => null);
      await root.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      await first;
      expect(await retried(() => master.call(lockspace, call))).toMatchObject({ rc: 0, value: rid });
    }
    const { resources } = await master.call(lockspace, { op: "dump" });
    expect(resources?.[0]?.locks).toHaveLength(20);
  });

  it("is watched by the kernel, so that a peer that vanished is noticed", async () => {
    const server = await start();
    await connect(server.url);
    const port = server.port.toString(16).toUpperCase().padStart(4, "0");
    const ours = readFileSync("/proc/net/tcp", "utf8")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , remote, state]) => remote === `0100007F:${port}` && state === "01");
    // The column after the queues: 02 is the keepalive timer, then hundredths of a second until it fires.
    const timers = ours.map((row) => row[5]?.split(":") ?? []);
    const waits = timers.flatMap(([kind, when = ""]) => (kind === "02" ? [Number.parseInt(when, 16)] : []));
    expect(Math.min(...waits)).toBeLessThanOrEqual(500);
  });

  it("is not used when the server has become a replica, and again when it is a master", async () => {
    const server = await start();
    const master = await connect(server.url);
    const a = await BareMember.join(master, lockspace, "a");
    const root = admin(server);
    await root.replicaof("127.0.0.1", "1");
    // The functions themselves see it first; then the connection is made anew, and the server is asked who it is.
    expect((await a.call({ op: "renew", counter: 1 }).catch((error: unknown) => error)) as object).toMatchObject(
      lost("replica"),
    );
    await expect(master.call(lockspace, hello)).rejects.toMatchObject(lost("replica"));
    const back = until(master, true);
    await root.replicaof("NO", "ONE");
    await back;
    expect((await master.call(lockspace, hello)).rc).toBe(lockStatus.EIDENT);
  });

  it("asks again after each reconnection whether the server may keep locks", async () => {
    const server = await start();
    const master = await connect(server.url);
    const root = admin(server);
    await root.config("SET", "maxmemory-policy", "allkeys-lru");
    const down = until(master, false);
    await root.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await down;
    const refused = async (): Promise<unknown> => {
      for (;;) {
        const error = await master.call(lockspace, hello).catch((reason: unknown) => reason);
        if (String(error).includes("allkeys-lru")) return error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    expect(await refused()).toMatchObject({ code: "E_LOCK_SERVICE_LOST", hint: expect.stringContaining("noeviction") });
    const back = until(master, true);
    await root.config("SET", "maxmemory-policy", "noeviction");
    await back;
    expect((await master.call(lockspace, hello)).rc).toBe(lockStatus.ENOLS);
  });

  it("F32: waits out a script that does not end", async () => {
    const server = await start("--busy-reply-threshold", "20");
    const master = await connect(server.url);
    const [root, killer] = [admin(server), admin(server)];
    await killer.ping();
    const script = root.eval("while true do end", 0).catch(() => {});
    const busy = async (): Promise<unknown> => {
      for (;;) {
        const error = await master.call(lockspace, hello).catch((reason: unknown) => reason);
        if (error instanceof Error) return error;
      }
    };
    expect(await busy()).toMatchObject(lost("busy with a script"));
    await retried(() => killer.call("SCRIPT", "KILL"));
    await script;
    expect(await retried(() => master.call(lockspace, hello))).toMatchObject({ rc: lockStatus.ENOLS });
  });

  it("tells that replicas are missing, that rights were taken away, and that the password has changed", async () => {
    const server = await start();
    const root = admin(server);
    await root.call("ACL", "SETUSER", "mdlm", "on", ">one", "~*", "&*", "+@all");
    const master = await connect(`redis://mdlm:one@127.0.0.1:${server.port}`);
    await root.config("SET", "min-replicas-to-write", "1");
    await expect(master.call(lockspace, { op: "format", lsid: "x", epoch: 0 })).rejects.toMatchObject(
      lost("fewer replicas"),
    );
    await root.config("SET", "min-replicas-to-write", "0");
    await root.call("ACL", "SETUSER", "mdlm", "-fcall");
    await expect(master.call(lockspace, hello)).rejects.toMatchObject(lost("lacks rights"));
    await root.call("ACL", "SETUSER", "mdlm", "+fcall", "resetpass", ">two");
    expect((await master.call(lockspace, hello)).rc).toBe(lockStatus.ENOLS);
    const down = until(master, false);
    await root.call("CLIENT", "KILL", "USER", "mdlm");
    await down;
    for (;;) {
      const error = await master.call(lockspace, hello).catch((reason: unknown) => reason);
      if (String((error as { why?: unknown }).why).includes("password")) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });

  // What a real server says in states that are hard to bring about: its own words.
  it.each([
    ["OOM command not allowed when used memory > 'maxmemory'.", "its memory is full"],
    ["MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", "its disk"],
    ["READONLY You can't write against a read only replica.", "replica"],
    ["LOADING Redis is loading the dataset in memory", "still loading"],
    ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "master is down"],
    ["CLUSTERDOWN Hash slot not served", "cluster is down"],
    ["TRYAGAIN Multiple keys request during rehashing of slot", "moving the keys"],
    ["ASK 3999 127.0.0.1:6381", "moving the keys"],
    ["NOAUTH Authentication required.", "password"],
    ["ERR Error running script: user_script:1: attempt to index a nil value", "attempt to index"],
  ])("F32: takes the reply %s for no answer, and goes on when it has passed", async (text, why) => {
    let ill = true;
    const server = await startFakeRedis(([name]) => {
      if (name !== "FCALL") return undefined;
      return ill ? `-${text}\r\n` : { reply: packedReply() };
    });
    cleanup.push(() => server.stop());
    const master = await connect(server.url);
    await expect(master.call(lockspace, hello)).rejects.toMatchObject(lost(why));
    ill = false;
    expect(await retried(() => master.call(lockspace, hello))).toMatchObject({ rc: 0 });
  });

  it("says of a server that is still loading what it is doing", async () => {
    const server = await startFakeRedis(([name]) => (name === "INFO" ? "$9\r\nloading:1\r\n" : undefined));
    cleanup.push(() => server.stop());
    await expect(connect(server.url)).rejects.toMatchObject(lost("loading its data"));
  });
});
