import type { Env } from "../env/env.ts";
import type { Fencer } from "./fencer.ts";
import type { LeaseTimes } from "./lease.ts";
import type { LockMaster } from "./lock-master.ts";
import type { LeaseSink, LockspaceListener } from "./lockspace.ts";
import type { ProcessIdentity } from "./process-identity.ts";

export interface JoinOptions {
  readonly master: LockMaster;
  /** Up to 64 letters, digits, dots, underscores and dashes (an array's UUID). */
  readonly name: string;
  readonly cluster: string;
  readonly node: string;
  /** Of the lockspace, at most 64; equal on all members. */
  readonly slots: number;
  /** No slot at or above it is taken (0-based): E_NODES_FULL. Default: as many as there are. */
  readonly limit?: number;
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
  /** Used before a silent member's locks are given to others. Without it the end of the lease has to do. */
  readonly fencer?: Fencer;
  /**
   * Did this process run on this machine, before it was booted last? Asked of the node's own former life only: that a
   * machine is the same is said by a file that copies of it share.
   */
  readonly isRebooted?: (process: ProcessIdentity) => boolean;
  /** Gives up joining (E_CANCELLED). */
  readonly signal?: AbortSignal;
}
