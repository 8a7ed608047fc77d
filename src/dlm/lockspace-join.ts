import { MdError } from "../base/md-error.ts";
import { slotNumber } from "../base/units.ts";
import { sleep } from "../env/clock.ts";
import { type FenceAttempt, LEASE_ONLY, runFencer } from "./fencer.ts";
import type { JoinOptions } from "./join-options.ts";
import { renewEvery, repeatAfter } from "./lease.ts";
import type { LockCall, LockReply, LockspaceId, LockspaceSettings, MemberRecord } from "./lock-call.ts";
import { lockStatus, lockStatusName } from "./lock-status.ts";
import { LVB_SIZE } from "./lockspace.ts";
import { MemberWatch } from "./member-watch.ts";
import { withTimeout } from "./with-timeout.ts";

export interface Joined {
  readonly lockspace: LockspaceId;
  readonly incarnation: string;
  /** Which lockspace of this name it is. */
  readonly lsid: string;
  readonly reply: LockReply;
}

export const settingsOf = ({ slots, lease, fencer }: JoinOptions): LockspaceSettings => ({
  slots,
  leaseMs: lease.leaseMs,
  lvbSize: LVB_SIZE,
  fencing: fencer?.about ?? LEASE_ONLY,
});

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Looks at the lockspace every tenth of a lease until it is joined, or cannot be. */
export class LockspaceJoin {
  readonly #options: JoinOptions;
  readonly #lockspace: LockspaceId;
  readonly #incarnation: string;
  readonly #watch: MemberWatch;
  /** The epoch that `#watch` has watched. */
  #epoch: number | null = null;
  #lastAnswer: number;
  /** Since when we know that there is no lockspace, or one of another life of the server. */
  #absentSince: number | null = null;
  /** The life of the server that this is known of. */
  #absentOn: string | null = null;
  #refusedSince: number | null = null;

  constructor(options: JoinOptions) {
    this.#options = options;
    this.#lockspace = { cluster: options.cluster, name: options.name };
    this.#incarnation = hex(options.env.random.bytes(8));
    this.#watch = new MemberWatch(options.lease, options.isProcessGone);
    this.#lastAnswer = options.env.clock.now();
  }

  async run(): Promise<Joined> {
    const { env, lease, signal, name } = this.#options;
    for (;;) {
      if (signal?.aborted) throw new MdError("E_CANCELLED", `joining lockspace ${name} was cancelled`);
      const joined = await this.#look();
      if (joined !== null) return joined;
      await sleep(env.clock, renewEvery(lease), signal);
    }
  }

