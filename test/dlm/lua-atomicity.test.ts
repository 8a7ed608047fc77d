import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LockCall, LockReply, LockspaceId } from "../../src/dlm/lock-call.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { readLuaLibrary } from "../../src/dlm/redis/lua-library.ts";
import { BareMember } from "../support/lock-vector-runner.ts";
import { callLua } from "../support/lua-calls.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";

/** In front of the library: the call of Redis whose number is in ARGV[3] fails, the others do not. */
const injection = `
local calls, failAt = 0, 0
local function failing(real)
  local function counted(execute, isCaught)
    return function(...)
      calls = calls + 1
      if calls ~= failAt then return execute(...) end
      if isCaught then return { err = 'ERR injected' } end
      error('injected')
    end
  end
  return { call = counted(real.call, false), pcall = counted(real.pcall, true) }
end
`;

function injectedLibrary(): { readonly name: string; readonly text: string } {
  const { name, text } = readLuaLibrary();
  const replaced = (whole: string, from: string, to: string): string => {
    expect(whole).toContain(from);
    return whole.replace(from, to);
  };
  let injected = replaced(text, "\n", `\n${injection}`);
  injected = replaced(injected, "return redis, cjson", "return failing(redis), cjson");
  injected = replaced(
    injected,
    "return callback(keys, args)",
    "calls, failAt = 0, tonumber(args[3])\n    return callback(keys, args)",
  );
  return { name: "mdlm1_injected", text: injected.replaceAll(name, "mdlm1_injected") };
}

type Snapshot = ReadonlyMap<string, Buffer>;

