import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { EventInbox } from "../../src/dlm/event-inbox.ts";
import type { LockEvent } from "../../src/dlm/lock-call.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { BareMember } from "../support/lock-vector-runner.ts";
import { joinRecorded } from "../support/lockspace-node.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

const env = realEnv(silentLogger);
const lockspace = { cluster: "alpha", name: "array" };
const mailbox = "mdlm:{alpha/array}:mb:1";

describe("the mailbox reader", () => {
  const cleanup: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
  });

  const start = async (): Promise<RedisServer> => {
    const server = await startRedis();
    cleanup.push(() => server.stop());
    return server;
  };
  const connect = async (url: string, node = "n1"): Promise<LockMaster> => {
    const master = await connectRedisMaster({ url, node, env });
    cleanup.push(() => master.close());
    return master;
  };
  /** What a member hears that makes no call but to ask, once, where something is missing. */
  const watch = (master: LockMaster, member: BareMember): LockEvent[] => {
    const heard: LockEvent[] = [];
    const inbox = new EventInbox(async (event) => void heard.push(event));
    inbox.start();
    const { slot, incarnation } = member;
    const header = member.header(0);
    const ask = async (): Promise<void> => {
      for (;;) {
        const call = { ...header, ack: inbox.last, op: "poll" } as const;
        const reply = await master.call(lockspace, call).catch(() => null);
        if (reply !== null) return void inbox.take(reply.events);
        await pause(20);
      }
    };
    const subscription = master.watch(lockspace, { slot, incarnation, epoch: header.epoch }, (events) => {
      if (events.length === 0 || !inbox.take(events)) void ask();
    });
    cleanup.push(async () => subscription.stop());
    return heard;
  };
  /** Three events for everybody else with each join, three with each leave. */
  const disturb = async (master: LockMaster, times: number): Promise<void> => {
    for (let n = 0; n < times; n++) {
      const other = await BareMember.join(master, lockspace, "other");
      await other.call({ op: "leave" });
    }
  };
  const until = async (heard: readonly LockEvent[], last: number): Promise<void> => {
    while (!heard.some(({ n }) => n === last)) await pause(10);
  };
  const sentTo = async (master: LockMaster, member: BareMember): Promise<number> => {
    const { mailboxes } = await master.call(lockspace, { op: "dump" });
    return mailboxes?.find(({ slot }) => slot === member.slot)?.sent ?? 0;
  };
  const numbers = (heard: readonly LockEvent[]): number[] => heard.map(({ n }) => n);
  const upTo = (last: number): number[] => Array.from({ length: last }, (_, at) => at + 1);
  const killReader = async (server: RedisServer): Promise<void> => {
    const list = await server.command("client", "list", "type", "pubsub");
    const id = /^id=(\d+) .* name=mdlm\/array\/n1\/rd /m.exec(list)?.[1];
    if (id !== undefined) await server.command("client", "kill", "id", id).catch(() => {});
  };

  it("misses nothing and changes no order when its connection is killed in a loop", async () => {
    const server = await start();
    const master = await connect(server.url);
    const a = await BareMember.join(master, lockspace, "a");
    const heard = watch(master, a);
    let done = false;
    const killing = (async () => {
      while (!done) await killReader(server);
    })();
    await disturb(await connect(server.url, "n2"), 40);
    const last = await sentTo(master, a);
    done = true;
    await killing;
    await until(heard, last);
    expect(numbers(heard)).toEqual(upTo(last));
    expect(last).toBeGreaterThan(200);
  });

  it("finds out that its connection is half-open, and reads on from where it was", async () => {
    const server = await start();
    const proxy = await TcpProxy.start(server.port);
    cleanup.push(() => proxy.close());
    const direct = await connect(server.url, "n2");
    const a = await BareMember.join(direct, lockspace, "a");
    const heard = watch(await connect(`redis://127.0.0.1:${proxy.port}`), a);
    await disturb(direct, 1);
    const before = await sentTo(direct, a);
    await until(heard, before);
    const open = proxy.connections;
    proxy.hold("request", "reply");
    await disturb(direct, 1);
    while (proxy.connections === open) await pause(20);
    proxy.heal();
    const last = await sentTo(direct, a);
    await until(heard, last);
    expect(numbers(heard)).toEqual(upTo(last));
  });

  it("goes on in a new epoch when it is asked to, and the reader of the old one hears nothing of it", async () => {
    const server = await start();
    const master = await connect(server.url);
    const first = await BareMember.join(master, lockspace, "a");
    const old = watch(master, first);
    await disturb(master, 9);
    await until(old, await sentTo(master, first));
    await server.command("del", "mdlm:{alpha/array}:meta", "mdlm:{alpha/array}:res", mailbox);
    await master.call(lockspace, { op: "format", lsid: "again", epoch: 1 });
    const second = await BareMember.join(master, lockspace, "a");
    const heard = watch(master, second);
    expect(second.header(0).epoch).toBe(2);
    const before = old.length;
    await disturb(master, 3);
    const last = await sentTo(master, second);
    await until(heard, last);
    expect(numbers(heard)).toEqual(upTo(last));
    expect(old.slice(before)).toEqual([]);
  });

  it("gives nobody the mail of who has the slot now", async () => {
    const server = await start();
    const master = await connect(server.url);
    const a = await BareMember.join(master, lockspace, "a");
    const heard = watch(master, a);
    await until(heard, 1);
    await a.call({ op: "leave" });
    const before = heard.length;
    const next = await BareMember.join(master, lockspace, "next");
    expect(next.slot).toBe(a.slot);
    const theirs = watch(master, next);
    await disturb(master, 2);
    await until(theirs, await sentTo(master, next));
    expect(heard.slice(before)).toEqual([]);
  });

  it("is not needed to find out that a mailbox was thrown away: the members report anew", async () => {
    const server = await start();
    const proxy = await TcpProxy.start(server.port);
    cleanup.push(() => proxy.close());
    const a = await joinRecorded(await connect(`redis://127.0.0.1:${proxy.port}`), env, "n1");
    const b = await joinRecorded(await connect(server.url, "n2"), env, "n2");
    const ours = await a.lockspace.open("token", { lvb: false });
    const theirs = await b.lockspace.open("token", { lvb: false });
    await theirs.convert("EX");
    const waiting = ours.convert("EX");
    while ((await b.lockspace.dump()).resources[0]?.converting.length !== 1) await pause(10);
    // The grant is written, nobody has read it, and it is gone.
    proxy.cut();
    await theirs.convert("NL");
    expect(await server.command("del", mailbox)).toBe("1");
    proxy.heal();
    expect((await waiting).status).toBe("granted");
    expect(a.log).toContain("thawed");
    for (const node of [a, b]) await node.lockspace.leave();
  });
});
