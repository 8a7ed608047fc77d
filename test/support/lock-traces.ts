import type {
  HeldLock,
  JoinCall,
  LockCall,
  LockRecord,
  LockReply,
  MemberRecord,
  RecoverCall,
} from "../../src/dlm/lock-call.ts";
import { lockFlag } from "../../src/dlm/lock-flags.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { LockTable } from "../../src/dlm/lock-table.ts";
import { SeededRandom } from "./seeded-random.ts";

/** What happens to a lock server: a call; or it goes back to what it was after its first `keep` calls (0: to nothing). */
export type TraceStep = { readonly call: LockCall } | { readonly keep: number };

const flagValues = [...Object.values(lockFlag), 0x80];
const resources = ["r", "bitmap0001"];
const settings = { slots: 4, leaseMs: 1000, lvbSize: 64, fencing: "lease only" } as const;

interface Node {
  readonly name: string;
  incarnation: string;
  slot: number;
  epoch: number;
  rid: number;
  ack: number;
  /** Locks that it was told of; some of them are gone. */
  locks: { readonly lkid: number; readonly name: string }[];
  last: LockCall | null;
  /** What the last reply said: it was evicted; the server has lost something, or has not got it back yet. */
  trouble: "none" | "evicted" | "lost";
}

const lost: readonly number[] = [
  lockStatus.ENOLS,
  lockStatus.EEPOCH,
  lockStatus.ELOST,
  lockStatus.ERECOVER,
  lockStatus.ECONFLICT,
];

/** The lock table, with the calls that made it: it can go back. */
export class ReplayedTable {
  #table = new LockTable();
  #calls: LockCall[] = [];

