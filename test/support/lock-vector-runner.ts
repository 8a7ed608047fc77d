import type {
  CallHeader,
  HeldLock,
  LockEvent,
  LockReply,
  LockspaceId,
  LockspaceSettings,
  MemberCall,
  MemberRecord,
  RecoverCall,
} from "../../src/dlm/lock-call.ts";
import { lockFlag, statusFlag } from "../../src/dlm/lock-flags.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockModes } from "../../src/dlm/lock-mode.ts";
import { lockStatusName } from "../../src/dlm/lock-status.ts";

type Without<T, K extends keyof CallHeader> = T extends MemberCall ? Omit<T, K> : never;
type BareCall = Without<MemberCall, keyof CallHeader>;

const settings: LockspaceSettings = { slots: 8, leaseMs: 1000, lvbSize: 64, fencing: "lease only" };

/** A member that calls by hand: request ids, acknowledgement and events, and nothing else. */
export class BareMember {
  readonly incarnation: string;
  readonly events: LockEvent[] = [];
  slot = 0;
  #epoch = 0;
  #rid = 0;
  #counter = 0;
  #last = 0;
  #seen = 0;
  #members: readonly MemberRecord[] = [];
  #generation = 0;
  readonly node: string;
  readonly #master: LockMaster;
  readonly #lockspace: LockspaceId;

  private constructor(master: LockMaster, lockspace: LockspaceId, node: string) {
    this.#master = master;
    this.#lockspace = lockspace;
    this.node = node;
    this.incarnation = `inc-${node}`;
  }

  static async join(master: LockMaster, lockspace: LockspaceId, node: string, slots = 8): Promise<BareMember> {
    const member = new BareMember(master, lockspace, node);
    await master.call(lockspace, { op: "format", lsid: "test", epoch: 0 });
    const reply = await master.call(lockspace, {
      op: "join",
      node,
      incarnation: member.incarnation,
      ...settings,
      slots,
      gone: [],
    });
    if (reply.rc !== 0) throw new Error(`join: ${lockStatusName(reply.rc)}`);
    member.slot = reply.value;
    member.#epoch = reply.epoch;
    member.#take(reply);
    return member;
  }

