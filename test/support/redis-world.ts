import { afterAll, expect, it } from "vitest";
import { MirrorCluster } from "./mirror-cluster.ts";
import { aofAlways, type RedisServer, startRedis } from "./redis.ts";
import { TcpProxy } from "./tcp-proxy.ts";

/** `MDCTL_LOSSES=20 npx vitest run test/integration/lock-server-`: each case so often in a row. */
const TIMES = Number(process.env["MDCTL_LOSSES"] ?? 1);
/** How long something stands still that is to stand still for longer than a lease: `MDCTL_STALL_MS=30000` for real. */
export const STALL_MS = Number(process.env["MDCTL_STALL_MS"] ?? 3000);
export const LEASE_MS = 2000;
export const NODES = ["n1", "n2"];

/** A mirror on two nodes, each with a network of its own between it and the Redis that they share. */
export class RedisWorld {
  readonly redis: RedisServer;
  readonly links: readonly [TcpProxy, TcpProxy];
  readonly cluster: MirrorCluster;

  static async start(redisOptions: readonly string[], query: string): Promise<RedisWorld> {
    const redis = await startRedis([...aofAlways, ...redisOptions]);
    const links = [await TcpProxy.start(redis.port), await TcpProxy.start(redis.port)] as const;
    const lockServer = (node: string): string => `redis://127.0.0.1:${links[node === "n1" ? 0 : 1].port}${query}`;
    try {
      const cluster = await MirrorCluster.start(NODES, { lease: `${LEASE_MS}ms`, lockServer });
      return new RedisWorld(redis, links, cluster);
    } catch (error) {
      await redis.stop();
      throw error;
    }
  }

  private constructor(redis: RedisServer, links: readonly [TcpProxy, TcpProxy], cluster: MirrorCluster) {
    this.redis = redis;
    this.links = links;
    this.cluster = cluster;
  }

  /** Every key of every lockspace. */
  readonly keys = async (): Promise<readonly string[]> => {
    return (await this.redis.command("--scan", "--pattern", "mdlm:*")).split("\n").filter((key) => key !== "");
  };

  async close(): Promise<void> {
    this.redis.process.kill("SIGCONT");
    await this.cluster.close();
    for (const link of this.links) await link.close();
    await this.redis.stop();
  }
}

/** What no fault may lead to unless a case says so. */
const DEATHS = ["FENCED", "NODEDOWN", "TAKEOVER", "FAILED"];

interface LossCase {
  (name: string, fault: (world: RedisWorld) => Promise<unknown>): void;
  /** Somebody is declared dead in this one. */
  readonly fatal: (name: string, fault: (world: RedisWorld) => Promise<unknown>) => void;
}

/**
 * Declares cases of one file, in each of which something happens to the lock server under a verified load, and all must
 * hold afterwards that `MirrorCluster.settle` looks at. They share a world as long as they leave a sound one behind.
 */
export function lossCases(redisOptions: readonly string[] = [], query = ""): LossCase {
  let shared: RedisWorld | null = null;
  afterAll(() => shared?.close());
  const declare = (name: string, fault: (world: RedisWorld) => Promise<unknown>, deaths: boolean): void => {
    it(name, { repeats: TIMES - 1, timeout: 60_000 + 3 * STALL_MS }, async () => {
      const world = shared ?? (await RedisWorld.start(redisOptions, query));
      shared = null;
      const { cluster } = world;
      try {
        const since = await cluster.lastEvents();
        await cluster.load();
        await fault(world);
        await cluster.works();
        await cluster.settle();
        if (!deaths) expect((await cluster.eventsAfter(since)).filter((code) => DEATHS.includes(code))).toEqual([]);
      } catch (error) {
        await world.close();
        throw error;
      }
      shared = world;
    });
  };
  const losing = (name: string, fault: (world: RedisWorld) => Promise<unknown>): void => declare(name, fault, false);
  return Object.assign(losing, {
    fatal: (name: string, fault: (world: RedisWorld) => Promise<unknown>) => declare(name, fault, true),
  });
}
