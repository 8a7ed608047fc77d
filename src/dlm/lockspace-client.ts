import type { Env } from "../env/env.ts";
import type { LeaseTimes } from "./lease.ts";
import type { LockMaster } from "./lock-master.ts";
import type { LeaseSink, Lockspace, LockspaceListener } from "./lockspace.ts";
import type { ProcessIdentity } from "./process-identity.ts";

export interface JoinOptions {
  readonly master: LockMaster;
  /** Up to 64 letters, digits, dots, underscores and dashes (an array's UUID). */
  readonly name: string;
  readonly cluster: string;
  readonly node: string;
  /** No slot at or above it is taken (0-based): E_NODES_FULL. At most 64. */
  readonly slots: number;
  readonly lease: LeaseTimes;
  readonly env: Env;
  readonly listener: LockspaceListener;
  readonly leaseSink: LeaseSink;
  /** This process, so that the others on this host can prove its end. Left out where that makes no sense. */
  readonly process?: ProcessIdentity;
  /**
   * Has this process surely ended? Must answer false for a process of another host. Then the member is declared dead
   * after a tenth of a lease instead of a whole one.
   */
  readonly isProcessGone?: (process: ProcessIdentity) => boolean;
  /** Gives up joining (E_CANCELLED). */
  readonly signal?: AbortSignal;
}

/**
 * Becomes a member of a lockspace, creating it if need be. A former life of this node (same name) is evicted first,
 * which takes a lease unless its end can be proved. No callback is made before it resolves.
 * Rejects with E_LOCK_SERVICE_LOST (no answer for a lease), E_NODES_FULL, E_PROTOCOL_VERSION (lease length or
 * version differ from the other members'), E_CANCELLED.
 */
export function joinLockspace(_options: JoinOptions): Promise<Lockspace> {
  return Promise.reject(new Error("not yet"));
}
