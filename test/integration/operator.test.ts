import { afterAll, afterEach, describe, expect, it } from "vitest";
import type {
  ArrayInfo,
  ClusterStatusData,
  EvictData,
  HistoryEvent,
  LocksData,
  NodeInfo,
  StatusData,
} from "../../src/daemon/control-api.ts";
import { Host } from "../support/daemons.ts";
import { FakeAgent } from "../support/fake-agent.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { tempDir } from "../support/temp-dir.ts";

const MEMBER_BYTES = 32 * 1024 * 1024;
const CREATE = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members"];
const EVICT = ["--force", "--confirm=n2"];

/** What an operator sees and does, with real daemons. */
describe.each(["the embedded lock server", "Redis"])("an operator, with %s", (kind) => {
  let host: Host;
  let redis: RedisServer | null = null;

  const startCluster = async (lease: string): Promise<void> => {
    redis = kind === "Redis" ? await startRedis() : null;
    host = new Host({ lease, ...(redis === null ? {} : { lockServer: redis.url }) });
    await Promise.all([host.start("n1"), host.start("n2")]);
    const [a, b] = [host.memberFile("a.img", MEMBER_BYTES), host.memberFile("b.img", MEMBER_BYTES)];
    await host.data("n1", ...CREATE, a, b);
    await host.data("n2", "assemble", "md0", a, b);
    await host.data("n1", "wait", "md0");
  };

  /** Asks until it fits: what a node knows of another one comes with a renewal. */
  const until = async <T>(ask: () => Promise<T>, fits: (value: T) => boolean): Promise<T> => {
    for (;;) {
      const value = await ask();
      if (fits(value)) return value;
    }
  };

  afterEach(async () => {
    await host.close();
    await redis?.stop();
    redis = null;
  });

  it("sees nodes, leases and locks of the whole cluster from any node", async () => {
    await startCluster("4s");
    const nodes = await until(
      async () => (await host.data<{ nodes: readonly NodeInfo[] }>("n1", "node", "list")).nodes,
      (list) => list.every(({ version, lastSeenSeconds }) => version !== null && lastSeenSeconds !== null),
    );
    expect(nodes).toMatchObject([
      { name: "n1", slot: 0, state: "up", protocol: 1, protection: "lease only", note: null },
      { name: "n2", slot: 1, state: "up", protocol: 1, protection: "lease only", note: null },
    ]);
    expect(nodes[1]?.version).toBe(nodes[0]?.version);
    // Whoever was first has seen the other one come.
    const joined = ({ event }: HistoryEvent): boolean => event === "NODEJOINED";
    const { text } = await Promise.race([host.event("n1", joined), host.event("n2", joined)]);
    expect(text).toMatch(/^node n[12] has joined the cluster$/);

    const answer = await host.json<ClusterStatusData>("n1", "cluster", "status");
    expect(answer).toMatchObject({ ok: true, exitCode: 0, warnings: [{ code: "N_LEASE_ONLY" }] });
    expect(answer.data).toMatchObject({
      cluster: { quorum: true, lockService: "ok", service: { reachable: true, frozen: null } },
      lockspaces: [
        { array: null, members: expect.arrayContaining(["n1", "n2"]), remastering: null },
        { array: "md0", members: ["n1", "n2"], remastering: null },
      ],
      fencing: { methods: "lease only", leaseOnly: true },
      protocol: { own: 1, lowest: 1, highest: 1 },
    });
    expect(answer.data?.cluster.service.kind).toBe(kind === "Redis" ? "redis" : "embedded");
    expect(answer.data?.lockspaces[1]?.writeSeconds).toBeGreaterThan(0);

    const locks = await host.data<LocksData>("n2", "locks", "md0");
    expect(locks).toMatchObject({ nodes: ["n1", "n2"], rebuilding: false, conflicts: [] });
    const bitmap = locks.resources.find(({ name }) => name === "bitmap0001");
    expect(bitmap?.grants).toContainEqual({ node: "n2", mode: "PW" });
    expect(bitmap?.value?.decoded).toMatch(/resync/);
    // n2 took its slot itself: it knows since when.
    expect(bitmap?.ageSeconds).not.toBeNull();
  });

  it("evicts a stopped node at once when it is known to be dead, and never a living one", async () => {
    await startCluster("5s");
    const alive = await host.json<EvictData>("n1", "node", "evict", "n2", "--confirm-dead", ...EVICT);
    expect(alive).toMatchObject({ ok: false, exitCode: 7, error: { code: "E_NODE_ALIVE" } });
    expect(alive.error?.message).toMatch(/^n2 is alive: it renewed its lease \d+\.\d s ago$/);
    const unknown = await host.json<EvictData>("n1", "node", "evict", "n9", "--force", "--confirm=n9");
    expect(unknown).toMatchObject({ exitCode: 2, error: { message: '"n9" is no node of cluster test' } });
    const self = await host.json<EvictData>("n1", "node", "evict", "n1", "--force", "--confirm=n1");
    expect(self).toMatchObject({ exitCode: 2, error: { code: "E_VALUE" } });

    process.kill(host.pidOf("n2"), "SIGSTOP");
    try {
      // Long before the end of its lease.
      const { evicted } = await host.data<EvictData>("n1", "node", "evict", "n2", "--confirm-dead", ...EVICT);
      expect(evicted.map(({ array }) => array)).toEqual([null, "md0"]);
      await host.event("n1", ({ event }) => event === "NODEEVICTED");
      await host.event("n1", ({ event, array }) => event === "TAKEOVER" && array === "md0");
      const again = await host.data<EvictData>("n1", "node", "evict", "n2", "--confirm-dead", ...EVICT);
      expect(again.evicted).toEqual([]);
      const { exitCode, stdout } = await host.run("n1", "cluster", "status");
      expect([exitCode, stdout.split("\n")[0]]).toEqual([1, "cluster test: DEGRADED, 1 of 2 nodes up"]);
    } finally {
      process.kill(host.pidOf("n2"), "SIGCONT");
    }
    // It finds out that it is out, and writes no more.
    await host.event("n2", ({ event, array }) => event === "FENCED" && array === "md0");
  });

  it("waits for the end of the lease of a node without vouching for it", async () => {
    await startCluster("3s");
    process.kill(host.pidOf("n2"), "SIGSTOP");
    try {
      const { evicted } = await host.data<EvictData>("n1", "node", "evict", "n2", ...EVICT);
      expect(evicted.map(({ array }) => array)).toEqual([null, "md0"]);
      const status = await host.data<StatusData>("n1", "status");
      expect(status.nodes.find(({ name }) => name === "n2")).toMatchObject({ state: "down" });
    } finally {
      process.kill(host.pidOf("n2"), "SIGCONT");
    }
  });
});