  /** One look. Null: not yet. */
  async #look(): Promise<Joined | null> {
    const hello = await this.#call({ op: "hello" });
    if (hello === null) return null;
    if (hello.rc === lockStatus.ENOLS || hello.rc === lockStatus.EIDENT) {
      if (!(await this.#create(hello))) return null;
    } else if (hello.rc !== lockStatus.OK) {
      throw this.#refusal("E_PROTOCOL_VERSION", lockStatusName(hello.rc));
    }
    this.#absentSince = null;
    const { node, process, slots, limit = slots } = this.#options;
    const gone = await this.#findGone(hello);
    const settings = settingsOf(this.#options);
    const join = { op: "join", node, incarnation: this.#incarnation, ...settings, limit, gone } as const;
    const reply = await this.#call(process === undefined ? join : { ...join, process });
    if (reply === null) return null;
    if (reply.rc === lockStatus.OK) return this.#confirm(reply);
    this.#judge(reply);
    return null;
  }

  /** Learns which lockspace it is that we have joined: the one that was looked at may have been replaced since. */
  async #confirm(reply: LockReply): Promise<Joined | null> {
    const { lsid, members = [] } = (await this.#call({ op: "hello" })) ?? {};
    const incarnation = this.#incarnation;
    if (lsid === undefined || !members.some((member) => member.incarnation === incarnation)) return null;
    return { lockspace: this.#lockspace, incarnation, lsid, reply };
  }

  /**
   * Members that surely are dead. Where fencing is configured the end of a lease is not enough: the other members fence
   * a silent one, and where nobody is left to do it, we do.
   */
  async #findGone({ members = [], epoch, generation }: LockReply): Promise<readonly MemberRecord[]> {
    const { env, fencer, node: own, isRebooted = () => false } = this.#options;
    // Counters stood still while the lockspace was lost.
    if (epoch !== this.#epoch) this.#watch.restart();
    this.#epoch = epoch;
    const silent = this.#watch.observe(env.clock.now(), members);
    // Our own former life ended with the boot that it ran in. Others who fence it saw its lease run out, so that we need
    // not: the sooner they know, the less likely it is that they hit us instead.
    const isFormerLife = ({ node, process }: MemberRecord): boolean =>
      node === own && process !== undefined && isRebooted(process);
    const isProved = (member: MemberRecord): boolean =>
      this.#watch.isProvedGone(member.incarnation) || isFormerLife(member);
    const dead = members.filter(
      (member) => silent.includes(member) || (member.state === "fencing" && isFormerLife(member)),
    );
    if (fencer === undefined) return dead.filter((member) => member.state !== "fencing" || isProved(member));
    const gone = dead.filter(isProved);
    if (dead.length < members.length) return gone;
    for (const { node, slot, incarnation, counter, process, state } of dead) {
      const victim = { node, slot: slotNumber(slot - 1), incarnation, generation };
      const known = gone.some((one) => one.incarnation === incarnation);
      // Methods of fencing end a machine: never our own.
      if (known || node === own) continue;
      const whom = process === undefined ? victim : { ...victim, process };
      const { ok, evidence } = await runFencer(fencer, whom, this.#attemptAt(incarnation, counter), env);
      env.log.warn({ evt: "node.fenced", ...victim, ok, evidence }, `${node}, a former member, is fenced: ${evidence}`);
      if (ok) gone.push({ node, slot, incarnation, counter, state });
    }
    return gone;
  }

  /** Ends when the joining does. Another may come first, and have it fenced; or it comes back and proves its end itself. */
  #attemptAt(incarnation: string, counter: number): FenceAttempt {
    const isWanted = async (): Promise<boolean> => {
      const hello = await this.#call({ op: "hello" });
      const record = hello?.members?.find((member) => member.incarnation === incarnation);
      return record?.counter === counter;
    };
    return { signal: this.#options.signal ?? new AbortController().signal, isWanted };
  }

  /** True: it exists now. Where a former member may still write, its lease is waited for first. */
  async #create(hello: LockReply): Promise<boolean> {
    const { env, lease } = this.#options;
    const now = env.clock.now();
    const server = hello.server ?? "";
    // Another life of the server: somebody may have joined and begun to write in the one between two looks.
    if (this.#absentSince === null || server !== this.#absentOn) this.#absentSince = now;
    this.#absentOn = server;
    const wait = hello.mayHaveForgotten ? Math.max(lease.leaseMs, hello.leaseMs ?? 0) : 0;
    if (now - this.#absentSince < wait) return false;
    const format = { op: "format", lsid: hex(env.random.bytes(16)), epoch: hello.epoch } as const;
    const { lsid } = hello;
    return (await this.#call(lsid === undefined ? format : { ...format, replaces: lsid })) !== null;
  }

  /** Throws if waiting does not help. */
  #judge(reply: LockReply): void {
    const { env, lease, node } = this.#options;
    const members = reply.members ?? [];
    const now = env.clock.now();
    this.#refusedSince ??= now;
    switch (reply.rc) {
      case lockStatus.EBUSY: {
        // Our own former life, which will be found dead; unless it goes on renewing for a lease.
        const other = members.find((member) => member.node === node);
        const lives = other !== undefined && this.#watch.hasMoved(other.incarnation);
        if (!lives || now - this.#refusedSince < lease.leaseMs) return;
        throw this.#refusal("E_NODE_ALIVE", `node name ${node} is in use by a living member${about(other)}`);
      }
      case lockStatus.ERANGE:
        if (!members.every(({ incarnation }) => this.#watch.hasMoved(incarnation))) return;
        throw this.#refusal("E_NODES_FULL", `all ${this.#options.limit ?? this.#options.slots} slots are in use`);
      case lockStatus.EPROTO:
        // Members that are all dead will be evicted, and then nobody is there to differ.
        if (!members.some(({ incarnation }) => this.#watch.hasMoved(incarnation))) return;
        throw this.#refusal(
          "E_PROTOCOL_VERSION",
          `its members use other settings than ours (lease ${reply.leaseMs} ms, ours ${lease.leaseMs} ms; fencing ${JSON.stringify(reply.fencing ?? "")}; slots, value block size and version must be equal too)`,
        );
      default:
        return; // created or replaced between two looks
    }
  }

  #refusal(code: "E_NODE_ALIVE" | "E_NODES_FULL" | "E_PROTOCOL_VERSION", why: string): MdError {
    return new MdError(code, `cannot join lockspace ${this.#options.name}: ${why}`);
  }

  /** Null: no answer. Throws when there was none for a whole lease. */
  async #call(call: LockCall): Promise<LockReply | null> {
    const { master, env, lease } = this.#options;
    let lost = new MdError("E_LOCK_SERVICE_LOST", `the lock server ${master.about} does not answer`);
    try {
      const reply = await withTimeout(env.clock, repeatAfter(lease), master.call(this.#lockspace, call));
      if (reply !== null) {
        this.#lastAnswer = env.clock.now();
        return reply;
      }
    } catch (error) {
      if (!(error instanceof MdError) || error.code !== "E_LOCK_SERVICE_LOST") throw error;
      lost = error; // it may say why
    }
    if (env.clock.now() - this.#lastAnswer < lease.leaseMs) return null;
    throw lost;
  }
}

const about = ({ process }: MemberRecord): string => (process === undefined ? "" : ` (pid ${process.pid})`);
