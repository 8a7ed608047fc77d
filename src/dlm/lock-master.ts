import type { DlmSlot, LockCall, LockEvent, LockReply, LockspaceId } from "./lock-call.ts";

export interface Subscription {
  stop(): void;
}

/** A lock server as its clients see it. One instance may serve any number of lockspaces of a process. */
export interface LockMaster {
  /** For people: where it is, e.g. `unix:/run/mdctl/lockd.sock`. */
  readonly about: string;
  /**
   * Executes one call atomically. Rejects with E_LOCK_SERVICE_LOST when no answer came: the call may have been
   * executed, or may still be. Repeat it with the same `rid`. Other rejections (MdError) are final: the server cannot
   * be used.
   */
  call(lockspace: LockspaceId, call: LockCall): Promise<LockReply>;
  /**
   * `deliver` is called when events wait in the mailbox of a member: with these events, or with none ("poll"). It is
   * a hint: any of it may be missing or repeated; the numbers in the events tell.
   */
  watch(lockspace: LockspaceId, member: WatchedMember, deliver: (events: readonly LockEvent[]) => void): Subscription;
  /** Called with false when the server stops answering and true when it answers again (not for the first time). */
  onReachable(listener: (reachable: boolean) => void): Subscription;
  close(): Promise<void>;
}

export interface WatchedMember {
  readonly slot: DlmSlot;
  readonly incarnation: string;
  readonly epoch: number;
}