  apply(step: TraceStep): LockReply | null {
    if ("call" in step) {
      this.#calls.push(step.call);
      return this.#table.apply(step.call);
    }
    this.#calls = this.#calls.slice(0, step.keep);
    this.#table = new LockTable();
    for (const call of this.#calls) this.#table.apply(call);
    return null;
  }

  /** A call that changes nothing. */
  look(call: LockCall): LockReply {
    return this.#table.apply(call);
  }

  /** The calls that are left after a step back. */
  get calls(): readonly LockCall[] {
    return this.#calls;
  }
}

/** A stream of calls that one client alone could not make: crossed, repeated, mutilated, of members long gone. */
export class TraceGenerator {
  readonly #random: SeededRandom;
  readonly #nodes: Node[];
  readonly #table = new ReplayedTable();
  readonly #trace: TraceStep[] = [];
  /** The highest that anybody has seen, as clients know it. */
  #seen = 0;
  #members: readonly MemberRecord[] = [];
  #generation = 0;
  /** What each slot held when the server last went back. */
  #held: readonly HeldLock[][] = [];
  /** The fencing that was begun last. */
  #fence = { slot: 0, incarnation: "none", token: 7 };
  #step = 0;
  #incarnations = 0;
  #counter = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#nodes = ["a", "b", "c", "d", "e"].map((name) => ({
      name,
      incarnation: "none",
      slot: 0,
      epoch: 1,
      rid: 0,
      ack: 0,
      locks: [],
      last: null,
      trouble: "none",
    }));
    this.#add({ call: { op: "format", lsid: "x", epoch: 0 } });
  }

  /** The trace of `steps` steps after the creation of the lockspace. */
  generate(steps: number): readonly TraceStep[] {
    for (let step = 0; step < steps; step++) this.#next();
    return this.#trace;
  }

  #add(step: TraceStep): LockReply | null {
    this.#trace.push(step);
    return this.#table.apply(step);
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.#random.below(items.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  #chance(probability: number): boolean {
    return this.#random.next() < probability;
  }

  #next(): void {
    this.#step += 1;
    const { calls } = this.#table;
    if (this.#step > 10 && this.#chance(0.01)) {
      this.#remember();
      this.#add({ keep: this.#chance(0.4) ? 0 : Math.max(1, calls.length - this.#random.below(30)) });
      return;
    }
    const node = this.#step <= 5 ? (this.#nodes[this.#step - 1] as Node) : this.#pick(this.#nodes);
    const call = this.#call(node);
    const reply = this.#add({ call });
    if (reply !== null) this.#learn(node, call, reply);
  }

  #call(node: Node): LockCall {
    const roll = this.#random.next();
    if (node.last !== null && roll < 0.1) return node.last;
    const { trouble } = node;
    if (node.slot === 0 || roll < 0.12 || (trouble === "evicted" && roll < 0.7)) return this.#join(node);
    if (roll < 0.13 || (trouble === "lost" && roll < 0.7)) return this.#recover(node);
    if (roll < 0.16) return { op: "hello" };
    const call = this.#memberCall(node);
    node.last = call;
    return call;
  }

  #join(node: Node): JoinCall {
    this.#incarnations += 1;
    const { slot, incarnation } = this.#pick(this.#nodes);
    const gone = this.#chance(0.5) ? [{ slot, incarnation, counter: this.#random.below(this.#counter + 1) }] : [];
    const wrong = this.#random.next();
    const join = {
      op: "join",
      node: node.name,
      incarnation: `i${this.#incarnations}`,
      ...settings,
      leaseMs: wrong < 0.05 ? 2000 : 1000,
      fencing: wrong > 0.95 ? "agent" : settings.fencing,
      gone,
      ...(this.#chance(0.1) ? { limit: 1 + this.#random.below(4) } : {}),
    } as const;
    return this.#chance(0.5) ? { ...join, process: { host: 'h"|\n', pid: 7, started: "1" } } : join;
  }

  #remember(): void {
    const dump = this.#table.look({ op: "dump" });
    const held = [1, 2, 3, 4].map((slot) =>
      (dump.resources ?? []).flatMap(({ name, locks, lvb }) =>
        locks.filter((lock) => lock.slot === slot).map((lock) => heldLock(name, lock, lvb)),
      ),
    );
    if (held.some((locks) => locks.length > 0)) this.#held = held;
  }

  /** Mostly what is true; sometimes a member is wrong, lies, or knows only an older list. */
  #recover(node: Node): RecoverCall {
    const { name, slot, incarnation, epoch, rid } = node;
    const truth = (this.#held[slot - 1] ?? []).filter(() => this.#chance(0.9));
    const locks = truth.map((lock) => {
      const wrong = { queue: "g", gr: this.#random.below(6), rq: -1 } as const;
      return this.#chance(0.1) ? { ...lock, ...wrong } : lock;
    });
    const older = this.#chance(0.15);
    const itself = { slot, incarnation, node: name, counter: this.#counter, state: "active" } as const;
    const list = this.#members.length > 0 ? this.#members : [itself];
    const call = {
      op: "recover",
      slot,
      incarnation,
      node: name,
      lsid: this.#chance(0.02) ? "y" : "x",
      epoch: this.#chance(0.05) ? epoch + 1 : epoch,
      seen: this.#chance(0.5) ? this.#seen : Math.max(0, this.#seen - this.#random.below(50)),
      lkid: this.#seen,
      settings: this.#chance(0.02) ? { ...settings, slots: 5 } : settings,
      generation: older ? Math.max(0, this.#generation - 1) : this.#generation,
      members: older ? list.filter(() => this.#chance(0.7)) : list,
      lastRid: rid,
      counter: this.#chance(0.9) ? this.#counter : this.#random.below(this.#counter + 1),
      locks,
    } as const;
    return this.#chance(0.02) ? { ...call, server: "another" } : call;
  }

  #flags(): number {
    const roll = this.#random.next();
    let flags = this.#chance(0.5) ? lockFlag.VALBLK : 0;
    if (roll < 0.45) flags |= this.#pick(flagValues);
    if (roll < 0.1) flags |= this.#pick(flagValues);
    return flags;
  }

  #memberCall(node: Node): LockCall {
    const roll = this.#random.next();
    const wrong = this.#random.next();
    const rid = wrong < 0.02 ? node.rid + 2 : wrong < 0.04 ? Math.max(0, node.rid - 3) : node.rid + 1;
    const seen = wrong > 0.98 && wrong < 0.985 ? this.#seen + 1000 : this.#seen;
    const { slot, incarnation } = node;
    const header = { slot, incarnation, epoch: wrong > 0.99 ? 99 : node.epoch, rid, ack: node.ack, seen };
    if (roll < 0.05) {
      this.#counter += this.#random.below(2);
      const knows = this.#chance(0.5) ? { generation: this.#random.below(12) } : {};
      return { op: "renew", ...header, rid: 0, counter: this.#counter, ...knows };
    }
    if (roll < 0.08) return { op: "poll", ...header, rid: 0 };
    if (roll < 0.1) return { op: "leave", ...header };
    if (roll < 0.18) return this.#judge({ ...header, rid: this.#chance(0.7) ? 0 : rid });
    const lvb = this.#chance(0.85) ? { lvb: `v${this.#step}` } : {};
    const mode = this.#random.below(this.#chance(0.02) ? 7 : 6);
    const lock = node.locks.length === 0 ? { lkid: 99, name: "r" } : this.#pick(node.locks);
    if (roll < 0.35 || (node.locks.length === 0 && roll < 0.8)) {
      const name = this.#chance(0.02) ? "é" : this.#pick(resources);
      const expedite = mode === 0 && this.#chance(0.5) ? lockFlag.EXPEDITE : 0;
      return { op: "lock", ...header, name, mode, flags: this.#flags() | expedite, bast: this.#chance(0.8), ...lvb };
    }
    if (roll < 0.7) return { op: "convert", ...header, ...lock, mode, flags: this.#flags(), ...lvb };
    if (roll < 0.82) {
      const count = this.#chance(0.02) ? this.#pick([0, 33]) : 1 + this.#random.below(4);
      const steps = Array.from({ length: count }, () => {
        const { lkid, name } = node.locks.length === 0 ? lock : this.#pick(node.locks);
        return { lkid, name, mode: this.#random.below(6), flags: this.#flags(), ...lvb };
      });
      return { op: "batch", ...header, steps };
    }
    const flags = this.#pick([0, lockFlag.CANCEL, lockFlag.FORCEUNLOCK, lockFlag.IVVALBLK, this.#flags()]);
    return { op: "unlock", ...header, ...lock, flags, ...lvb };
  }

  /** Something is done about another member, or said about it. */
  #judge(header: Omit<Extract<LockCall, { op: "poll" }>, "op">): LockCall {
    const { slot, incarnation } = this.#pick(this.#nodes);
    const record = this.#members.find((member) => member.incarnation === incarnation);
    const counter = this.#chance(0.7) ? (record?.counter ?? 0) : this.#random.below(this.#counter + 1);
    const victim = { slot, incarnation, counter };
    const roll = this.#random.next();
    const begun = this.#fence;
    const token = this.#chance(0.8) ? begun.token : 8;
    if (roll < 0.4) {
      const evidence = this.#chance(0.5) ? "lease" : this.#pick(["process", "operator"] as const);
      return { op: "evict", ...header, victim, evidence };
    }
    if (roll < 0.7) {
      const takesOver = this.#chance(0.3) ? { takesOver: token } : {};
      const same = { slot: begun.slot, incarnation: begun.incarnation, counter };
      return { op: "fence_begin", ...header, victim: this.#chance(0.5) ? victim : same, ...takesOver };
    }
    const { slot: place, incarnation: who } = this.#chance(0.8) ? begun : victim;
    const named = { slot: place, incarnation: who };
    return { op: "fence_result", ...header, victim: named, token, ok: this.#chance(0.6), evidence: "status off" };
  }

  /** What the caller learns from the reply. */
  #learn(node: Node, call: LockCall, reply: LockReply): void {
    this.#seen = Math.max(this.#seen, reply.seq);
    if (reply.members !== undefined && (reply.rc === lockStatus.OK || this.#chance(0.2))) {
      this.#members = reply.members;
      this.#generation = reply.generation;
    }
    if (call.op === "join" && reply.rc === lockStatus.OK) {
      const { incarnation } = call;
      const { epoch, value: slot } = reply;
      Object.assign(node, { incarnation, slot, epoch, rid: 0, ack: 0, locks: [], last: call });
    }
    if (call.op === "recover" && reply.rc === lockStatus.OK && reply.epoch !== node.epoch) {
      Object.assign(node, { epoch: reply.epoch, ack: 0, rid: call.lastRid, last: call });
    }
    if (call.op === "fence_begin" && reply.rc === lockStatus.OK) {
      this.#fence = { ...call.victim, token: reply.value };
    }
    if (call.op !== "hello") {
      const isLost = lost.includes(reply.rc);
      node.trouble = isLost ? "lost" : reply.rc === lockStatus.EFENCED ? "evicted" : "none";
    }
    const sound = reply.rc > lockStatus.ENOLS;
    if ("rid" in call && sound && call.rid === node.rid + 1) node.rid = call.rid;
    if (this.#chance(0.6)) node.ack = Math.max(node.ack, reply.events.at(-1)?.n ?? 0);
    if (call.op === "lock" && reply.rc === lockStatus.OK && !node.locks.some(({ lkid }) => lkid === reply.value)) {
      node.locks.push({ lkid: reply.value, name: call.name });
    }
  }
}

const heldLock = (
  name: string,
  { lkid, queue, gr, rq, ex, bast, lvbSeq }: LockRecord,
  lvb: string | undefined,
): HeldLock => {
  const held = { lkid, name, queue, gr, rq, ex, bast, order: lkid, lvbSeq };
  return lvb === undefined || (lkid & 1) === 0 ? held : { ...held, lvbSeq: lvbSeq + (lkid % 5), lvb: `${lvb}${lkid}` };
};
