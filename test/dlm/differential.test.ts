import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LockCall, LockReply, LockspaceId } from "../../src/dlm/lock-call.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockModes, modesCompatible } from "../../src/dlm/lock-mode.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { readLuaLibrary } from "../../src/dlm/redis/lua-library.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { ReplayedTable, TraceGenerator, type TraceStep } from "../support/lock-traces.ts";
import { callLua } from "../support/lua-calls.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { SeededRandom } from "../support/seeded-random.ts";

/** By hand: MDCTL_SEEDS=10000 MDCTL_FIRST_SEED=1 npx vitest run test/dlm/differential.test.ts (10^6 calls). */
const SEEDS = Number(process.env["MDCTL_SEEDS"] ?? 1000);
const FIRST = Number(process.env["MDCTL_FIRST_SEED"] ?? 1);
const STEPS = 100;
/** The whole state is compared after so many steps, and at the end of each trace. */
const DUMP_EVERY = 20;

/** Whoever holds something (also while converting) is compatible with every other holder, and a member. */
function checkDump(dump: LockReply): void {
  for (const { name, locks } of dump.resources ?? []) {
    const held = locks.filter(({ gr }) => gr >= 0);
    for (const [at, a] of held.entries()) {
      for (const b of held.slice(at + 1)) {
        const [one, other] = [lockModes[a.gr], lockModes[b.gr]];
        if (one !== undefined && other !== undefined && !modesCompatible(one, other)) {
          throw new Error(`${name}: ${one} and ${other} are both granted`);
        }
      }
    }
    const members = new Set((dump.members ?? []).map(({ slot }) => slot));
    expect(locks.filter(({ slot }) => !members.has(slot))).toEqual([]);
    expect(locks).not.toEqual([]);
  }
}

/** What the two may differ in: which server it is, and whether it may have forgotten something. */
const comparable = ({ server: _, mayHaveForgotten: __, ...reply }: LockReply): unknown => reply;

