import { afterEach, describe, expect, it } from "vitest";
import { locateMaster } from "../../src/dlm/redis/locate-master.ts";
import { parseRedisUrl } from "../../src/dlm/redis/redis-url.ts";
import { readInfo, whyUnfit } from "../../src/dlm/redis/server-check.ts";
import { bulk, startFakeRedis } from "../support/fake-redis.ts";

const info = (fields: Readonly<Record<string, string>>): string =>
  Object.entries({
    redis_version: "7.0.15",
    role: "master",
    maxmemory_policy: "noeviction",
    cluster_enabled: "0",
    loading: "0",
    ...fields,
  })
    .map(([name, value]) => `${name}:${value}\r\n`)
    .join("# Section\r\n");
const verdict = (fields: Readonly<Record<string, string>>, cluster = false) =>
  whyUnfit(readInfo(info(fields)), "redis://h:6379", cluster);

describe("what a server says of itself", () => {
  it.each([
    { redis_version: "7.0.0" },
    { redis_version: "7.2.4" },
    { redis_version: "8.0.2" },
    { redis_version: "10.1.0" },
    { redis_version: "7.2.4", server_name: "valkey", valkey_version: "8.1.1" },
  ])("%j may keep locks", (fields) => {
    expect(verdict(fields)).toBeNull();
  });

  it.each([
    [{ redis_version: "6.2.14" }, "E_PROTOCOL_VERSION", "it is version 6.2.14"],
    [{ redis_version: "2.8.0" }, "E_PROTOCOL_VERSION", "it is version 2.8.0"],
    [{ redis_version: "" }, "E_PROTOCOL_VERSION", "does not tell its version"],
    [{ role: "slave" }, "E_VALUE", "it is a replica"],
    [{ role: "sentinel" }, "E_VALUE", "it is a sentinel"],
    [{ role: "" }, "E_VALUE", "without a role"],
    [{ maxmemory_policy: "volatile-ttl" }, "E_VALUE", "volatile-ttl"],
    [{ maxmemory_policy: "" }, "E_VALUE", "not told"],
    [{ cluster_enabled: "1" }, "E_VALUE", "node of a Redis Cluster"],
  ])("%j may not: %s, %s", (fields, code, why) => {
    const refusal = verdict(fields);
    expect(refusal).toMatchObject({ code, message: expect.stringContaining(why) });
    expect(refusal?.hint).not.toBeNull();
  });

  it("is held against what the URL says", () => {
    expect(verdict({ cluster_enabled: "1" }, true)).toBeNull();
    expect(verdict({}, true)).toMatchObject({ code: "E_VALUE", hint: "use redis://HOST:PORT" });
  });
});

describe("sentinels that contradict each other", () => {
  const cleanup: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
  });

  it("are asked all of them: the one with the newest configuration is right, whatever the others say", async () => {
    const sentinel = async (master: readonly string[] | string): Promise<string> => {
      const server = await startFakeRedis(([name]) => {
        if (name !== "SENTINEL") return undefined;
        return typeof master === "string" ? master : `*${master.length}\r\n${master.map(bulk).join("")}`;
      });
      cleanup.push(() => server.stop());
      return server.url.replace("redis://", "");
    };
    const says = (port: string, epoch: string) => ["name", "m", "ip", "10.0.0.1", "port", port, "config-epoch", epoch];
    const hosts = [
      await sentinel(says("7001", "9")), // cut off: it has not heard of the failover
      await sentinel(says("7002", "10")),
      await sentinel("-ERR No such master with that name\r\n"),
      await sentinel(["ip", "", "port", "nonsense"]),
      "127.0.0.1:1",
    ];
    const place = parseRedisUrl(`redis+sentinel://${hosts.join(",")}/m`);
    expect(await locateMaster(place, null)).toMatchObject({ at: { host: "10.0.0.1", port: 7002 } });
  });
});
