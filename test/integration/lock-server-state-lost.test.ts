import { setTimeout as pause } from "node:timers/promises";
import { describe } from "vitest";
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
});
