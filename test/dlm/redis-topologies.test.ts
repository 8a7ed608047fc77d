import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import type { LockReply } from "../../src/dlm/lock-call.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { lockMasterConformance } from "../conformance/lock-master.ts";
import { LOOPBACK, TestCa } from "../support/certificates.ts";
import { BareMember } from "../support/lock-vector-runner.ts";
import { joinRecorded } from "../support/lockspace-node.ts";
import { freePort, type RedisServer, startRedis } from "../support/redis.ts";
import { startSentinels } from "../support/sentinels.ts";
import { tempDir } from "../support/temp-dir.ts";

const env = realEnv(silentLogger);
const lockspace = { cluster: "alpha", name: "array" };
const hello = { op: "hello" } as const;

const CLUSTER = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"] as const;

/** Masters of one Redis Cluster, each with an equal share of the slots. */
async function startCluster(count: number): Promise<RedisServer[]> {
  const servers: RedisServer[] = [];
  for (let n = 0; n < count; n++) servers.push(await startRedis(CLUSTER));
  const share = Math.ceil(16_384 / count);
  for (const [at, server] of servers.entries()) {
    const last = Math.min(16_383, (at + 1) * share - 1);
    await server.command("cluster", "addslotsrange", String(at * share), String(last));
    // The bus is at port + 10000, which may be beyond the last port there is: it is told.
    const [first] = servers;
    if (first !== undefined && first !== server)
      await first.command("cluster", "meet", "127.0.0.1", String(server.port));
  }
  for (const server of servers) {
    while (!(await server.command("cluster", "info")).includes("cluster_state:ok")) await pause(20);
    while (Number(/cluster_known_nodes:(\d+)/.exec(await server.command("cluster", "info"))?.[1]) < count)
      await pause(20);
  }
  return servers;
}

const clusterUrl = (servers: readonly RedisServer[]): string =>
  `redis+cluster://${servers.map(({ port }) => `127.0.0.1:${port}`).join(",")}`;

// Its lockspaces lie on all three: each call must find its master.
lockMasterConformance("redis cluster", async () => {
  const servers = await startCluster(3);
  const master = await connectRedisMaster({ url: clusterUrl(servers), node: "test", env });
  const close = async (): Promise<void> => {
    await master.close();
    for (const server of servers) await server.stop();
  };
  return { master, close };
});

