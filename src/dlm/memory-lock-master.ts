import type { LockCall, LockEvent, LockReply, LockspaceId } from "./lock-call.ts";
import type { LockMaster, Subscription, WatchedMember } from "./lock-master.ts";

export interface MemoryLockMasterOptions {
  /** See LockReply.mayHaveForgotten. Default: it never forgets. */
  readonly mayHaveForgotten?: () => boolean;
}

/** The lock server inside this process: what the socket server serves, what the simulator puts behind its links. */
export class MemoryLockMaster implements LockMaster {
  readonly about = "memory";

  constructor(_options: MemoryLockMasterOptions = {}) {}

  call(_lockspace: LockspaceId, _call: LockCall): Promise<LockReply> {
    return Promise.reject(new Error("not yet"));
  }

  watch(
    _lockspace: LockspaceId,
    _member: WatchedMember,
    _deliver: (events: readonly LockEvent[]) => void,
  ): Subscription {
    return { stop: () => {} };
  }

  onReachable(_listener: (reachable: boolean) => void): Subscription {
    return { stop: () => {} };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
