import { assert } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import type { LeaseTimes } from "../dlm/lease.ts";
import { isProcessGone, isRebooted, ownProcess } from "../dlm/local-process.ts";
import type { LockMaster } from "../dlm/lock-master.ts";
import { type Lock, type Lockspace, type LockspaceMember, MOST_SLOTS } from "../dlm/lockspace.ts";
import { joinLockspace } from "../dlm/lockspace-client.ts";
import type { MemberStatus } from "../dlm/lockspace-status.ts";
import type { Env } from "../env/env.ts";
import type { Journal } from "./journal.ts";
import { CLUSTER_PROTOCOL, type NodeCard } from "./node-card.ts";
import { NodeCards } from "./node-cards.ts";
import { timeText } from "./time-text.ts";

/** Lockspace of the daemons of a cluster, whatever arrays they have. */
const LOCKSPACE = "nodes";

export interface KnownNode {
  readonly name: string;
  readonly slot: number;
  readonly state: "up" | "down";
  /** `Clock.now` when it was last seen to renew; null: not while we watched. */
  readonly seenAt: number | null;
  /** As the lockspace tells of a member; null: it is none any more. */
  readonly member: MemberStatus | null;
  /** What it told of itself. */
  readonly card: NodeCard | null;
}

interface MembershipOptions {
  readonly master: LockMaster;
  readonly node: string;
  readonly cluster: string;
  readonly lease: LeaseTimes;
  readonly env: Env;
  readonly journal: Journal;
  /** Of this program. */
  readonly version: string;
}

/**
 * This daemon among the daemons of its cluster: who they are, which of them died, and a lock under which only one of
 * them changes devices that belong to no array yet. Nothing that is written to an assembled array hangs on it.
 */
export class ClusterMembership {
  readonly #options: MembershipOptions;
  readonly #dead = new Map<string, KnownNode>();
  readonly #cards: NodeCards;
  /** Names of the members, as we were told last. */
  #present: ReadonlySet<string> = new Set();
  readonly #stop = new AbortController();
  #lockspace: Promise<Lockspace>;
  #joined: Lockspace | null = null;
  #ending = false;

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#cards = new NodeCards(options.env);
    this.#lockspace = this.#join();
  }

  /** The daemons' lockspace while we are a member of it. */
  get lockspace(): Lockspace | null {
    return this.#joined;
  }

  /** Known nodes by slot: those that are there, and those that died while we watched. */
  get nodes(): readonly KnownNode[] {
    const up = (this.#joined?.status().members ?? []).map(
      (member): KnownNode => ({
        name: member.node,
        slot: member.slot,
        state: member.fencing === null ? "up" : "down",
        seenAt: member.seenAt,
        member,
        card: this.#cards.of(member.node),
      }),
    );
    const down = [...this.#dead.values()].filter(({ name }) => !up.some((node) => node.name === name));
    return [...up, ...down].sort((a, b) => a.slot - b.slot || a.name.localeCompare(b.name));
  }

  /** Runs `action` while no other daemon of the cluster does the like. E_LOCK_SERVICE_LOST, E_NODES_FULL. */
  async alone<T>(action: () => Promise<T>): Promise<T> {
    const lockspace = await this.#lockspace;
    let lock: Lock | null = null;
    try {
      lock = await lockspace.open("create", { lvb: false });
      const { status } = await lock.convert("EX");
      assert(status === "granted", "a conversion that may wait and is not cancelled ends granted");
      return await action();
    } finally {
      await lock?.close();
    }
  }

  async leave(): Promise<void> {
    this.#ending = true;
    this.#stop.abort();
    this.#cards.stop();
    const lockspace = await this.#lockspace.catch(() => null);
    await lockspace?.leave().catch(() => {});
  }

  #join(): Promise<Lockspace> {
    const { master, node, cluster, lease, env } = this.#options;
    const joining = joinLockspace({
      master,
      name: LOCKSPACE,
      cluster,
      node,
      slots: MOST_SLOTS,
      // Nothing is written under this lease: it may be renewed at leisure.
      lease: { ...lease, pingMs: lease.leaseMs / 4 },
      env,
      listener: {
        recoverPrep: () => {},
        recoverSlot: (member) => this.#died(member),
        recoverDone: (members) => this.#changed(members),
        fenced: (reason) => this.#fenced(reason),
      },
      leaseSink: () => {},
      process: ownProcess(),
      isProcessGone,
      isRebooted,
      signal: this.#stop.signal,
    });
    joining.then(
      (lockspace) => {
        this.#joined = lockspace;
        // Whom we found is no news.
        if (this.#present.size === 0) this.#present = new Set(lockspace.members.map((member) => member.node));
        void this.#cards.publish(lockspace, { protocol: CLUSTER_PROTOCOL, version: this.#options.version });
        void this.#cards.refresh(lockspace);
      },
      (error: unknown) => this.#failed(error),
    );
    return joining;
  }

  #died({ node, slot }: LockspaceMember): void {
    const { env } = this.#options;
    const seenAt = this.#joined?.status().members.find((member) => member.node === node)?.seenAt ?? null;
    this.#dead.set(node, { name: node, slot, state: "down", seenAt, member: null, card: this.#cards.of(node) });
    const seen = seenAt === null ? "" : `, last seen ${((env.clock.now() - seenAt) / 1000).toFixed(1)} s ago`;
    this.#tell("error", "NODEDOWN", node, `node ${node} is down: its lease ended or its process is gone${seen}`);
  }

  #changed(members: readonly LockspaceMember[]): void {
    const before = this.#present;
    this.#present = new Set(members.map(({ node }) => node));
    for (const node of this.#present) {
      if (this.#dead.delete(node)) this.#tell("info", "NODEUP", node, `node ${node} is up again`);
      else if (!before.has(node)) this.#tell("info", "NODEJOINED", node, `node ${node} has joined the cluster`);
    }
    for (const node of before) {
      if (!this.#present.has(node) && !this.#dead.has(node)) {
        this.#tell("info", "NODELEFT", node, `node ${node} has left the cluster`);
      }
    }
    if (this.#joined !== null) void this.#cards.refresh(this.#joined);
  }

  /** The others took us for dead (a stopped process, a long outage). Arrays have leases of their own; here we come back. */
  #fenced(reason: string): void {
    this.#joined = null;
    this.#tell("warn", "FENCED", this.#options.node, `this node is no longer in the list of nodes: ${reason}`);
    if (!this.#ending) this.#lockspace = this.#join();
  }

  #failed(error: unknown): void {
    if (this.#ending) return;
    const { env } = this.#options;
    env.log.warn({ evt: "nodes_join", err: error }, "cannot join the cluster's list of nodes yet");
    const final = error instanceof MdError && error.code !== "E_LOCK_SERVICE_LOST";
    if (final) return;
    env.clock.after(1000, () => {
      if (!this.#ending) this.#lockspace = this.#join();
    });
  }

  #tell(severity: "info" | "warn" | "error", event: string, node: string, text: string): void {
    const { env, journal } = this.#options;
    env.log[severity]({ evt: event.toLowerCase(), peer: node }, text);
    journal.add({ time: timeText(env.clock.wall()), severity, node, array: null, event, text, fields: { node } });
  }
}
