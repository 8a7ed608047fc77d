import type { LockCall, LockEvent, LockReply, LockspaceId } from "./lock-call.ts";
import type { LockMaster, Subscription, WatchedMember } from "./lock-master.ts";
import { lockStatus } from "./lock-status.ts";
import { LockTable } from "./lock-table.ts";

export interface MemoryLockMasterOptions {
  /** See LockReply.mayHaveForgotten. Default: it never forgets. */
  readonly mayHaveForgotten?: () => boolean;
  /** See LockReply.server: differs from that of any other life of the same server. */
  readonly life?: string;
}

interface Watcher {
  readonly lockspace: string;
  readonly member: WatchedMember;
  readonly deliver: (events: readonly LockEvent[]) => void;
}

const keyOf = ({ cluster, name }: LockspaceId): string => `${cluster}/${name}`;

/** The lock server inside this process: what the socket server serves, what the simulator puts behind its links. */
export class MemoryLockMaster implements LockMaster {
  readonly about = "memory";
  readonly #mayHaveForgotten: () => boolean;
  readonly #life: string;
  readonly #tables = new Map<string, LockTable>();
  readonly #watchers = new Set<Watcher>();

  constructor(options: MemoryLockMasterOptions = {}) {
    this.#mayHaveForgotten = options.mayHaveForgotten ?? (() => false);
    this.#life = options.life ?? "";
  }

  /** Executed before it returns; watchers are called after the promise of the call is settled. */
  call(lockspace: LockspaceId, call: LockCall): Promise<LockReply> {
    const key = keyOf(lockspace);
    const known = this.#tables.get(key);
    const table = known ?? new LockTable(this.#life);
    const touched = new Set<number>();
    const reply = table.apply(call, touched);
    // The caller's own events came with the reply.
    if ("slot" in call && reply.rc === lockStatus.OK) touched.delete(call.slot);
    if (known === undefined && table.exists) this.#tables.set(key, table);
    void Promise.resolve().then(() => this.#wake(key, table, touched));
    if (reply.rc !== lockStatus.ENOLS) return Promise.resolve(reply);
    return Promise.resolve({ ...reply, mayHaveForgotten: this.#mayHaveForgotten() });
  }

  #wake(lockspace: string, table: LockTable, touched: ReadonlySet<number>): void {
    for (const watcher of [...this.#watchers]) {
      if (watcher.lockspace !== lockspace || !touched.has(watcher.member.slot)) continue;
      const events = table.mailbox(watcher.member.slot, watcher.member.incarnation);
      if (events !== null && events.length > 0) watcher.deliver(events);
    }
  }

  watch(lockspace: LockspaceId, member: WatchedMember, deliver: (events: readonly LockEvent[]) => void): Subscription {
    const watcher = { lockspace: keyOf(lockspace), member, deliver };
    this.#watchers.add(watcher);
    return { stop: () => this.#watchers.delete(watcher) };
  }

  /** It always answers. */
  onReachable(): Subscription {
    return { stop: () => {} };
  }

  /** Members in all lockspaces. */
  get memberCount(): number {
    let count = 0;
    for (const table of this.#tables.values()) count += table.memberCount;
    return count;
  }

  close(): Promise<void> {
    this.#watchers.clear();
    return Promise.resolve();
  }
}
