import { LEASE_MS, type LossWorld, NODES } from "./loss-cases.ts";
import { MirrorCluster } from "./mirror-cluster.ts";
import { type RedisServer, startRedis } from "./redis.ts";
import { TcpProxy } from "./tcp-proxy.ts";

const SERVERS = 3;

/**
 * A mirror on two nodes with a primary Redis and two replicas. Renewals count when a replica has them (`wait=1`). Each node
 * reaches the Redis that it takes for the primary through a link of its own, and each replica its primary.
 */
export class ReplicatedWorld implements LossWorld {
  /** The primary, and its replicas. */
  #servers: readonly RedisServer[];
  readonly links: readonly TcpProxy[];
  readonly #replication = new Map<RedisServer, TcpProxy>();
  #cluster: MirrorCluster | null = null;

  static async start(): Promise<ReplicatedWorld> {
    const servers: RedisServer[] = [];
    for (let n = 0; n < SERVERS; n++) {
      servers.push(await startRedis(["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]));
    }
    const port = servers[0]?.port ?? 0;
    const world = new ReplicatedWorld(servers, [await TcpProxy.start(port), await TcpProxy.start(port)]);
    try {
      await world.replicate();
      const lockServer = (node: string): string => `redis://127.0.0.1:${world.linkOf(node).port}?wait=1`;
      world.#cluster = await MirrorCluster.start(NODES, { lease: `${LEASE_MS}ms`, lockServer });
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  private constructor(servers: readonly RedisServer[], links: readonly TcpProxy[]) {
    this.#servers = servers;
    this.links = links;
  }

  get cluster(): MirrorCluster {
    if (this.#cluster === null) throw new Error("the cluster was not started");
    return this.#cluster;
  }

  get primary(): RedisServer {
    return this.#at(0);
  }

  /** Number 0 or 1. */
  replica(number: number): RedisServer {
    return this.#at(1 + number);
  }

  #at(place: number): RedisServer {
    const server = this.#servers[place];
    if (server === undefined) throw new Error(`there is no Redis ${place}`);
    return server;
  }

  linkOf(node: string): TcpProxy {
    const link = this.links[NODES.indexOf(node)];
    if (link === undefined) throw new Error(`there is no node ${node}`);
    return link;
  }

  /** The way from a replica to its primary. */
  replicationOf(server: RedisServer): TcpProxy {
    const link = this.#replication.get(server);
    if (link === undefined) throw new Error("it is not a replica");
    return link;
  }

  /** Bytes of the primary's history that a replica has not got. */
  async missedBy(replica: RedisServer): Promise<number> {
    const offset = async (server: RedisServer, field: string): Promise<number> =>
      Number(new RegExp(`${field}:(\\d+)`).exec(await server.command("info", "replication"))?.[1]);
    return (await offset(this.primary, "master_repl_offset")) - (await offset(replica, "slave_repl_offset"));
  }

  /** Makes all others replicas of the primary, each over a new link, and waits until they have all that it has. */
  async replicate(): Promise<void> {
    const [primary, ...replicas] = this.#servers;
    for (const replica of replicas) await this.follow(replica, primary ?? replica);
    await primary?.command("wait", String(replicas.length), "0");
  }

  async follow(replica: RedisServer, primary: RedisServer): Promise<void> {
    await this.#replication.get(replica)?.close();
    const link = await TcpProxy.start(primary.port);
    this.#replication.set(replica, link);
    await replica.command("replicaof", "127.0.0.1", String(link.port));
    await replica.replicated();
  }

  /** By hand: REPLICAOF NO ONE on the first replica. The second follows it. Nodes are not told. */
  async promote(): Promise<void> {
    const [old, promoted, other] = [this.primary, this.replica(0), this.replica(1)];
    await promoted.command("replicaof", "no", "one");
    await this.follow(other, promoted);
    this.#servers = [promoted, other, old];
  }

  /** The former primary becomes a replica, whatever it knew. */
  async takeBack(): Promise<void> {
    const old = this.replica(1);
    await old.restart("empty");
    await this.follow(old, this.primary);
  }

  /** What a node takes for the primary from now on. */
  direct(node: string, server: RedisServer): void {
    this.linkOf(node).redirect(server.port);
  }

  async close(): Promise<void> {
    await this.#cluster?.close();
    for (const link of [...this.links, ...this.#replication.values()]) await link.close();
    await Promise.all(this.#servers.map((server) => server.stop()));
  }
}
