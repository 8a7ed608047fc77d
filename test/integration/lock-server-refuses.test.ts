import { mkdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe } from "vitest";
import { lossCases, NODES } from "../support/loss-cases.ts";
import { RedisWorld } from "../support/redis-world.ts";

/** The name of its dump is a directory where a test wants saving to fail. */
const DUMP = "dump-or-directory";

describe("a verified load on two nodes, while Redis (F32)", () => {
  const losing = lossCases(() => RedisWorld.start(["--busy-reply-threshold", "50", "--dbfilename", DUMP]));

  losing("is out of memory", async ({ redis, cluster }) => {
    await redis.command("config", "set", "maxmemory", "1");
    await cluster.progress(NODES, 200);
    await cluster.host.data("n1", "locks", "md0");
    await redis.command("config", "set", "maxmemory", "0");
  });

  losing("is busy with somebody's script", async ({ redis, cluster }) => {
    const script = redis.command("eval", "while true do end", "0").catch((error: unknown) => error);
    await cluster.progress(NODES, 50);
    await redis.command("script", "kill");
    await script;
  });

  losing("cannot save, and takes no writes (MISCONF)", async ({ redis, cluster }) => {
    const inTheWay = join(redis.directory, DUMP);
    await redis.command("config", "set", "save", "3600 1000000");
    rmSync(inTheWay, { force: true });
    mkdirSync(inTheWay);
    await redis.command("bgsave");
    await saved(redis, "err");
    await cluster.progress(NODES, 50);
    rmdirSync(inTheWay);
    await redis.command("bgsave");
    await saved(redis, "ok");
    await redis.command("config", "set", "save", "");
  });

  losing("wants a password from now on that nobody gave (F45)", async ({ redis, cluster }) => {
    await redis.command("acl", "setuser", "default", ">changed");
    await redis.command("-a", "changed", "--no-auth-warning", "client", "kill", "type", "normal", "skipme", "yes");
    for (const node of NODES) await cluster.until(node, ({ verdict }) => verdict === "frozen");
    await redis.command("-a", "changed", "--no-auth-warning", "acl", "setuser", "default", "nopass");
  });

  losing("has lost the lock functions", async ({ redis, cluster }) => {
    await redis.command("function", "flush");
    await cluster.progress(NODES, 200);
  });
});

async function saved(redis: { command(...words: string[]): Promise<string> }, how: "ok" | "err"): Promise<void> {
  for (;;) {
    const info = await redis.command("info", "persistence");
    if (info.includes("rdb_bgsave_in_progress:0") && info.includes(`rdb_last_bgsave_status:${how}`)) return;
  }
}
