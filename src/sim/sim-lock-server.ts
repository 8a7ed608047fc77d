import type { LockCall, LockEvent, LockReply, LockspaceId } from "../dlm/lock-call.ts";
import type { Subscription, WatchedMember } from "../dlm/lock-master.ts";
import { lockStatus } from "../dlm/lock-status.ts";
import { SimPrimary } from "./sim-primary.ts";
import { SimThread } from "./sim-thread.ts";
import type { World } from "./world.ts";

interface Watch {
  readonly life: string;
  readonly lockspace: LockspaceId;
  readonly member: WatchedMember;
  readonly deliver: (events: readonly LockEvent[]) => void;
  subscription: Subscription;
}

/** Calls after which somebody may be no member any more. */
const removes: ReadonlySet<LockCall["op"]> = new Set(["format", "join", "recover", "evict", "fence_result", "leave"]);
/** Calls that count only when a replica has them, too (`WAIT`). */
const confirmed: ReadonlySet<LockCall["op"]> = new Set([
  ...["format", "join", "recover", "renew", "evict", "fence_begin", "fence_result"],
] as LockCall["op"][]);

/**
 * The lock server of the simulated cluster, a process of its own, perhaps with a replica. It may be restarted with
 * nothing, or with an older state; the replica may be promoted while some nodes still see the former primary.
 */
export class SimLockServer {
  readonly thread: SimThread;
  readonly #world: World;
  #primary = new SimPrimary("life 0");
  /** After a promotion: who still answers those that have not heard of it. Nothing confirms what it does. */
  #former: { readonly primary: SimPrimary; readonly nodes: ReadonlySet<string> } | null = null;
  #restarts = 0;
  #lives = 0;
  readonly #watches = new Set<Watch>();
  /** Which life has joined as which incarnation. */
  readonly #incarnations = new Map<string, string>();
  /** Lives that were thrown out, their incarnations, and whether any other life has heard of it. */
  readonly #evicted = new Map<string, { readonly incarnation: string; heard: boolean }>();

  constructor(world: World) {
    this.#world = world;
    this.thread = new SimThread(world, "lockd");
    world.observe((event) => {
      if (event.type !== "joined" && event.type !== "recovering") return;
      for (const evicted of this.#evicted.values()) evicted.heard = true;
    });
  }

  /** Grows with each restart: a connection to an older life of the server is lost. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Executes a call of `life`, and tells the checkers who is no longer a member after it. Null: no answer. */
  async execute(life: string, lockspace: LockspaceId, call: LockCall): Promise<LockReply | null> {
    const primary = this.#primaryOf(life);
    const reply = await primary.execute(lockspace, call);
    if (primary !== this.#primary) return confirmed.has(call.op) ? null : reply;
    if (call.op === "join" && reply.rc === lockStatus.OK) this.#joined(call.incarnation, life);
    if (removes.has(call.op)) await this.#tellRemovals(lockspace);
    return reply;
  }

  /**
   * Members that are listed no more. Where there is no list nobody was removed; while it is rebuilt from reports nobody is
   * told of a removal, and one that another loss undoes has never been.
   */
  async #tellRemovals(lockspace: LockspaceId): Promise<void> {
    const { rc, state, members = [] } = await this.#primary.execute(lockspace, { op: "hello" });
    if (rc !== lockStatus.OK || state !== "run") return;
    const present = new Set(members.map(({ incarnation }) => incarnation));
    // Who had thrown them out is dead, and the server has forgotten it: they have told it anew what they hold.
    for (const [life, { incarnation }] of this.#evicted) if (present.has(incarnation)) this.#joined(incarnation, life);
    for (const [incarnation, life] of this.#incarnations) {
      if (present.has(incarnation)) continue;
      this.#incarnations.delete(incarnation);
      this.#evicted.set(life, { incarnation, heard: false });
      this.#world.emit({ type: "evicted", life });
    }
  }

  /** A life that was thrown out before it heard that it was in has done nothing, and may try again as another one. */
  #joined(incarnation: string, life: string): void {
    const isNew = this.#incarnations.get(incarnation) !== life;
    this.#incarnations.set(incarnation, life);
    if (isNew && this.#evicted.delete(life)) this.#world.tell({ type: "readmitted", life });
  }

  /** It has forgotten something. What nobody has heard of yet has never been: who was thrown out may be a member still. */
  #forget(): void {
    this.#world.tell({ type: "locks_lost" });
    for (const [life, { incarnation, heard }] of this.#evicted) if (!heard) this.#joined(incarnation, life);
  }

  /** Members and locks of the one lockspace there is. */
  dump(): Promise<LockReply | null> {
    return this.#primary.dump();
  }

  /** Every lock, for people: a line a resource. */
  describe(): Promise<readonly string[]> {
    return this.#primary.describe();
  }

  watch(
    life: string,
    lockspace: LockspaceId,
    member: WatchedMember,
    deliver: (events: readonly LockEvent[]) => void,
  ): Subscription {
    const { master } = this.#primaryOf(life);
    const watch = { life, lockspace, member, deliver, subscription: master.watch(lockspace, member, deliver) };
    this.#watches.add(watch);
    return {
      stop: () => {
        watch.subscription.stop();
        this.#watches.delete(watch);
      },
    };
  }

  #rewatch(): void {
    for (const watch of this.#watches) {
      watch.subscription.stop();
      watch.subscription = this.#primaryOf(watch.life).master.watch(watch.lockspace, watch.member, watch.deliver);
    }
  }

  #primaryOf(life: string): SimPrimary {
    return this.#former?.nodes.has(nodeOf(life)) ? this.#former.primary : this.#primary;
  }

  #newLife(): string {
    this.#lives++;
    return `life ${this.#lives}`;
  }

  /** As a crash of the server and a new start: an empty memory that knows that it may have forgotten. */
  restart(): void {
    this.#restarts++;
    this.#former = null;
    this.#primary = new SimPrimary(this.#newLife(), { mayHaveForgotten: true });
    this.#rewatch();
    this.#forget();
    this.#world.emit({ type: "fault", what: "lock server restarted with nothing" });
  }

  /** A crash and a new start from a file that misses the end: what there is, is another life's. */
  rollBack(calls: number): void {
    this.#restarts++;
    this.#former = null;
    this.#primary = this.#primary.succeededBy(this.#newLife(), calls);
    this.#rewatch();
    this.#forget();
    this.#world.emit({ type: "fault", what: `lock server restarted without its last ${calls} calls` });
  }

  /** The replica takes over without the last `calls`; `nodes` (by name) still speak with the former primary. */
  split(nodes: ReadonlySet<string>, calls: number): void {
    if (this.#former !== null) return;
    this.#former = { primary: this.#primary, nodes };
    this.#primary = this.#primary.succeededBy(this.#newLife(), calls);
    this.#rewatch();
    const who = [...nodes].join(", ");
    this.#forget();
    this.#world.emit({ type: "fault", what: `a replica without the last ${calls} calls took over; not for ${who}` });
  }

  /** Everybody finds the new primary. */
  unite(): void {
    if (this.#former === null) return;
    this.#former = null;
    this.#restarts++;
    this.#rewatch();
    this.#world.emit({ type: "fault", what: "the former primary is gone" });
  }
}

/** `n1.2` is a life of n1. */
const nodeOf = (life: string): string => life.split(".")[0] ?? life;
