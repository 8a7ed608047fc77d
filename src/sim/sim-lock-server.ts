import type { LockCall, LockEvent, LockReply, LockspaceId } from "../dlm/lock-call.ts";
import type { Subscription, WatchedMember } from "../dlm/lock-master.ts";
import { MemoryLockMaster } from "../dlm/memory-lock-master.ts";
import { SimThread } from "./sim-thread.ts";
import type { World } from "./world.ts";

interface Watch {
  readonly lockspace: LockspaceId;
  readonly member: WatchedMember;
  readonly deliver: (events: readonly LockEvent[]) => void;
  subscription: Subscription;
}

/** The lock server of the simulated cluster, a process of its own. It may be restarted, and forgets everything then. */
export class SimLockServer {
  readonly thread: SimThread;
  readonly #world: World;
  #master = new MemoryLockMaster();
  #restarts = 0;
  #lockspace: LockspaceId | null = null;
  readonly #watches = new Set<Watch>();
  /** Which life has joined as which incarnation. */
  readonly #lives = new Map<string, string>();

  constructor(world: World) {
    this.#world = world;
    this.thread = new SimThread(world, "lockd");
  }

  /** Grows with each restart: a connection to an older life of the server is lost. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Executes a call of `life`, and tells the checkers who is no longer a member after it. */
  async execute(life: string, lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    if (call.op === "join") this.#lives.set(call.incarnation, life);
    const master = this.#master;
    this.#lockspace = lockspace;
    const reply = await master.call(lockspace, call);
    if (call.op === "join" || call.op === "evict" || call.op === "leave") {
      const { members = [] } = await master.call(lockspace, { op: "hello" });
      const present = new Set(members.map(({ incarnation }) => incarnation));
      if (call.op === "join" && reply.rc !== 0) this.#lives.delete(call.incarnation);
      for (const [incarnation, member] of this.#lives) {
        if (present.has(incarnation)) continue;
        this.#lives.delete(incarnation);
        this.#world.emit({ type: "evicted", life: member });
      }
    }
    return reply;
  }

  /** Every lock, for people: a line a resource. */
  async describe(): Promise<readonly string[]> {
    if (this.#lockspace === null) return [];
    const { resources = [] } = await this.#master.call(this.#lockspace, { op: "dump" });
    return resources.map(({ name, locks }) => {
      const all = locks.map(({ slot, queue, gr, rq }) => `slot ${slot - 1} ${queue} ${gr}${rq < 0 ? "" : `->${rq}`}`);
      return `${name}: ${all.join(", ")}`;
    });
  }

  watch(lockspace: LockspaceId, member: WatchedMember, deliver: (events: readonly LockEvent[]) => void): Subscription {
    const watch = { lockspace, member, deliver, subscription: this.#master.watch(lockspace, member, deliver) };
    this.#watches.add(watch);
    return {
      stop: () => {
        watch.subscription.stop();
        this.#watches.delete(watch);
      },
    };
  }

  /** As a crash of the server and a new start: an empty memory that knows that it may have forgotten. */
  restart(): void {
    this.#restarts++;
    this.#master = new MemoryLockMaster({ mayHaveForgotten: () => true, life: `life ${this.#restarts}` });
    for (const watch of this.#watches) {
      watch.subscription = this.#master.watch(watch.lockspace, watch.member, watch.deliver);
    }
    this.#world.emit({ type: "fault", what: "lock server restarted with nothing" });
  }
}
