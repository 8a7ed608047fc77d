import { assert } from "../base/assert.ts";
import { deferred } from "../base/deferred.ts";
import { MdError } from "../base/md-error.ts";
import { type SlotNumber, slotNumber } from "../base/units.ts";
import { sleep, type Timer } from "../env/clock.ts";
import { convertAll } from "./convert-all.ts";
import { EventInbox } from "./event-inbox.ts";
import { frozenState, frozenText } from "./frozen-state.ts";
import { HoldTrace } from "./hold-trace.ts";
import type { JoinOptions } from "./join-options.ts";
import { distrustAfter, lookEvery, stopAfter } from "./lease.ts";
import { LeaseKeeper, type RenewalTime } from "./lease-keeper.ts";
import type { LockEvent, LockReply } from "./lock-call.ts";
import { lockFlag } from "./lock-flags.ts";
import { LockHandle } from "./lock-handle.ts";
import type { Subscription } from "./lock-master.ts";
import { lockModes } from "./lock-mode.ts";
import { lockStatus, lockStatusName } from "./lock-status.ts";
import {
  type ConvertStep,
  type Frozen,
  type Grant,
  type Lock,
  type Lockspace,
  type LockspaceDump,
  type LockspaceMember,
  MOST_SLOTS,
  type OpenOptions,
} from "./lockspace.ts";
import { lockspaceDump } from "./lockspace-dump.ts";
import { type Joined, LockspaceJoin, settingsOf } from "./lockspace-join.ts";
import { type LockspaceStatus, MemberSightings } from "./lockspace-status.ts";
import { MemberList } from "./member-list.ts";
import { MemberRemoval } from "./member-removal.ts";
import { MemberSession } from "./member-session.ts";
import { Remastering, type ReportHead } from "./remastering.ts";
import { untilRenewal } from "./renewal-pace.ts";
import { SeqTimes } from "./seq-times.ts";
import { withTimeout } from "./with-timeout.ts";

type Cast = Extract<LockEvent, { readonly type: "cast" }>;

const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/**
 * Becomes a member of a lockspace, creating it if need be. A former life of this node (same name) is evicted first,
 * which takes a lease unless its end can be proved. No callback is made before it resolves.
 * Rejects with E_LOCK_SERVICE_LOST (no answer for a lease), E_NODES_FULL, E_NODE_ALIVE (the node name is in use),
 * E_PROTOCOL_VERSION (lease length or version differ from the other members'), E_CANCELLED, E_VALUE.
 */
export async function joinLockspace(options: JoinOptions): Promise<Lockspace> {
  for (const name of [options.name, options.cluster]) {
    if (!NAME.test(name)) {
      const hint = "use 1 to 64 letters, digits, dots, underscores and dashes";
      throw new MdError("E_VALUE", `${JSON.stringify(name)} cannot name a cluster or lockspace`, { hint });
    }
  }
  assert(
    options.slots >= 1 && options.slots <= MOST_SLOTS,
    `a lockspace has 1 to ${MOST_SLOTS} slots, not ${options.slots}`,
  );
  const trace = new HoldTrace(options.env, options.name);
  const joined = await new LockspaceJoin(options).run();
  const client = new LockspaceClient({ ...options, leaseSink: trace.lease(options.leaseSink) }, joined, trace);
  await client.start();
  return client;
}

class LockspaceClient implements Lockspace {
  readonly name: string;
  readonly slot: SlotNumber;
  readonly #options: JoinOptions;
  readonly #joined: Joined;
  readonly #trace: HoldTrace;
  readonly #inbox = new EventInbox((event) => this.#handle(event));
  readonly #session: MemberSession;
  readonly #remastering: Remastering;
  readonly #removal: MemberRemoval;
  readonly #sightings: MemberSightings;
  readonly #keeper: LeaseKeeper;
  readonly #seqTimes = new SeqTimes();
  readonly #locks = new Map<number, LockHandle>();
  /** By lock id: grants that overtook the reply to the call that asked for them. */
  readonly #unclaimed = new Map<number, Cast>();
  readonly #list: MemberList;
  #members: readonly LockspaceMember[] = [];
  #generation: number;
  #counter = 0;
  /** The highest lock id seen. */
  #lkid = 0;
  /** Do all members have us on their lists? Before, they would rebuild a lost lockspace without us. */
  #isKnown = false;
  #leaving = false;
  #started = false;
  readonly #firstRenewal = deferred<true>();
  #reconnected: Subscription | null = null;
  #timer: Timer | null = null;
  #frozen: Frozen | null = null;
  #end: MdError | null = null;

