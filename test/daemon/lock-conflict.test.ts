import { afterEach, describe, expect, it } from "vitest";
import { locksText } from "../../src/cli/render/locks-text.ts";
import { type EvictionWorld, evictVouched } from "../../src/daemon/eviction.ts";
import { frozenInfo } from "../../src/daemon/frozen-info.ts";
import { locksData } from "../../src/daemon/locks-data.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import type { Lockspace } from "../../src/dlm/lockspace.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realClock, realEnv } from "../../src/env/real-env.ts";
import { joinRecorded } from "../support/lockspace-node.ts";
import { startRedis } from "../support/redis.ts";

const EX = 5;
const env = realEnv(silentLogger);
/** So long that a busy machine does not let it lapse. */
const lease = { leaseMs: 10_000, pingMs: 500 };
const PATIENCE = { timeout: 50_000 };

/** As if another primary had granted this member what it asked for, and more. */
const deceived = (master: LockMaster): LockMaster => ({
  about: "deceived",
  call(lockspace, call) {
    if (call.op !== "recover") return master.call(lockspace, call);
    return master.call(lockspace, { ...call, locks: call.locks.map((lock) => ({ ...lock, gr: EX })) });
  },
  watch: (...args) => master.watch(...args),
  onReachable: (listener) => master.onReachable(listener),
  close: () => master.close(),
});

describe("two members that hold what only one can, when Redis has lost everything", () => {
  const cleanup: (() => unknown)[] = [];
  afterEach(async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
  });

  /** What the daemon of this member's node tells of it. */
  const seenBy = (lockspace: Lockspace) =>
    frozenInfo({
      now: realClock.now(),
      node: "n1",
      address: "redis",
      lostAt: null,
      spaces: [{ array: "md0", status: lockspace.status(), frozen: lockspace.frozen, waiting: 0 }],
      hasFencer: false,
    });

  it("are named to the operator, who evicts one of them; nothing is granted before", async () => {
    const redis = await startRedis();
    cleanup.push(() => redis.stop());
    const join = async (node: string, wrap: (master: LockMaster) => LockMaster = (master) => master) => {
      const master = wrap(await connectRedisMaster({ url: redis.url, node, env }));
      cleanup.push(() => master.close());
      const { lockspace } = await joinRecorded(master, env, node, { lease });
      cleanup.push(() => lockspace.abandon());
      return lockspace;
    };
    const [one, two] = [await join("n1"), await join("n2", deceived)];
    const [ours, theirs] = [await one.open("bitmap0000", { lvb: true }), await two.open("bitmap0000", { lvb: true })];
    const other = await one.open("resync", { lvb: false });
    await ours.convert("PW");
    expect(theirs.mode).toBe("NL");

    await redis.command("FLUSHALL");
    for (const member of [one, two]) await expect.poll(() => member.frozen?.conflicts.length, PATIENCE).toBe(1);
    const context = { now: realClock.now(), frozen: one.frozen, dead: new Map(), notes: new Map() };
    const text = locksText(locksData("md0", await one.dump(), context));
    expect(text).toContain(
      "conflict: bitmap0000 is held by n1 (PW) and n2 (EX), which cannot be\n" +
        "  try: stop one of them for good, then mdctl node evict n2 --confirm-dead\n",
    );
    expect(seenBy(one)).toMatchObject({
      resumes:
        "md0: bitmap0000 is held by n1 (PW) and n2 (EX), which cannot be; locks are granted again when one of them is evicted",
      command: "mdctl node evict n2 --confirm-dead",
    });
    let granted = false;
    const waiting = other.convert("EX").then((grant) => {
      granted = true;
      return grant.status;
    });

    // Both hold and both renew: a living one is not evicted.
    const world: EvictionWorld = {
      clock: realClock,
      spaces: () => [{ array: "md0", status: one.status(), evict: (member) => one.evict(member) }],
      lost: () => null,
    };
    const evict = () => evictVouched(world, "n2", new AbortController().signal);
    await expect(evict()).rejects.toMatchObject({ code: "E_NODE_ALIVE" });
    expect([granted, one.frozen?.conflicts.length]).toEqual([false, 1]);

    two.abandon();
    expect(await evict()).toMatchObject([{ array: "md0" }]);
    expect(await waiting).toBe("granted");
    expect([one.frozen, ours.mode]).toEqual([null, "PW"]);
    const { resources } = await one.dump();
    const granted0 = resources.find(({ name }) => name === "bitmap0000")?.granted ?? [];
    expect(granted0.map(({ slot, mode }) => [slot, mode])).toEqual([[0, "PW"]]);
  });
});
