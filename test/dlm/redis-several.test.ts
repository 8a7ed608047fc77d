import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { deferred } from "../../src/base/deferred.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { RedisLink } from "../../src/dlm/redis/redis-link.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { RedlockSection } from "../../src/dlm/redis/redlock-section.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { lockMasterConformance } from "../conformance/lock-master.ts";
import { joinRecorded, type RecordedNode } from "../support/lockspace-node.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { aclRule } from "../support/redis-acl.ts";

const env = realEnv(silentLogger);
const section = "mdlm:{alpha/array}:section";

lockMasterConformance("redis, the first of three", async () => {
  const servers = [await startRedis(), await startRedis(), await startRedis()];
  const [url = "", ...others] = servers.map((server) => server.url);
  const master = await connectRedisMaster({ url, others, node: "test", env });
  const close = async (): Promise<void> => {
    await master.close();
    for (const server of servers) await server.stop();
  };
  return { master, close };
});

describe("several independent Redis", () => {
  const cleanup: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
  });

  const start = async (): Promise<RedisServer> => {
    const server = await startRedis();
    cleanup.push(() => server.stop());
    return server;
  };
  const startThree = async (): Promise<[RedisServer, RedisServer, RedisServer]> => [
    await start(),
    await start(),
    await start(),
  ];
  const connect = async (...servers: readonly RedisServer[]): Promise<LockMaster> => {
    const [url = "", ...others] = servers.map((server) => server.url);
    const master = await connectRedisMaster({ url, others, node: "n1", env });
    cleanup.push(() => master.close());
    return master;
  };
  const join = async (node: string, ...servers: readonly RedisServer[]): Promise<RecordedNode> =>
    joinRecorded(await connect(...servers), env, node);
  const grants = async ({ lockspace }: RecordedNode): Promise<string> => {
    const lock = await lockspace.open("token", { lvb: false });
    return (await lock.convert("EX")).status;
  };

  it.each([2, 4, 6])("are refused when they are %i", async (count) => {
    const urls = Array.from({ length: count }, (_, n) => `redis://127.0.0.1:${n + 1}`);
    const [url = "", ...others] = urls;
    await expect(connectRedisMaster({ url, others, node: "n1", env })).rejects.toMatchObject({ code: "E_VALUE" });
  });

  it("are refused when one is there twice, or is a cluster", async () => {
    const a = "redis://127.0.0.1:1";
    for (const others of [
      ["redis://127.0.0.1:2", a],
      ["redis://127.0.0.1:2", "redis+cluster://127.0.0.1:3"],
    ]) {
      await expect(connectRedisMaster({ url: a, others, node: "n1", env })).rejects.toMatchObject({ code: "E_VALUE" });
    }
  });

  it("keep the table on the first; the others know only where it is, and guard the section", async () => {
    const [a, b, c] = await startThree();
    const one = await join("n1", a, b, c);
    expect(await grants(one)).toBe("granted");
    expect(await a.command("exists", "mdlm:{alpha/array}:meta")).toBe("1");
    for (const server of [b, c]) {
      expect(await server.command("keys", "*")).toBe("mdlm:{alpha}:table");
      expect(await server.command("get", "mdlm:{alpha}:table")).toBe(a.url);
    }
    for (const server of [a, b, c]) expect(await server.command("info", "commandstats")).toContain("cmdstat_evalsha");
    await one.lockspace.leave();
  });

  it("let no node join that has another first, whichever of them it reaches", async () => {
    const [a, b, c] = await startThree();
    const one = await join("n1", a, b, c);
    const conflict = { code: "E_CLUSTER_CONFLICT", message: expect.stringContaining(`on ${a.url}, not on ${b.url}`) };
    await expect(join("n2", b, a, c)).rejects.toMatchObject(conflict);
    a.process.kill("SIGSTOP"); // the one that has the table
    cleanup.push(async () => a.process.kill("SIGCONT"));
    await expect(join("n2", b, c, a)).rejects.toMatchObject(conflict);
    a.process.kill("SIGCONT");
    expect(await b.command("exists", "mdlm:{alpha/array}:meta")).toBe("0");
    one.lockspace.abandon();
  });

  it("let two nodes with different firsts not both join, also when each sees only some of them", async () => {
    const [a, b, c] = await startThree();
    c.process.kill("SIGSTOP");
    cleanup.push(async () => c.process.kill("SIGCONT"));
    const one = await join("n1", a, b, c); // written down on a and b
    c.process.kill("SIGCONT");
    a.process.kill("SIGSTOP");
    cleanup.push(async () => a.process.kill("SIGCONT"));
    await expect(join("n2", c, b, a)).rejects.toMatchObject({ code: "E_CLUSTER_CONFLICT" });
    one.lockspace.abandon();
  });

  it("may lose one: nodes join and lock as before, whether it is dead or stands still", async () => {
    const [a, b, c] = await startThree();
    const one = await join("n1", a, b, c);
    await c.kill();
    const two = await join("n2", a, b, c);
    expect(await grants(two)).toBe("granted");
    await two.lockspace.leave();
    await c.restart();
    b.process.kill("SIGSTOP");
    cleanup.push(async () => b.process.kill("SIGCONT"));
    const three = await join("n3", a, b, c);
    expect(await grants(three)).toBe("granted");
    for (const node of [three, one]) await node.lockspace.leave();
  });

  it("may all be lost but the first by nodes that have joined, dead members included; nobody joins then", async () => {
    const [a, b, c] = await startThree();
    const one = await join("n1", a, b, c);
    const second = await connect(a, b, c);
    const two = await joinRecorded(second, env, "n2");
    const held = await two.lockspace.open("token", { lvb: false });
    await held.convert("EX");
    await b.kill();
    await c.kill();
    await expect(join("n3", a, b, c)).rejects.toMatchObject({
      code: "E_NO_QUORUM",
      why: expect.stringContaining(b.url),
    });
    await second.close(); // n2 is dead to the others, and holds what n1 wants
    expect(await grants(one)).toBe("granted");
    expect(one.log).toContain("slot 1 n2");
    await one.lockspace.leave();
    two.lockspace.abandon();
  });

  it("need the rights that docs/redis.md names for them, and tell when these are missing", async () => {
    const servers = await startThree();
    const [url = "", ...others] = servers.map(({ port }) => `redis://mdlm:pw@127.0.0.1:${port}`);
    const warned: string[] = [];
    const telling = { ...silentLogger, warn: (_: unknown, message: string) => void warned.push(message) };
    const joinAs = async (node: string, ...rights: string[]): Promise<RecordedNode> => {
      for (const server of servers) {
        await server.command("acl", "setuser", "mdlm", "reset", "on", ">pw", ...aclRule(), "+function|load", ...rights);
      }
      const master = await connectRedisMaster({ url, others, node, env: { ...env, log: telling } });
      cleanup.push(() => master.close());
      return joinRecorded(master, env, node);
    };
    const more = /several independent servers, on each of them:\s+`(.*?)`/.exec(
      readFileSync("docs/redis.md", "utf8"),
    )?.[1];
    await (await joinAs("n1", ...(more?.split(" ") ?? []))).lockspace.leave();
    expect(warned).toEqual([]);
    await (await joinAs("n2", "+set", "+get")).lockspace.leave();
    expect(warned).toEqual([expect.stringContaining("rights for it are missing")]);
  });

  describe("as critical section", () => {
    const linkTo = async (server: RedisServer): Promise<RedisLink> => {
      const at = { host: "127.0.0.1", port: server.port };
      const link = new RedisLink({
        about: server.url,
        name: "test",
        env,
        commandMs: 400,
        cluster: false,
        locate: async () => ({ at, tls: null, username: null, password: null, db: 0 }),
      });
      await link.start();
      cleanup.push(async () => link.close());
      return link;
    };
    const sectionOn = async (servers: readonly RedisServer[]): Promise<RedlockSection> =>
      new RedlockSection(await Promise.all(servers.map(linkTo)), env);

    it("let one in after the other", async () => {
      const servers = await startThree();
      const [one, two] = [await sectionOn(servers), await sectionOn(servers)];
      const log: string[] = [];
      const inside = deferred<void>();
      const first = one.run("alpha/array", async () => {
        log.push("first in");
        inside.resolve();
        for (const server of servers) expect(await server.command("exists", section)).toBe("1");
        log.push("first out");
      });
      await inside.promise;
      await two.run("alpha/array", async () => log.push("second in"));
      await first;
      expect(log).toEqual(["first in", "first out", "second in"]);
      for (const server of servers) {
        while ((await server.command("exists", section)) !== "0") {} // the second gives it back as well
      }
    });

    it("let everybody do his work in the end: they are advice, and who is inside may have died", async () => {
      const servers = await startThree();
      const [one, two] = [await sectionOn(servers), await sectionOn(servers)];
      const never = deferred<void>();
      const inside = deferred<void>();
      const stuck = one.run("alpha/array", () => {
        inside.resolve();
        return never.promise;
      });
      await inside.promise;
      expect(await two.run("alpha/array", async () => "done")).toBe("done");
      never.resolve();
      await stuck;
      for (const server of servers) await server.kill();
      expect(await two.run("alpha/array", async () => "done too")).toBe("done too");
    });

    it("pass on what the work rejects with, and give the section back", async () => {
      const servers = await startThree();
      const one = await sectionOn(servers);
      await expect(one.run("alpha/array", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
      for (const server of servers) {
        while ((await server.command("exists", section)) !== "0") {}
      }
    });
  });
});