describe("where Redis is", () => {
  const cleanup: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
  });

  const start = async (...args: string[]): Promise<RedisServer> => {
    const server = await startRedis(args);
    cleanup.push(() => server.stop());
    return server;
  };
  const replicaOf = async (primary: RedisServer): Promise<RedisServer> => {
    const replica = await start("--replicaof", "127.0.0.1", String(primary.port), "--repl-diskless-sync-delay", "0");
    await replica.replicated();
    return replica;
  };
  const connect = async (url: string): Promise<LockMaster> => {
    const master = await connectRedisMaster({ url, node: "n1", env });
    cleanup.push(() => master.close());
    return master;
  };
  /** Until there is an answer for which `wanted` holds. */
  const answer = async (
    ask: () => Promise<LockReply>,
    wanted: (reply: LockReply) => boolean = () => true,
  ): Promise<LockReply> => {
    for (;;) {
      const reply = await ask().catch(() => null);
      if (reply !== null && wanted(reply)) return reply;
      await pause(20);
    }
  };
  const renewal = (member: BareMember, counter: number): Promise<LockReply> => member.call({ op: "renew", counter });
  const unconfirmed = { code: "E_LOCK_SERVICE_LOST", why: expect.stringContaining("0 of 1 confirmed") };

  describe("a primary with replicas", () => {
    it("counts a renewal only when a replica has it; locks do not wait for it", async () => {
      const primary = await start();
      const replica = await replicaOf(primary);
      const master = await connect(`${primary.url}?wait=1`);
      const a = await BareMember.join(master, lockspace, "a");
      expect((await renewal(a, 1)).rc).toBe(lockStatus.OK);
      replica.process.kill("SIGSTOP");
      cleanup.push(async () => replica.process.kill("SIGCONT"));
      const renewing = renewal(a, 2);
      const lock = await a.call({ op: "lock", name: "r", mode: 5, flags: 0, bast: false });
      expect(lock.rc).toBe(lockStatus.OK);
      await expect(renewing).rejects.toMatchObject(unconfirmed);
      replica.process.kill("SIGCONT");
      await answer(() => renewal(a, 3));
    });

    it("lets nobody join without the replicas that it asks for", async () => {
      const primary = await start();
      const master = await connect(`${primary.url}?wait=1`);
      await expect(master.call(lockspace, { op: "format", lsid: "x", epoch: 0 })).rejects.toMatchObject(unconfirmed);
      await expect(joinRecorded(master, env, "n1")).rejects.toMatchObject(unconfirmed);
    });

    it("does not let a node go on that is cut off with the old primary", async () => {
      const primary = await start();
      const replica = await replicaOf(primary);
      const a = await joinRecorded(await connect(`${primary.url}?wait=1`), env, "n1");
      // Somebody promotes the replica: the old primary still answers this node, and would for ever.
      await replica.command("replicaof", "no", "one");
      while (a.deadline > env.clock.now()) await pause(20);
      // Renewals are sent all the time, and written, and none of them has counted.
      expect(await primary.command("info", "commandstats")).toContain("cmdstat_wait");
      a.lockspace.abandon();
    });
  });

  describe("a primary that was a replica for a while", () => {
    const lock = { op: "lock", mode: 5, flags: 0, bast: false } as const;
    const offsetOf = async (server: RedisServer): Promise<number> =>
      Number(/master_repl_offset:(\d+)/.exec(await server.command("info", "replication"))?.[1]);
    /** The primary becomes a replica of its replica, and is promoted again; `lost` happens where the replica does not see it. */
    const swap = async (lost: (member: BareMember) => Promise<unknown>): Promise<BareMember> => {
      const primary = await start();
      const replica = await replicaOf(primary);
      const member = await BareMember.join(await connect(primary.url), lockspace, "a");
      // So much that its functions have kept what they need for the next call.
      for (const name of ["r", "s"]) expect((await member.call({ ...lock, name })).rc).toBe(lockStatus.OK);
      const written = await offsetOf(primary);
      while ((await offsetOf(replica)) < written) await pause(20);
      await replica.command("replicaof", "no", "one");
      await lost(member);
      await primary.command("replicaof", "127.0.0.1", String(replica.port));
      await primary.replicated();
      await primary.command("replicaof", "no", "one");
      return member;
    };

    it("is another server, and does not go on with writes that it has lost", async () => {
      const member = await swap(async (a) => expect((await a.call({ ...lock, name: "t" })).rc).toBe(lockStatus.OK));
      expect((await answer(() => member.call({ ...lock, name: "u" }))).rc).toBe(lockStatus.EIDENT);
    });

    it("renews nobody, even if it has lost nothing", async () => {
      const member = await swap(async () => {});
      expect((await answer(() => renewal(member, 1))).rc).toBe(lockStatus.EIDENT);
    });
  });

  describe("sentinels", () => {
    it("name the master, and a failover is followed; what was locked there is another server's now", async () => {
      const primary = await start();
      const replicas = [await replicaOf(primary), await replicaOf(primary)];
      const sentinels = await startSentinels(primary);
      cleanup.push(() => sentinels.stop());
      // One sentinel that is not there any more must not matter.
      const dead = await start();
      await dead.stop();
      const url = sentinels.url.replace("://", `://127.0.0.1:${dead.port},`);
      const master = await connect(url);
      const a = await BareMember.join(master, lockspace, "a");
      expect((await renewal(a, 1)).rc).toBe(lockStatus.OK);
      await primary.kill();
      // It has no state that could be trusted, but it is a master that answers.
      const reply = await answer(() => renewal(a, 2));
      expect([lockStatus.EIDENT, lockStatus.ENOLS]).toContain(reply.rc);
      const roles = await Promise.all(replicas.map((server) => server.command("role")));
      expect(roles.filter((role) => role.startsWith("master"))).toHaveLength(1);
    });

    it("are followed away from a primary that still answers but was replaced", async () => {
      const primary = await start();
      const replica = await replicaOf(primary);
      const sentinels = await startSentinels(primary);
      cleanup.push(() => sentinels.stop());
      const master = await connect(sentinels.url);
      const a = await BareMember.join(master, lockspace, "a");
      const ask = (): Promise<string> =>
        primary.command("-p", String(sentinels.ports[0]), "sentinel", "failover", "main");
      while ((await ask().catch(() => "")) !== "OK") await pause(50);
      await answer(
        () => renewal(a, 2),
        ({ rc }) => rc === lockStatus.EIDENT,
      );
      await answer(() => master.call(lockspace, hello));
      expect(await replica.command("role")).toMatch(/^master/);
    });

    it("may want a password of their own and TLS, as the servers do", async () => {
      const { path, remove } = tempDir("sentinel-access");
      cleanup.push(async () => remove());
      const ca = new TestCa(path);
      const { cert, key } = ca.issue("redis", LOOPBACK);
      const tls = [
        `tls-cert-file ${cert}`,
        `tls-key-file ${key}`,
        `tls-ca-cert-file ${ca.path}`,
        "tls-auth-clients no",
      ];
      const port = await freePort();
      const settings = ["requirepass one", `tls-port ${port}`, ...tls].flatMap((line) => {
        const [name = "", value = ""] = line.split(" ");
        return [`--${name}`, value];
      });
      await start(...settings);
      const theirs = ["requirepass two", "sentinel auth-pass main one", "tls-replication yes", ...tls];
      const sentinels = await startSentinels({ port }, 1, theirs, true);
      cleanup.push(() => sentinels.stop());
      const secret = (word: string): string => {
        writeFileSync(join(path, word), `${word}\n`, { mode: 0o600 });
        return join(path, word);
      };
      const url = `${sentinels.url}?wait=0&ca=${ca.path}&passwordfile=${secret("one")}`;
      await expect(connect(url)).rejects.toMatchObject({ why: expect.stringContaining("it wants a password") });
      const master = await connect(`${url}&sentinelpasswordfile=${secret("two")}`);
      expect((await master.call(lockspace, hello)).rc).toBe(lockStatus.ENOLS);
    });

    it("are told of when none of them knows a master", async () => {
      const primary = await start();
      const sentinels = await startSentinels(primary, 1);
      cleanup.push(() => sentinels.stop());
      await expect(connect(sentinels.url.replace("/main", "/other"))).rejects.toMatchObject({
        code: "E_LOCK_SERVICE_LOST",
        why: expect.stringContaining("no sentinel names a master"),
      });
    });
  });

  describe("a Redis Cluster", () => {
    const cluster = async (count: number): Promise<RedisServer[]> => {
      const servers = await startCluster(count);
      cleanup.push(() => Promise.all(servers.map((server) => server.stop())));
      return servers;
    };

    it("is refused as a single server, and a single server as a cluster", async () => {
      const [node] = await cluster(1);
      await expect(connect(node?.url ?? "")).rejects.toMatchObject({
        code: "E_VALUE",
        hint: expect.stringContaining("redis+cluster://"),
      });
      const single = await start();
      await expect(connect(clusterUrl([single]))).rejects.toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
    });

    it("is followed to the node that has been given the keys", async () => {
      const servers = await cluster(2);
      const [one, two] = servers;
      if (one === undefined || two === undefined) throw new Error("two were asked for");
      const master = await connect(clusterUrl(servers));
      await BareMember.join(master, lockspace, "a");
      const slot = await one.command("cluster", "keyslot", "mdlm:{alpha/array}:meta");
      const held = async (server: RedisServer): Promise<boolean> =>
        (await server.command("cluster", "countkeysinslot", slot)) !== "0";
      const [from, to] = (await held(one)) ? [one, two] : [two, one];
      const [fromId, toId] = [await from.command("cluster", "myid"), await to.command("cluster", "myid")];
      await to.command("cluster", "setslot", slot, "importing", fromId);
      await from.command("cluster", "setslot", slot, "migrating", toId);
      const keys = (await from.command("cluster", "getkeysinslot", slot, "100")).split("\n");
      await from.command("migrate", "127.0.0.1", String(to.port), "", "0", "2000", "keys", ...keys);
      for (const server of [to, from]) await server.command("cluster", "setslot", slot, "node", toId);
      // The keys are there, on a server of another identity: the members have to report.
      const reply = await answer(
        () => master.call(lockspace, hello),
        ({ rc }) => rc !== lockStatus.OK,
      );
      expect(reply.rc).toBe(lockStatus.EIDENT);
      expect(await held(to)).toBe(true);
    });
  });
});
