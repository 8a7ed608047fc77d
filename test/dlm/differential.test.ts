import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JoinCall, LockCall, LockReply, LockspaceId } from "../../src/dlm/lock-call.ts";
import { lockFlag } from "../../src/dlm/lock-flags.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockModes, modesCompatible } from "../../src/dlm/lock-mode.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { SeededRandom } from "../support/seeded-random.ts";

const SEEDS = Number(process.env["MDCTL_SEEDS"] ?? 50);
const STEPS = 80;
const flagValues = [...Object.values(lockFlag), 0x80];
const resources = ["r", "bitmap0001"];

interface Node {
  readonly name: string;
  incarnation: string;
  slot: number;
  rid: number;
  ack: number;
  /** Locks that it was told of; some of them are gone. */
  locks: { readonly lkid: number; readonly name: string }[];
  last: LockCall | null;
}

/** A stream of calls that one client alone could not make: crossed, repeated, mutilated, of members long gone. */
class CallGenerator {
  readonly #random: SeededRandom;
  readonly #nodes: Node[];
  #epoch = 1;
  #seen = 0;
  #step = 0;
  #incarnations = 0;
  #counter = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#nodes = ["a", "b", "c", "d"].map((name) => ({
      name,
      incarnation: "none",
      slot: 0,
      rid: 0,
      ack: 0,
      locks: [],
      last: null,
    }));
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.#random.below(items.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  #flags(): number {
    const roll = this.#random.next();
    let flags = this.#random.next() < 0.5 ? lockFlag.VALBLK : 0;
    if (roll < 0.45) flags |= this.#pick(flagValues);
    if (roll < 0.1) flags |= this.#pick(flagValues);
    return flags;
  }

  next(): { readonly call: LockCall; readonly node: Node } {
    this.#step += 1;
    const node = this.#step <= 4 ? (this.#nodes[this.#step - 1] as Node) : this.#pick(this.#nodes);
    const roll = this.#random.next();
    if (node.last !== null && roll < 0.1) return { call: node.last, node };
    if (node.slot === 0 || roll < 0.12) return { call: this.#join(node), node };
    const call = this.#memberCall(node);
    node.last = call;
    return { call, node };
  }

  #join(node: Node): JoinCall {
    this.#incarnations += 1;
    const other = this.#pick(this.#nodes);
    const { slot, incarnation } = other;
    const gone = this.#random.next() < 0.5 ? [{ slot, incarnation, counter: this.#counter }] : [];
    const leaseMs = this.#random.next() < 0.1 ? 2000 : 1000;
    const join = { op: "join", node: node.name, slots: 4, leaseMs, lvbSize: 64, fencing: "lease only", gone } as const;
    const process = { host: 'h"|\n', pid: 7, started: "1" };
    return { ...join, incarnation: `i${this.#incarnations}`, ...(this.#random.next() < 0.5 ? { process } : {}) };
  }

  #memberCall(node: Node): LockCall {
    const roll = this.#random.next();
    const { slot, incarnation } = node;
    const wrong = this.#random.next();
    const rid = wrong < 0.02 ? node.rid + 2 : wrong < 0.04 ? Math.max(0, node.rid - 3) : node.rid + 1;
    const epoch = wrong > 0.99 ? 9 : this.#epoch;
    const seen = wrong > 0.98 && wrong < 0.985 ? this.#seen + 1000 : this.#seen;
    const header = { slot, incarnation, epoch, rid, ack: node.ack, seen };
    if (roll < 0.05) {
      this.#counter += this.#random.below(2);
      return { op: "renew", ...header, rid: 0, counter: this.#counter };
    }
    if (roll < 0.08) return { op: "poll", ...header, rid: 0 };
    if (roll < 0.1) return { op: "leave", ...header };
    if (roll < 0.14) {
      const { slot: place, incarnation: who } = this.#pick(this.#nodes);
      const counter = this.#random.below(this.#counter + 1);
      return { op: "evict", ...header, rid: 0, victim: { slot: place, incarnation: who, counter }, evidence: "lease" };
    }
    const lvb = this.#random.next() < 0.85 ? { lvb: `v${this.#step}` } : {};
    const mode = this.#random.below(this.#random.next() < 0.02 ? 7 : 6);
    const lock = node.locks.length === 0 ? { lkid: 99, name: "r" } : this.#pick(node.locks);
    if (roll < 0.35 || (node.locks.length === 0 && roll < 0.8)) {
      const name = this.#random.next() < 0.02 ? "é" : this.#pick(resources);
      const expedite = mode === 0 && this.#random.next() < 0.5 ? lockFlag.EXPEDITE : 0;
      const bast = this.#random.next() < 0.8;
      return { op: "lock", ...header, name, mode, flags: this.#flags() | expedite, bast, ...lvb };
    }
    if (roll < 0.8) return { op: "convert", ...header, ...lock, mode, flags: this.#flags(), ...lvb };
    const flags = this.#pick([0, lockFlag.CANCEL, lockFlag.FORCEUNLOCK, lockFlag.IVVALBLK, this.#flags()]);
    return { op: "unlock", ...header, ...lock, flags, ...lvb };
  }

  /** What the caller learns from the reply. */
  learn(node: Node, call: LockCall, reply: LockReply): void {
    this.#epoch = Math.max(this.#epoch, reply.epoch);
    this.#seen = Math.max(this.#seen, reply.seq);
    if (call.op === "join" && reply.rc === lockStatus.OK) {
      Object.assign(node, { incarnation: call.incarnation, slot: reply.value, rid: 0, ack: 0, locks: [], last: call });
    }
    const sound = reply.rc > lockStatus.ENOLS;
    if ("rid" in call && sound && call.rid === node.rid + 1) node.rid = call.rid;
    if (this.#random.next() < 0.6) node.ack = Math.max(node.ack, reply.events.at(-1)?.n ?? 0);
    if (call.op === "lock" && reply.rc === lockStatus.OK && !node.locks.some(({ lkid }) => lkid === reply.value)) {
      node.locks.push({ lkid: reply.value, name: call.name });
    }
  }
}

/** Whoever holds something (also while converting) is compatible with every other holder. */
function checkGranted(dump: LockReply): void {
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

describe("the Lua library against the lock table", () => {
  let server: RedisServer;
  let redis: LockMaster;
  beforeAll(async () => {
    server = await startRedis();
    redis = await connectRedisMaster({ url: server.url, node: "test", env: realEnv(silentLogger) });
  });
  afterAll(async () => {
    await redis.close();
    await server.stop();
  });

  it(`answers alike and holds the same state, ${SEEDS} seeds of ${STEPS} calls`, { timeout: 600_000 }, async () => {
    const codes = new Set<number>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      const memory = new MemoryLockMaster();
      const lockspace: LockspaceId = { cluster: "alpha", name: `seed${seed}` };
      const both = async (call: LockCall): Promise<[LockReply, LockReply]> =>
        Promise.all([memory.call(lockspace, call), redis.call(lockspace, call)]);
      await both({ op: "format", lsid: "x", epoch: 0 });
      const generator = new CallGenerator(seed);
      for (let step = 1; step <= STEPS; step++) {
        const { call, node } = generator.next();
        const [expected, actual] = await both(call);
        const at = `seed ${seed} step ${step} ${JSON.stringify(call)}`;
        expect(actual, at).toEqual(expected);
        const [state, stored] = await both({ op: "dump" });
        expect(stored, at).toEqual(state);
        checkGranted(state);
        generator.learn(node, call, expected);
        codes.add(expected.rc);
      }
    }
    // The calls reach what they are meant to reach.
    const { OK, ENOENT, EBUSY, EINVAL, EPROTO, EEPOCH, ELOST, EFENCED, EGAP, EALIVE } = lockStatus;
    for (const code of [OK, ENOENT, EBUSY, EINVAL, EPROTO, EEPOCH, ELOST, EFENCED, EGAP, EALIVE]) {
      expect([...codes]).toContain(code);
    }
  });
});
