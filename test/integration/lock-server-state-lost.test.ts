import { setTimeout as pause } from "node:timers/promises";
import { describe, expect } from "vitest";
import type { StatusData } from "../../src/daemon/control-api.ts";
import { lossCases, NODES, STALL_MS } from "../support/loss-cases.ts";
import { RedisWorld } from "../support/redis-world.ts";

describe("a verified load on two nodes, when Redis", () => {
  const losing = lossCases(() => RedisWorld.start());

  losing("is killed and comes back with all that it had (AOF always)", async ({ redis, cluster }) => {
    await cluster.remastering(() => redis.restart("kept"));
  });

  losing("is killed and comes back with nothing (F30)", async ({ redis, cluster }) => {
    await cluster.remastering(() => redis.restart("empty"));
  });

  losing("is killed and comes back with an older AOF (F30)", async ({ redis, cluster }) => {
    const backup = redis.backup();
    await cluster.works();
    await cluster.remastering(() => redis.restart(backup));
  });

  losing("is killed again and again, with and without its data, whatever is going on", async ({ redis, cluster }) => {
    for (const data of ["empty", "kept", "empty", "kept"] as const) {
      await redis.restart(data);
      await cluster.progress(NODES, 30);
    }
  });

  losing("is gone for longer than a lease and comes back with nothing (F30)", async ({ redis, cluster }) => {
    await redis.kill();
    await pause(STALL_MS);
    await cluster.remastering(() => redis.restart("empty"));
  });

  losing("is flushed by a person (F36)", async ({ redis, cluster }) => {
    await cluster.remastering(() => redis.command("flushall"));
  });

  losing("is flushed while fio writes and reads back, too (F36)", async ({ redis, cluster }) => {
    const fio = cluster.fio("n1", 3);
    await cluster.works();
    await cluster.remastering(() => redis.command("flushall"));
    await cluster.works();
    await fio;
  });

  losing("loses each of its keys, one by one, to a third party (F36)", async ({ redis, keys, cluster }) => {
    for (const key of await keys()) {
      await redis.command("del", key);
      await cluster.works();
    }
  });

  losing(
    "has each of its keys overwritten, and then deleted, by a third party (F36)",
    async ({ redis, keys, cluster }) => {
      for (const key of await keys()) {
        await redis.command("set", key, "what is this?");
        await cluster.progress(NODES, 30);
        await redis.command("del", key);
        await cluster.works();
      }
    },
  );

  losing("is made a replica of nothing, and a primary again (F32)", async ({ redis, cluster }) => {
    await redis.command("replicaof", "127.0.0.1", "1");
    await cluster.progress(NODES, 50);
    await cluster.remastering(() => redis.command("replicaof", "no", "one"));
  });

  losing(
    "is emptied while a node stands still: the other says whom it waits for, and goes on with it",
    async (world) => {
      const { redis, cluster } = world;
      const { host } = cluster;
      await cluster.remastering(async () => {
        process.kill(host.pidOf("n2"), "SIGSTOP");
        await redis.command("flushall");
        const frozen = ({ cluster: { service } }: StatusData): boolean => service.frozen?.missing.join() === "n2";
        const { cluster: summary } = await cluster.until("n1", frozen);
        expect(summary.service.frozen).toMatchObject({ progress: "re-mastering: 1 of 2 nodes reported" });
        expect(summary.service.frozen?.resumes).toMatch(/when n2 reports or is evicted, at the latest in \d\.\d s$/);
        process.kill(host.pidOf("n2"), "SIGCONT");
      });
    },
  );

  losing.fatal("is emptied at the moment in which a node dies: the other goes on without it", async (world) => {
    const { redis, cluster } = world;
    const { host } = cluster;
    const since = await host.lastEvent("n1");
    await cluster.remastering(async () => {
      await Promise.all([host.end("n2", "SIGKILL"), redis.command("flushall")]);
    }, ["n1"]);
    await host.event("n1", ({ event, array }) => event === "TAKEOVER" && array === "md0", since);
    await cluster.works(["n1"]);
    await host.start("n2");
    await cluster.assemble("n2");
    await cluster.load(["n2"]);
  });
});