  constructor(options: JoinOptions, joined: Joined, trace: HoldTrace) {
    const { master, lease, env, name, listener } = options;
    const { lockspace, incarnation, reply } = joined;
    this.#options = options;
    this.#trace = trace;
    this.#joined = joined;
    this.name = name;
    this.slot = slotNumber(reply.value - 1);
    this.#generation = reply.generation;
    this.#list = new MemberList(reply.generation, reply.members ?? []);
    this.#members = (reply.members ?? []).map(toMember);
    this.#keeper = new LeaseKeeper({
      lease,
      env,
      lockspace: name,
      sink: options.leaseSink,
      onReachable: (reachable) => listener.serverReachable?.(reachable),
      onLost: () => this.#removal.giveUp(),
    });
    this.#session = new MemberSession({
      master,
      lockspace,
      slot: reply.value,
      incarnation,
      epoch: reply.epoch,
      seen: reply.seq,
      lease,
      env,
      inbox: this.#inbox,
      seqTimes: this.#seqTimes,
      onRequest: (call) => trace.asked(call),
      onAnswer: (answer) => this.#remastering.answered(answer),
      onNotified: () => this.#remastering.notified(),
      onLost: (reason) => this.#lost(reason),
    });
    const session = this.#session;
    this.#removal = new MemberRemoval({
      ...options,
      session,
      own: incarnation,
      generation: () => this.#generation,
      renew: () => void this.#renew(),
    });
    this.#sightings = new MemberSightings(this.#removal.watch);
    this.#remastering = new Remastering({
      session,
      inbox: this.#inbox,
      locks: this.#locks,
      lease,
      env,
      renewedAt: () => this.#keeper.renewedAt,
      head: () => this.#reportHead(),
      onEntered: () => {
        // Of requests whose answer was lost: they are repeated and make other locks.
        this.#unclaimed.clear();
        this.#removal.restart();
        void this.#renew();
      },
      onChange: () => this.#showFrozen(),
      onEnd: (reason) => this.#lost(reason),
    });
  }

  get incarnation(): string {
    return this.#joined.incarnation;
  }

  get generation(): number {
    return this.#generation;
  }

  get members(): readonly LockspaceMember[] {
    return this.#members;
  }

  get frozen(): Frozen | null {
    return this.#frozen;
  }

  /** Resolves when there is a lease to write under, and all others know of us. */
  async start(): Promise<void> {
    const { env, lease, master } = this.#options;
    this.#inbox.take(this.#joined.reply.events);
    this.#reconnected = master.onReachable((reachable) => {
      if (!reachable) return;
      this.#remastering.hurry();
      void this.#renew();
    });
    this.#tick();
    if ((await withTimeout(env.clock, lease.leaseMs, this.#firstRenewal.promise)) === null) {
      this.#stop(new MdError("E_LOCK_SERVICE_LOST", `the lock server ${master.about} stopped answering`));
    }
    await this.#untilKnown();
    if (this.#end !== null) throw this.#end;
    this.#started = true;
    env.clock.after(0, () => this.#inbox.start());
  }

  /** A member that does not hear of us is found dead in the end. */
  async #untilKnown(): Promise<void> {
    const { env, lease, master, signal } = this.#options;
    while (this.#end === null && !this.#isKnown) {
      if (signal?.aborted) {
        await this.leave();
        throw new MdError("E_CANCELLED", `joining lockspace ${this.name} was cancelled`);
      }
      if (env.clock.now() - this.#keeper.renewedAt >= lease.leaseMs) {
        this.#stop(new MdError("E_LOCK_SERVICE_LOST", `the lock server ${master.about} stopped answering`));
      }
      await sleep(env.clock, lookEvery(lease), signal);
      await this.#renew();
    }
  }

  async open(resource: string, options: OpenOptions): Promise<Lock> {
    const flags = lockFlag.EXPEDITE | (options.lvb ? lockFlag.VALBLK : 0);
    const bast = options.onBast !== undefined;
    const call = { op: "lock", name: resource, mode: 0, flags, bast } as const;
    // Registered before the events that come with the reply are handled. The grant may have come before the reply.
    const register = (reply: LockReply): void => {
      const { rc, value } = reply;
      if (rc !== lockStatus.OK) return;
      const handle = new LockHandle(resource, reply, this.#session, options);
      this.#lkid = Math.max(this.#lkid, value);
      this.#locks.set(value, handle);
      const grant = this.#unclaimed.get(value);
      this.#unclaimed.delete(value);
      if (grant !== undefined) void handle.onCast(grant);
    };
    const { rc, value } = await this.#session.request(options.lvb ? { ...call, lvb: "" } : call, register);
    if (rc !== lockStatus.OK) {
      throw new MdError("E_VALUE", `cannot open lock ${JSON.stringify(resource)}: ${lockStatusName(rc)}`);
    }
    const handle = this.#locks.get(value);
    if (handle !== undefined) return handle.opened;
    throw this.#end ?? new MdError("E_INTERNAL", `lock ${resource} was closed while it was opened`);
  }

  convertAll(steps: readonly ConvertStep[], signal?: AbortSignal): Promise<readonly Grant[]> {
    return convertAll(this.#session, steps, signal);
  }

  async dump(): Promise<LockspaceDump> {
    const { master, env, lease } = this.#options;
    const asked = master.call(this.#joined.lockspace, { op: "dump" });
    const reply = await withTimeout(env.clock, lease.leaseMs, asked);
    if (reply?.rc !== lockStatus.OK) {
      const what = reply === null ? "does not answer" : `cannot tell of ${this.name}: ${lockStatusName(reply.rc)}`;
      throw new MdError("E_LOCK_SERVICE_LOST", `the lock server ${master.about} ${what}`);
    }
    this.#seqTimes.note(reply.seq, env.clock.now());
    return lockspaceDump(this.name, reply, (seq) => this.#seqTimes.at(seq));
  }

  status(): LockspaceStatus {
    const { lease, node } = this.#options;
    const { renewedAt, roundTripMs } = this.#keeper;
    const own = { node, incarnation: this.#joined.incarnation };
    return {
      epoch: this.#session.epoch,
      generation: this.#generation,
      leaseMs: lease.leaseMs,
      renewedAt,
      roundTripMs,
      writeUntil: renewedAt + stopAfter(lease),
      readUntil: renewedAt + distrustAfter(lease),
      members: this.#members.map((member) => this.#sightings.statusOf(member, own)),
    };
  }

  async evict(member: LockspaceMember): Promise<void> {
    const { master } = this.#options;
    const record = this.#sightings.recordOf(member);
    if (record === null) return;
    const { slot, incarnation, counter } = record;
    const victim = { slot, incarnation, counter };
    const reply = await this.#session.once({ op: "evict", victim, evidence: "operator" });
    if (reply?.rc === lockStatus.OK) return;
    const what = reply === null ? "does not answer" : `refuses to evict ${member.node}: ${lockStatusName(reply.rc)}`;
    throw new MdError("E_LOCK_SERVICE_LOST", `the lock server ${master.about} ${what}`);
  }

  async leave(): Promise<void> {
    if (this.#end !== null) return;
    const { env, lease } = this.#options;
    // From here on nothing may be written; renewals go on until the slot is given back.
    this.#keeper.end();
    this.#leaving = true;
    const asked = this.#session.request({ op: "leave" }).catch((error: unknown) => {
      if (!(error instanceof MdError)) throw error;
    });
    await withTimeout(env.clock, lease.leaseMs, asked);
    this.#stop(new MdError("E_NOT_JOINED", `lockspace ${this.name} was left`));
  }

  abandon(): void {
    this.#stop(new MdError("E_NOT_JOINED", `lockspace ${this.name} was given up`));
  }

  /** Renews, and looks after the others: every tenth of a lease unless told otherwise, and when one of them must be dead. */
  #tick(): void {
    if (this.#end !== null) return;
    const { env, lease } = this.#options;
    const regular = untilRenewal(lease, this.slot, env.clock.wall());
    const pause = Math.min(regular, this.#removal.watch.untilDeath(env.clock.now()));
    this.#timer = env.clock.after(pause, () => this.#tick());
    this.#keeper.look();
    void this.#renew();
  }

  /** Each attempt has a counter of its own: whichever is answered, and whenever, its own sending time counts. */
  async #renew(): Promise<void> {
    this.#counter += 1;
    const sent = this.#keeper.stamp();
    // A newcomer that we would leave out of a report must not take us for one who knows it.
    const { learned } = this.#list;
    const answered = (reply: LockReply): void => this.#renewed(sent, learned, reply);
    const renewal = { op: "renew", counter: this.#counter, generation: learned } as const;
    const reply = await this.#session.once(renewal, answered);
    if (reply !== null) answered(reply);
  }

  /** `told`: the generation that it told of. */
  #renewed(sent: RenewalTime, told: number, reply: LockReply): void {
    if (this.#end !== null || reply.rc !== lockStatus.OK) return;
    const { env } = this.#options;
    const { members, state, generation } = reply;
    this.#keeper.acknowledged(sent, state === "recover");
    if (this.#keeper.renewedAt > Number.NEGATIVE_INFINITY) this.#firstRenewal.resolve(true);
    // Nothing follows from a list that is missing, least of all that nobody is on it.
    if (members === undefined) return;
    if (state === "run") this.#list.learn(generation, members);
    this.#list.noteFencing(members);
    const joinedIn = this.#joined.reply.generation;
    this.#isKnown ||= members.every(({ knows = joinedIn }) => knows >= joinedIn);
    // A newcomer waits for that.
    if (told < this.#list.learned) void this.#renew();
    const others = members.filter(({ incarnation }) => incarnation !== this.#joined.incarnation);
    this.#removal.look(env.clock.now(), others, reply);
    this.#sightings.note(others);
  }

  #reportHead(): ReportHead {
    const { node, process } = this.#options;
    const { incarnation, reply, lsid } = this.#joined;
    // Before the start nothing is handled, and counts all the same.
    for (const event of this.#inbox.waiting) {
      if (event.type === "done") this.#list.settle(event.generation, event.members);
    }
    const { generation, records } = this.#list;
    const head = {
      slot: reply.value,
      incarnation,
      node,
      lsid,
      lkid: this.#lkid,
      settings: settingsOf(this.#options),
      generation,
      members: records,
      counter: this.#counter,
    };
    return process === undefined ? head : { ...head, process };
  }

  #showFrozen(): void {
    const { env, listener, lease } = this.#options;
    const before = this.#frozen;
    this.#frozen = frozenState(this.#remastering.state, this.#removal.watch, env.clock.now() + lease.leaseMs);
    if (this.#frozen !== null) {
      env.log.warn({ evt: "lockspace.frozen", lockspace: this.name, ...this.#frozen }, frozenText(this.#frozen));
      if (this.#started) listener.frozen?.(this.#frozen);
    } else if (before !== null) {
      const ms = Math.round(env.clock.now() - before.since);
      env.log.info({ evt: "lockspace.thawed", lockspace: this.name, ms }, `locks are granted again after ${ms} ms`);
      if (this.#started) listener.thawed?.();
    }
  }

  async #handle(event: LockEvent): Promise<void> {
    const { listener, env } = this.#options;
    switch (event.type) {
      case "cast": {
        const lock = this.#locks.get(event.lkid);
        this.#lkid = Math.max(this.#lkid, event.lkid);
        this.#trace.granted(event);
        if (event.status === lockStatus.EUNLOCK) this.#locks.delete(event.lkid);
        if (lock === undefined) this.#unclaimed.set(event.lkid, event);
        else await lock.onCast(event);
        break;
      }
      case "bast": {
        const wanted = lockModes[event.mode];
        if (wanted !== undefined) this.#locks.get(event.lkid)?.onBast(wanted);
        break;
      }
      case "prep":
        // Perhaps somebody is to be fenced, and who does it waits until all know.
        void this.#renew();
        listener.recoverPrep();
        break;
      case "failed":
        listener.recoverSlot(toMember(event));
        break;
      case "joined":
      case "left":
        env.log.info(
          { evt: `node.${event.type}`, node: event.node, slot: event.slot - 1 },
          `${event.node} ${event.type}`,
        );
        break;
      case "done":
        this.#generation = event.generation;
        this.#list.settle(event.generation, event.members);
        void this.#renew();
        this.#members = event.members.map(toMember);
        listener.recoverDone(this.#members, this.slot, this.#generation);
        break;
    }
  }

  #lost(reason: string): void {
    if (this.#end !== null) return;
    const { env, listener } = this.#options;
    if (this.#leaving) {
      // The answer that we have left was lost, or others do not know it yet: either way we are out.
      this.#stop(new MdError("E_NOT_JOINED", `lockspace ${this.name} was left`));
      return;
    }
    env.log.error({ evt: "lockspace.lost", lockspace: this.name, reason }, `lockspace lost: ${reason}`);
    const error = new MdError("E_LOCK_SERVICE_LOST", `the membership in lockspace ${this.name} has ended: ${reason}`);
    this.#stop(error);
    if (this.#started) listener.fenced(reason);
  }

  #stop(error: MdError): void {
    if (this.#end !== null) return;
    this.#end = error;
    this.#keeper.end();
    this.#removal.stop();
    this.#remastering.stop();
    this.#timer?.cancel();
    this.#reconnected?.stop();
    this.#firstRenewal.resolve(true);
    this.#inbox.stop();
    this.#session.end(error);
    for (const lock of this.#locks.values()) lock.end(error);
    this.#locks.clear();
  }
}

const toMember = ({ node, slot }: { readonly node: string; readonly slot: number }): LockspaceMember => ({
  node,
  slot: slotNumber(slot - 1),
});