/** Redis, since it can be taken away and brought back. */
describe("an operator whose lock service is lost", () => {
  let host: Host;
  let redis: RedisServer;

  afterEach(async () => {
    await host.close();
    await redis.stop();
  });

  it("is told why, what waits, what ends it and when, by every command alike", async () => {
    redis = await startRedis();
    host = new Host({ lease: "6s", lockServer: redis.url });
    await Promise.all([host.start("n1"), host.start("n2")]);
    const [a, b] = [host.memberFile("a.img", MEMBER_BYTES), host.memberFile("b.img", MEMBER_BYTES)];
    await host.data("n1", ...CREATE, a, b);
    await host.data("n2", "assemble", "md0", a, b);
    await host.data("n1", "wait", "md0");

    redis.process.kill("SIGKILL");
    await host.event("n1", ({ event }) => event === "LOCKSERVICELOST");
    const text = `lock service ${redis.url}(/\\S*)? lost \\d+(\\.\\d)? s ago; writes to clustered arrays wait( in \\d\\.\\d s)?`;
    const status = await host.run("n1", "status");
    expect(status.stdout).toMatch(/^test: FROZEN, /);
    expect(status.stdout).toMatch(
      new RegExp(`\nfrozen: ${text}\n {8}(locks are granted again|IO resumes) when it answers`),
    );
    const detail = await host.data<{ array: ArrayInfo }>("n1", "detail", "md0");
    expect(detail.array.frozen?.text).toMatch(new RegExp(`^${text}$`));
    expect((await host.json("n1", "cluster", "status")).exitCode).toBe(7);
    for (const command of [["fail", "md0", b], ["locks"], ["node", "evict", "n2", ...EVICT]]) {
      const { exitCode, error } = await host.json("n1", ...command);
      expect([exitCode, error?.code, error?.hint]).toEqual([7, "E_LOCK_SERVICE_LOST", "mdctl cluster status"]);
      expect(error?.message).toMatch(new RegExp(`^${text}$`));
      expect(error?.causes[0]?.message).toMatch(/ when it answers/);
    }

    // It comes back empty while one of the nodes stands still: the other one has to wait for it.
    process.kill(host.pidOf("n2"), "SIGSTOP");
    try {
      await redis.restart();
      const begun = await host.event("n1", ({ event }) => event === "REMASTERING");
      expect(begun.array).toBe("md0");
      for (;;) {
        const { verdict, cluster } = await host.data<StatusData>("n1", "status");
        if (cluster.service.frozen?.progress == null) continue;
        expect(verdict).toBe("frozen");
        expect(cluster.service.frozen).toMatchObject({
          progress: "re-mastering: 1 of 2 nodes reported",
          reported: ["n1"],
          missing: ["n2"],
        });
        expect(cluster.service.frozen.resumes).toMatch(
          / when n2 reports or is evicted, at the latest in \d+(\.\d)? s$/,
        );
        break;
      }
      const locks = await host.data<LocksData>("n1", "locks");
      expect(locks.rebuilding).toBe(true);
    } finally {
      process.kill(host.pidOf("n2"), "SIGCONT");
    }
    await host.event("n1", ({ event }) => event === "REMASTERED");
    expect((await host.json("n1", "fail", "md0", b)).exitCode).toBe(0);
    expect((await host.data<StatusData>("n1", "status")).cluster.service.frozen).toBeNull();
  }, 120_000);
});