describe("the Lua library when a command of Redis fails", () => {
  const lockspace: LockspaceId = { cluster: "alpha", name: "space" };
  const library = injectedLibrary();
  let server: RedisServer;
  let client: Redis;
  beforeAll(async () => {
    server = await startRedis();
    client = new Redis({ host: "127.0.0.1", port: server.port, protocol: 2 });
    await client.call("FUNCTION", "LOAD", library.text);
  });
  afterAll(async () => {
    client.disconnect();
    await server.stop();
  });

  const execute = (call: LockCall, failAt = 0): Promise<LockReply> =>
    callLua(client, library.name, { lockspace, call }, failAt);
  const master: LockMaster = {
    about: "injected",
    call: (_, call) => execute(call),
    watch: () => ({ stop: () => {} }),
    onReachable: () => ({ stop: () => {} }),
    close: async () => {},
  };

  const snapshot = async (): Promise<Snapshot> => {
    const keys = (await client.keys("mdlm:*")).sort();
    return new Map(await Promise.all(keys.map(async (key) => [key, await client.dumpBuffer(key)] as const)));
  };
  const restore = async (state: Snapshot): Promise<void> => {
    await client.flushall();
    for (const [key, value] of state) await client.restore(key, 0, value);
  };

  /** What is stored, in an order of its own. */
  const contents = async (): Promise<[key: string, content: unknown][]> => {
    const keys = (await client.keys("mdlm:*")).sort();
    const content = async (key: string): Promise<unknown> => {
      if (key.includes(":mb:")) return client.xrange(key, "-", "+");
      const fields = await client.hgetallBuffer(key);
      return Object.entries(fields)
        .map(([field, value]) => [field, value.toString("latin1")] as const)
        .sort(([one], [other]) => (one < other ? -1 : 1));
    };
    return Promise.all(keys.map(async (key): Promise<[string, unknown]> => [key, await content(key)]));
  };

  const nl = { op: "lock", name: "r", mode: 0, flags: 0, bast: true } as const;
  const rid = (member: BareMember) => member.header(member.lastRid + 1);
  const sighting = ({ slot, incarnation }: BareMember) => ({ slot, incarnation, counter: 0 });

  /** a holds EX, b and c wait for it; b is being fenced. What each call needs is thus there. */
  async function situation() {
    await client.flushall();
    const join = (node: string) => BareMember.join(master, lockspace, node);
    const [a, b, c] = [await join("a"), await join("b"), await join("c")];
    const { value: held } = await a.call({ ...nl, mode: 5 });
    await b.call({ ...nl, mode: 3 });
    const { value: waiting } = await c.call({ ...nl, mode: 3 });
    const { value: token } = await a.call({ op: "fence_begin", victim: sighting(b) });
    await a.call({ op: "renew", counter: 1 });
    return { a, b, c, held, waiting, token };
  }

  const calls: readonly (readonly [string, (s: Awaited<ReturnType<typeof situation>>) => LockCall])[] = [
    ["lock", ({ a }) => ({ ...rid(a), ...nl, name: "s" })],
    ["convert", ({ a, held }) => ({ ...rid(a), op: "convert", name: "r", lkid: held, mode: 3, flags: 0 })],
    ["batch", ({ a, held }) => ({ ...rid(a), op: "batch", steps: [{ name: "r", lkid: held, mode: 0, flags: 0 }] })],
    ["unlock", ({ a, held }) => ({ ...rid(a), op: "unlock", name: "r", lkid: held, flags: 0 })],
    ["renew", ({ a }) => ({ ...rid(a), rid: 0, op: "renew", counter: 2 })],
    ["poll", ({ c }) => ({ ...rid(c), op: "poll" })],
    ["evict", ({ a, c }) => ({ ...rid(a), op: "evict", victim: sighting(c), evidence: "operator" })],
    ["fence_begin", ({ a, c }) => ({ ...rid(a), op: "fence_begin", victim: sighting(c) })],
    [
      "fence_result",
      ({ a, b, token }) => ({
        ...rid(a),
        op: "fence_result",
        victim: sighting(b),
        token,
        ok: true,
        evidence: "off",
      }),
    ],
    ["leave", ({ a }) => ({ ...rid(a), op: "leave" })],
    [
      "join",
      ({ a, b }) => ({
        op: "join",
        node: "d",
        incarnation: "d1",
        ...a.report().settings,
        gone: [sighting(b)],
      }),
    ],
    ["recover", ({ a }) => a.report([{ gr: 5 }], { epoch: 9 })],
  ];

  it.each(calls)("%s changes everything, nothing, or takes the lockspace away", async (_, callOf) => {
    const call = callOf(await situation());
    const saved = await snapshot();
    const before = await contents();
    const seen = { raised: 0, taken: 0 };
    for (let failAt = 1; ; failAt++) {
      await restore(saved);
      const answer = await execute(call, failAt).catch((error: unknown) => String(error));
      const after = await contents();
      if (typeof answer === "string") {
        expect(answer).toContain("injected");
        expect(after).toEqual(before);
        seen.raised += 1;
      } else if (answer.rc === lockStatus.ENOLS) {
        // A call that needs its own mailbox alone leaves the others; whoever opens the lockspace anew empties them.
        expect(after.filter(([key]) => !key.includes(":mb:"))).toEqual([]);
        seen.taken += 1;
      } else {
        // Further than the last command: nothing has failed.
        expect(answer.rc).toBe(lockStatus.OK);
        expect(after).not.toEqual(before);
        break;
      }
    }
    expect(seen.raised).toBeGreaterThan(1);
    expect(seen.taken).toBeGreaterThan(0);
  });

  it("lets the members rebuild a lockspace that was taken away", async () => {
    const { a, c, held } = await situation();
    const call = { ...rid(a), op: "unlock", name: "r", lkid: held, flags: 0 } as const;
    let failAt = 1;
    for (;;) {
      const answer = await execute(call, failAt++).catch(() => null);
      if (answer?.rc === lockStatus.ENOLS) break;
    }
    const known = { members: a.report().members.filter(({ node }) => node !== "b") };
    expect(await a.recover([{ gr: 5 }], known)).toMatchObject({ rc: lockStatus.OK, state: "recover" });
    expect(
      await c.recover([{ gr: -1, queue: "w", rq: 3 }], { ...known, generation: a.report().generation }),
    ).toMatchObject({
      rc: lockStatus.OK,
      state: "run",
    });
    const { resources } = await execute({ op: "dump" });
    expect(resources?.[0]?.locks.map(({ slot, queue }) => [slot, queue])).toEqual([
      [1, "g"],
      [3, "w"],
    ]);
  });

  it.each([["meta"], ["res"], ["mb:3"]])("grants nothing that is held when somebody deletes %s", async (key) => {
    const { a, c } = await situation();
    await client.del(`mdlm:{alpha/space}:${key}`);
    const answers = [
      await execute({ ...rid(c), ...nl, mode: 5, flags: 1 }),
      await execute({ ...rid(c), ...nl, name: "fresh", mode: 5, flags: 1 }),
      await execute({ ...rid(c), rid: 0, op: "renew", counter: 9 }),
      await execute(c.report([], { epoch: 1, members: a.report().members })),
    ];
    const lost = key === "meta" ? lockStatus.ENOLS : lockStatus.ELOST;
    expect(answers.map(({ rc }) => rc)).toEqual([lost, lost, lost, lockStatus.OK]);
    expect(answers.at(-1)?.state).toBe("recover");
  });
});