describe("the Lua library against the lock table", () => {
  let server: RedisServer;
  let redis: LockMaster;
  let admin: Redis;
  let spaces = 0;
  beforeAll(async () => {
    server = await startRedis();
    redis = await connectRedisMaster({ url: server.url, node: "test", env: realEnv(silentLogger) });
    admin = new Redis({ host: "127.0.0.1", port: server.port, protocol: 2 });
  });
  afterAll(async () => {
    admin.disconnect();
    await redis.close();
    await server.stop();
  });

  /** Runs a trace on both, and says where they differ first; null: nowhere. `codes`: every answer given. */
  async function difference(
    trace: readonly TraceStep[],
    dumpEvery: number,
    codes = new Map<string, number>(),
    execute = (lockspace: LockspaceId, call: LockCall): Promise<LockReply> => redis.call(lockspace, call),
  ) {
    spaces += 1;
    const lockspace: LockspaceId = { cluster: "alpha", name: `space${spaces}` };
    const model = new ReplayedTable();
    const failed: { at: number; what: string }[] = [];
    let pending: Promise<void>[] = [];
    const send = (at: number, call: LockCall, expected: LockReply): void => {
      const compare = async (): Promise<void> => {
        const actual = await execute(lockspace, call);
        const [want, got] = [comparable(expected), comparable(actual)];
        try {
          expect(got).toEqual(want);
        } catch {
          failed.push({
            at,
            what: `${JSON.stringify(call)}\nexpected ${JSON.stringify(want)}\nbut got  ${JSON.stringify(got)}`,
          });
        }
      };
      pending.push(compare());
    };
    const settle = async (): Promise<void> => {
      await Promise.all(pending);
      pending = [];
    };
    let slotsKnown = false;
    for (const [at, step] of trace.entries()) {
      const reply = model.apply(step);
      if ("call" in step && reply !== null) {
        send(at, step.call, reply);
        const { op } = step.call;
        codes.set(`${op} ${reply.rc}`, (codes.get(`${op} ${reply.rc}`) ?? 0) + 1);
        // The keys of a call depend on the number of slots, which the answer to the first join brings.
        if (!slotsKnown && op === "join") {
          await settle();
          slotsKnown = true;
        }
      } else {
        await settle();
        const keys = await admin.keys(`mdlm:{alpha/${lockspace.name}}:*`);
        if (keys.length > 0) await admin.del(...keys);
        await Promise.all(model.calls.map((call) => execute(lockspace, call)));
      }
      if (at % dumpEvery === dumpEvery - 1 || at === trace.length - 1) {
        const dump = model.look({ op: "dump" });
        checkDump(dump);
        send(at, { op: "dump" }, dump);
      }
    }
    await settle();
    return failed.sort((a, b) => a.at - b.at)[0] ?? null;
  }

  /** Leaves out steps as long as the two still differ. */
  async function shrink(trace: readonly TraceStep[]): Promise<string> {
    let best = trace;
    for (let size = Math.floor(best.length / 2); size >= 1; size = Math.floor(size / 2)) {
      for (let from = 0; from < best.length; ) {
        const shorter = [...best.slice(0, from), ...best.slice(from + size)];
        if ((await difference(shorter, 1)) === null) from += size;
        else best = shorter;
      }
    }
    const found = await difference(best, 1);
    return `${best.map((step) => JSON.stringify(step)).join("\n")}\nat step ${found?.at}: ${found?.what}`;
  }

  it(`answers alike and holds the same state, ${SEEDS} seeds of ${STEPS} steps`, { timeout: 3_600_000 }, async () => {
    const codes = new Map<string, number>();
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const trace = new TraceGenerator(seed).generate(STEPS);
      if ((await difference(trace, DUMP_EVERY, codes)) !== null) {
        throw new Error(`seed ${seed}, shortened:\n${await shrink(trace)}`);
      }
    }
    // The calls reach what they are meant to reach.
    const reached = (op: LockCall["op"], code: keyof typeof lockStatus): number =>
      codes.get(`${op} ${lockStatus[code]}`) ?? 0;
    const wanted = {
      lock: ["OK", "EINVAL", "EEPOCH", "ELOST", "EFENCED", "EGAP", "ERECOVER", "ENOLS", "ESTALE"],
      convert: ["OK", "EINVAL", "ENOENT", "EBUSY"],
      batch: ["OK", "EINVAL", "ENOENT", "EBUSY", "ERECOVER"],
      unlock: ["OK", "EINVAL", "ENOENT", "EBUSY"],
      join: ["OK", "EBUSY", "EPROTO", "ERECOVER", "ERANGE"],
      recover: ["OK", "EFENCED", "ECONFLICT", "EPROTO", "EIDENT"],
      evict: ["OK", "EALIVE", "EBUSY"],
      fence_begin: ["OK", "EALIVE", "EBUSY", "ENOENT", "EINVAL"],
      fence_result: ["OK", "ESTALE"],
      renew: ["OK"],
      leave: ["OK"],
    } as const;
    for (const [op, names] of Object.entries(wanted)) {
      for (const name of names) expect(reached(op as LockCall["op"], name), `${op} ${name}`).toBeGreaterThan(0);
    }
  });

  it("does so too where two copies of the library, neither of which knows what the other writes, take turns", async () => {
    const { name, text } = readLuaLibrary();
    const copies = ["mdlm_one", "mdlm_two"];
    for (const copy of copies) await admin.call("FUNCTION", "LOAD", text.replaceAll(name, copy));
    const random = new SeededRandom(1);
    const execute = (lockspace: LockspaceId, call: LockCall): Promise<LockReply> =>
      callLua(admin, copies[random.below(2)] ?? "", { lockspace, call });
    for (let seed = 1; seed <= 50; seed++) {
      const trace = new TraceGenerator(seed).generate(STEPS);
      expect(await difference(trace, DUMP_EVERY, undefined, execute), `seed ${seed}`).toBeNull();
    }
  });
});
