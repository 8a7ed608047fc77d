import { setTimeout as pause } from "node:timers/promises";
import { describe, expect } from "vitest";
import { startFakeRedis } from "../support/fake-redis.ts";
import { LEASE_MS, lossCases, NODES, STALL_MS } from "../support/loss-cases.ts";
import { RedisWorld } from "../support/redis-world.ts";

const losing = lossCases(() => RedisWorld.start());

describe("a verified load on two nodes, while the way to Redis", () => {
  losing("resets every connection, again and again", async ({ links, cluster }) => {
    for (let n = 0; n < 5; n++) {
      for (const link of links) link.reset();
      await cluster.progress();
    }
  });

  losing("doubles replies (F33)", async ({ links, cluster }) => {
    for (let n = 0; n < 5; n++) {
      await Promise.all(links.map((link) => link.doubleNext("reply")));
      await cluster.progress(NODES, 20);
    }
  });

  losing("doubles requests (F33)", async ({ links, cluster }) => {
    for (let n = 0; n < 5; n++) {
      await Promise.all(links.map((link) => link.doubleNext("request")));
      await cluster.progress(NODES, 20);
    }
  });

  losing("is cut for one node, for less than a lease (F29)", async ({ links: [one], cluster }) => {
    one.cut();
    await cluster.progress(NODES, 50);
    one.heal();
  });

  losing("loses one node's requests, then its replies, for less than a lease (F29)", async ({ links, cluster }) => {
    const [one] = links;
    for (const direction of ["request", "reply"] as const) {
      one.hold(direction);
      await cluster.progress(NODES, 50);
      one.heal();
      await cluster.progress();
    }
  });

  losing.fatal("is half-open for one node for longer than a lease: the other goes on alone (F29)", async (world) => {
    const { links, cluster } = world;
    const [one] = links;
    const { host } = cluster;
    const [before, since] = [await host.lastEvent("n1"), await host.lastEvent("n2")];
    one.hold("request", "reply");
    await host.event("n2", ({ event, array }) => event === "TAKEOVER" && array === "md0", since);
    await host.event("n2", ({ event, array }) => event === "NODEDOWN" && array === null, since);
    await cluster.progress(["n2"]);
    // What was on its way all the time arrives now, and is nobody's any more.
    one.heal();
    await host.event("n1", ({ event, array }) => event === "FENCED" && array === "md0", before);
    await host.event("n2", ({ event }) => event === "NODEUP", since);
    await cluster.assemble("n1");
    await cluster.load(["n1"]);
  });

  losing("is cut for all nodes for longer than a lease: nobody is declared dead (F29)", async ({ links }) => {
    for (const link of links) link.cut();
    await pause(STALL_MS);
    for (const link of links) link.heal();
  });

  losing("leads to something that answers nonsense (F45)", async ({ redis, links, cluster }) => {
    const nonsense = [
      "$2147483648\r\n",
      "*1\r\n".repeat(100_000),
      "-ERR no\r\n".repeat(10_000),
      "HTTP/1.1 400 Bad Request\r\n\r\n",
    ];
    for (const answer of nonsense) {
      const hostile = await startFakeRedis(([name]) => (name === "FCALL" ? answer : undefined));
      for (const link of links) link.redirect(Number(new URL(hostile.url).port));
      while (!hostile.heard.some((command) => command.startsWith("FCALL"))) await pause(20);
      await cluster.progress(NODES, 20);
      for (const link of links) link.redirect(redis.port);
      await cluster.works();
      await hostile.stop();
    }
  });

  losing("takes a second for each reply (F32)", async ({ links, cluster }) => {
    for (const link of links) link.delay(LEASE_MS / 2, "reply");
    await cluster.progress(NODES, 200);
    for (const link of links) link.heal();
  });
});

describe("a verified load on two nodes, while Redis", () => {
  losing("stands still for less than a lease (F29)", async ({ redis, cluster }) => {
    redis.process.kill("SIGSTOP");
    // What is held is enough for writes.
    await cluster.progress(NODES, 50);
    redis.process.kill("SIGCONT");
  });

  losing("stands still for longer than a lease: nodes say that they wait, and for what (F29)", async (world) => {
    const { redis, cluster } = world;
    const until = performance.now() + STALL_MS;
    redis.process.kill("SIGSTOP");
    await cluster.progress(NODES, 50);
    for (const node of NODES) {
      await cluster.until(node, ({ cluster: { service } }) => service.frozen?.writesWait === true);
      const { stdout } = await cluster.host.run(node, "status");
      expect(stdout).toMatch(/^test: FROZEN, .*lock service lost$/m);
      expect(stdout).toMatch(/^frozen: lock service redis:\S+ lost \d+\.\d s ago; writes to clustered arrays wait$/m);
      expect(stdout).toMatch(/^ +IO resumes when it answers; nodes that still reach it .*$/m);
      expect(stdout).toMatch(/^next: restore the lock service redis:\S+$/m);
      expect((await cluster.host.run(node, "cluster", "status")).exitCode).toBe(7);
    }
    await pause(Math.max(0, until - performance.now()));
    redis.process.kill("SIGCONT");
  });
});

describe("a verified load on two nodes, while a daemon", () => {
  losing(
    "stands still for less than its lease, again and again: nobody is declared dead (F06)",
    async ({ cluster }) => {
      for (const ms of [100, 500]) {
        for (const node of NODES) {
          process.kill(cluster.host.pidOf(node), "SIGSTOP");
          await pause(ms);
          process.kill(cluster.host.pidOf(node), "SIGCONT");
          await cluster.progress(NODES, 20);
        }
      }
    },
  );
});