describe("an operator whose fence agent fails", () => {
  let host: Host;
  const agents = tempDir("agents");

  afterEach(() => host.close());
  afterAll(() => agents.remove());

  it("sees who is being fenced, that its locks stand, and ends it by vouching for the node's death", async () => {
    const agent = new FakeAgent(agents.path, "exit 1");
    const fence = `--fence=command=${agent.path} timeout=5s retries=0`;
    host = new Host({ lease: "2s", daemonOptions: [fence] });
    await Promise.all([host.start("n1"), host.start("n2")]);
    const [a, b] = [host.memberFile("a.img", MEMBER_BYTES), host.memberFile("b.img", MEMBER_BYTES)];
    await host.data("n1", ...CREATE, a, b);
    await host.data("n2", "assemble", "md0", a, b);
    await host.data("n1", "wait", "md0");
    const healthy = await host.json<ClusterStatusData>("n1", "cluster", "status");
    expect(healthy).toMatchObject({ exitCode: 0, warnings: [], data: { fencing: { leaseOnly: false } } });
    expect(healthy.data?.nodes[1]?.protection).toBe("fence agent");

    process.kill(host.pidOf("n2"), "SIGSTOP");
    try {
      let fenced: NodeInfo | undefined;
      while (!/^is being fenced by n1, \d+ tr(y|ies) failed; its locks stand until then$/.test(fenced?.note ?? "")) {
        const { nodes } = await host.data<{ nodes: readonly NodeInfo[] }>("n1", "node", "list");
        fenced = nodes.find(({ name }) => name === "n2");
      }
      expect(fenced?.state).toBe("down");
      const locks = await host.data<LocksData>("n1", "locks");
      const slot = locks.resources.find(({ name }) => name === "bitmap0001");
      expect(slot?.grants).toContainEqual({ node: "n2", mode: "PW" });
      expect((await host.json("n1", "cluster", "status")).exitCode).toBe(1);

      await host.data<EvictData>("n1", "node", "evict", "n2", "--confirm-dead", ...EVICT);
      await host.event("n1", ({ event, array }) => event === "TAKEOVER" && array === "md0");
    } finally {
      process.kill(host.pidOf("n2"), "SIGCONT");
    }
  });
});
