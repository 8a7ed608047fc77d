import { Redis } from "ioredis";
import { afterEach, describe, expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { BareMember } from "../support/lock-vector-runner.ts";
import { startRedis } from "../support/redis.ts";

const ARRAYS = 12;

describe("renewals that replicas must confirm", () => {
  const cleanup: (() => unknown)[] = [];
  afterEach(async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
  });

  it("of many arrays wait for a slow replica together, not one after the other", async () => {
    const primary = await startRedis();
    const replica = await startRedis(["--replicaof", "127.0.0.1", String(primary.port)]);
    const admin = new Redis({ port: primary.port });
    cleanup.push(
      () => primary.stop(),
      () => replica.stop(),
      () => admin.disconnect(),
      () => replica.process.kill("SIGCONT"),
    );
    await replica.replicated();
    const master: LockMaster = await connectRedisMaster({
      url: `${primary.url}?wait=1`,
      node: "n1",
      env: realEnv(silentLogger),
    });
    cleanup.push(() => master.close());
    const members: BareMember[] = [];
    for (let n = 0; n < ARRAYS; n++) {
      members.push(await BareMember.join(master, { cluster: "alpha", name: `array${n}` }, "n1"));
    }
    const waits = async (): Promise<number> =>
      Number(/cmdstat_wait:calls=(\d+)/.exec(await admin.info("commandstats"))?.[1]);
    const renewAll = (counter: number): Promise<PromiseSettledResult<unknown>[]> =>
      Promise.allSettled(members.map((member) => member.call({ op: "renew", counter })));

    replica.process.kill("SIGSTOP");
    const before = await waits();
    const stalled = await renewAll(1);
    // The first, and all that were asked for while it waited.
    expect((await waits()) - before).toBe(2);
    for (const renewal of stalled) {
      expect(renewal).toMatchObject({ status: "rejected", reason: { code: "E_LOCK_SERVICE_LOST" } });
    }

    replica.process.kill("SIGCONT");
    await replica.replicated();
    for (let counter = 2; ; counter++) {
      const renewals = await renewAll(counter);
      if (renewals.some(({ status }) => status === "rejected")) continue; // it still catches up
      expect(renewals.map((renewal) => renewal.status === "fulfilled" && renewal.value)).toEqual(
        members.map(() => expect.objectContaining({ rc: lockStatus.OK })),
      );
      break;
    }
  });
});