  header(rid: number): CallHeader {
    const { slot, incarnation } = this;
    return { slot, incarnation, epoch: this.#epoch, rid, ack: this.#last, seen: this.#seen };
  }

  get lastRid(): number {
    return this.#rid;
  }

  /** `times`: how often the same call is sent. */
  async call(bare: BareCall, times = 1): Promise<LockReply> {
    const idempotent = bare.op === "renew" || bare.op === "poll";
    if (!idempotent) this.#rid += 1;
    if (bare.op === "renew") this.#counter = bare.counter;
    const call = { ...this.header(idempotent ? 0 : this.#rid), ...bare } as MemberCall;
    let reply = await this.#master.call(this.#lockspace, call);
    for (let again = 1; again < times; again++) reply = await this.#master.call(this.#lockspace, call);
    this.#take(reply);
    return reply;
  }

  /** What it would report of itself, with these locks; changed by `other`. */
  report(locks: readonly Partial<HeldLock>[] = [], other: Partial<RecoverCall> = {}): RecoverCall {
    const { slot, incarnation, node } = this;
    const whole = { queue: "g", rq: -1, ex: lockFlag.VALBLK, bast: true, order: 1, lvbSeq: 0, name: "r" } as const;
    return {
      op: "recover",
      slot,
      incarnation,
      node,
      lsid: "test",
      epoch: this.#epoch,
      seen: this.#seen,
      lkid: 100,
      settings,
      generation: this.#generation,
      members: this.#members,
      lastRid: this.#rid,
      counter: this.#counter,
      locks: locks.map((lock, at) => ({ ...whole, lkid: slot * 10 + at, gr: 0, ...lock })),
      ...other,
    };
  }

  /** Reports, and goes on in the new epoch if it is let. */
  async recover(locks: readonly Partial<HeldLock>[] = [], other: Partial<RecoverCall> = {}): Promise<LockReply> {
    const reply = await this.#master.call(this.#lockspace, this.report(locks, other));
    if (reply.rc !== 0) return reply;
    if (reply.epoch !== this.#epoch) this.#last = 0;
    this.#epoch = reply.epoch;
    this.#take(reply);
    return reply;
  }

  #take(reply: LockReply): void {
    if (reply.members !== undefined) {
      this.#members = reply.members;
      this.#generation = reply.generation;
    }
    this.#seen = Math.max(this.#seen, reply.seq);
    for (const event of reply.events) {
      if (event.n <= this.#last) continue;
      if (event.n !== this.#last + 1) throw new Error(`gap: ${event.n} after ${this.#last}`);
      this.#last = event.n;
      this.events.push(event);
    }
  }
}

interface NamedLock {
  readonly member: BareMember;
  readonly resource: string;
  readonly lkid: number;
  buffer: string;
}

const parseFlags = (text: string): number =>
  text
    .split("|")
    .filter((name) => name !== "" && name !== "0" && name !== "NOBAST")
    .reduce((flags, name) => flags | (lockFlag[name as keyof typeof lockFlag] ?? 0), 0);

/** Runs one step of a vector after the other; what it writes down must be equal to the vector. */
export class VectorRunner {
  readonly #master: LockMaster;
  readonly #lockspace: LockspaceId;
  readonly #members = new Map<string, BareMember>();
  readonly #locks = new Map<string, NamedLock>();

  constructor(master: LockMaster, lockspace: LockspaceId) {
    this.#master = master;
    this.#lockspace = lockspace;
  }

  /** `step` as in the vector; returns it with what really happened after the arrow. */
  async run(step: string): Promise<string> {
    const command = step.split(" -> ")[0] ?? "";
    const rc = await this.#execute(command);
    if (rc !== 0) return `${command} -> ${lockStatusName(rc)}!`;
    return `${command} -> ${(await this.#collect()).join(", ") || "."}`;
  }

  async #member(node: string): Promise<BareMember> {
    const known = this.#members.get(node);
    if (known !== undefined) return known;
    const member = await BareMember.join(this.#master, this.#lockspace, node);
    this.#members.set(node, member);
    return member;
  }

  async #execute(command: string): Promise<number> {
    const value = /=(\S+)$/.exec(command)?.[1];
    const words = command.replace(/ =\S+$/, "").split(" ");
    const named = /^(\w+)=lock$/.exec(words[0] ?? "")?.[1];
    if (named !== undefined) return this.#lock(named, words, value ?? "");
    const [verb, target = "", ...rest] = words;
    if (verb === "purge") return this.#purge(target);
    const lock = this.#locks.get(target) ?? {
      member: await this.#member("Z"),
      resource: "r",
      lkid: 999,
      buffer: "",
    };
    lock.buffer = value ?? lock.buffer;
    const where = { name: lock.resource, lkid: lock.lkid };
    if (verb === "conv") {
      const [mode = "", flags = ""] = rest;
      const asked = { mode: lockModes.indexOf(mode as "NL"), flags: parseFlags(flags), lvb: lock.buffer };
      return (await lock.member.call({ op: "convert", ...where, ...asked })).rc;
    }
    const flags = verb === "cancel" ? lockFlag.CANCEL : parseFlags(rest[0] ?? "");
    return (await lock.member.call({ op: "unlock", ...where, flags, lvb: lock.buffer })).rc;
  }

  async #lock(id: string, [, node = "", resource = "", mode = "", flags = ""]: string[], buffer: string) {
    const member = await this.#member(node);
    const reply = await member.call({
      op: "lock",
      name: resource,
      mode: lockModes.indexOf(mode as "NL"),
      flags: parseFlags(flags),
      bast: !flags.includes("NOBAST"),
      lvb: buffer,
    });
    if (reply.rc === 0) this.#locks.set(id, { member, resource, lkid: reply.value, buffer });
    return reply.rc;
  }

  async #purge(node: string): Promise<number> {
    const victim = this.#members.get(node);
    if (victim === undefined) throw new Error(`${node} is no member`);
    this.#members.delete(node);
    const judge = await this.#member("Judge");
    const { slot, incarnation } = victim;
    return (await judge.call({ op: "evict", victim: { slot, incarnation, counter: 0 }, evidence: "lease" })).rc;
  }

  /** All events since the last time, of all members, in the order in which they came to be. */
  async #collect(): Promise<string[]> {
    const fresh: LockEvent[] = [];
    for (const member of this.#members.values()) {
      await member.call({ op: "poll" });
      fresh.push(...member.events.splice(0));
    }
    return fresh.sort((a, b) => a.seq - b.seq).flatMap((event) => this.#describe(event) ?? []);
  }

  #describe(event: LockEvent): string | null {
    if (event.type !== "cast" && event.type !== "bast") return null;
    const [id, lock] = [...this.#locks].find(([, { lkid }]) => lkid === event.lkid) ?? [];
    if (lock === undefined) throw new Error(`event for an unknown lock: ${JSON.stringify(event)}`);
    const mode = lockModes[event.mode];
    if (event.type === "bast") return `${id}:bast(${mode})`;
    if (event.lvb !== undefined) lock.buffer = event.lvb;
    const flags = Object.entries(statusFlag).filter(([, bit]) => event.flags & bit);
    const suffix = flags.map(([name]) => `+${name}`).join("");
    const read = event.lvb === undefined ? "" : ` lvb=${event.lvb || "''"}`;
    return `${id}:${lockStatusName(event.status)}${mode === undefined ? "" : `(${mode})`}${suffix}${read}`;
  }
}
