import { Redis } from "ioredis";
import { afterEach, describe, expect, it } from "vitest";
import { deferred } from "../../src/base/deferred.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { joinRecorded, type RecordedNode } from "../support/lockspace-node.ts";
import { startRedis } from "../support/redis.ts";

const env = realEnv(silentLogger);

describe("what a member costs Redis", () => {
  const cleanup: (() => unknown)[] = [];
  afterEach(async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
  });

  const start = async (): Promise<{ join(node: string): Promise<RecordedNode>; told(): Promise<number> }> => {
    const server = await startRedis();
    const admin = new Redis({ port: server.port });
    cleanup.push(
      () => server.stop(),
      () => admin.disconnect(),
    );
    return {
      join: async (node) => {
        const master = await connectRedisMaster({ url: server.url, node, env });
        const joined = await joinRecorded(master, env, node);
        cleanup.push(
          () => master.close(),
          () => joined.lockspace.leave(),
        );
        return joined;
      },
      told: async () => {
        const text = await admin.info("commandstats");
        return Number(/cmdstat_publish:calls=(\d+)/.exec(text)?.[1] ?? 0);
      },
    };
  };

  it("is not told a second time of what the answers to its calls have brought", async () => {
    const { join, told } = await start();
    const { lockspace } = await join("n1");
    const lock = await lockspace.open("x", { lvb: false });
    const before = await told();
    for (let i = 0; i < 50; i++) {
      await lock.convert("EX");
      await lock.convert("NL");
    }
    expect((await told()) - before).toBe(0);
  });

  it("hears of others while it is busy all the time", async () => {
    const { join } = await start();
    const [a, b] = [await join("n1"), await join("n2")];
    const asked = deferred<true>();
    const held = await a.lockspace.open("x", { lvb: false, onBast: () => asked.resolve(true) });
    await held.convert("EX");
    const busy = await a.lockspace.open("y", { lvb: false });
    let rest = false;
    const work = (async () => {
      while (!rest) await busy.convert(busy.mode === "NL" ? "EX" : "NL");
    })();
    const wanted = await b.lockspace.open("x", { lvb: false });
    const granted = wanted.convert("EX");
    await asked.promise;
    await held.convert("NL");
    expect((await granted).mode).toBe("EX");
    rest = true;
    await work;
  });
});
