import { LEASE_MS, type LossWorld, NODES } from "./loss-cases.ts";
import { MirrorCluster } from "./mirror-cluster.ts";
import { aofAlways, type RedisServer, startRedis } from "./redis.ts";
import { TcpProxy } from "./tcp-proxy.ts";

/** A mirror on two nodes, each with a network of its own between it and the Redis that they share. */
export class RedisWorld implements LossWorld {
  readonly redis: RedisServer;
  readonly links: readonly [TcpProxy, TcpProxy];
  readonly cluster: MirrorCluster;

  static async start(redisOptions: readonly string[] = []): Promise<RedisWorld> {
    const redis = await startRedis([...aofAlways, ...redisOptions]);
    const links = [await TcpProxy.start(redis.port), await TcpProxy.start(redis.port)] as const;
    const lockServer = (node: string): string => `redis://127.0.0.1:${links[node === "n1" ? 0 : 1].port}`;
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
