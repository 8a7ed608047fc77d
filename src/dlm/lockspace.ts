import type { SlotNumber } from "../base/units.ts";
import type { LockMode } from "./lock-mode.ts";
import type { LockspaceStatus } from "./lockspace-status.ts";

/** A DLM lock value block is this long in every lockspace of ours (md-cluster's value). */
export const LVB_SIZE = 64;
/** A lockspace has room for as many members. */
export const MOST_SLOTS = 64;

/** The outcome of a conversion. Not being granted is an ordinary outcome, so it is a value. */
export interface Grant {
  readonly status: "granted" | "eagain" | "edeadlk" | "ecancel";
  /** The mode held now: the wanted one if granted, the old one otherwise. */
  readonly mode: LockMode;
  /** What was read from the resource, or null where the conversion reads nothing or no value was ever written. */
  readonly lvb: Uint8Array | null;
  /** False: a holder that could write died. The value must be taken as "no information". */
  readonly lvbValid: boolean;
}

export interface ConvertOptions {
  /** Written to the resource where the conversion writes (PW or EX to anything not stronger); also asks to read. */
  readonly lvb?: Uint8Array;
  /** Fail with `eagain` instead of waiting. */
  readonly noqueue?: boolean;
  /** Cancels a waiting conversion, which then ends with `ecancel` (or `granted`, if the grant won the race). */
  readonly signal?: AbortSignal;
}

/** One lock of this node on one resource. It rests in NL and is only ever converted. */
export interface Lock {
  readonly resource: string;
  /** The mode granted last. */
  readonly mode: LockMode;
  /** One conversion at a time; a second one while the first waits is a contradiction (assertion). */
  convert(mode: LockMode, options?: ConvertOptions): Promise<Grant>;
  /** Gives the lock up from whatever queue it is on. */
  close(): Promise<void>;
}

/** One conversion of several; see `Lockspace.convertAll`. */
export interface ConvertStep {
  readonly lock: Lock;
  readonly mode: LockMode;
  /** As in ConvertOptions. */
  readonly lvb?: Uint8Array;
  readonly noqueue?: boolean;
}

export interface OpenOptions {
  /** Take part in value block transfer. */
  readonly lvb: boolean;
  /** Blocking notification: somebody waits for `wanted`. May repeat, may be stale: look at `mode`. */
  readonly onBast?: (wanted: LockMode) => void;
}

export interface LockspaceMember {
  readonly node: string;
  readonly slot: SlotNumber;
}

/** Locks that two members claim and that cannot both be held: proof that a lock server granted twice. */
export interface LockConflict {
  readonly resource: string;
  readonly locks: readonly { readonly slot: SlotNumber; readonly node: string; readonly mode: LockMode }[];
}

/**
 * The lock server has lost what it knew, and the members tell it anew what they hold. New grants wait for that; IO under
 * locks that are held goes on while the lease lasts.
 */
export interface Frozen {
  /** What showed that the state is lost, in words. */
  readonly reason: string;
  /** `Clock.now` when this node found out. */
  readonly since: number;
  /** Node names. Both are empty until the lock server can be asked. */
  readonly reported: readonly string[];
  readonly missing: readonly string[];
  /**
   * `Clock.now` when those that are missing have reported or are declared dead at the latest; by then with a `Fencer`
   * their fencing begins. Null while it cannot be told.
   */
  readonly deadline: number | null;
  /** Not empty: it cannot go on before one of the claimants is evicted. */
  readonly conflicts: readonly LockConflict[];
}

/**
 * Membership callbacks, as fs/dlm gives them: `recoverPrep`, then `recoverSlot` once per member that *failed* (never
 * for one that left), then `recoverDone`. When `recoverSlot` is called the failed member's lease has surely ended: it
 * issues no more writes, and its locks are gone.
 */
export interface LockspaceListener {
  recoverPrep(): void;
  recoverSlot(member: LockspaceMember): void;
  recoverDone(members: readonly LockspaceMember[], ownSlot: SlotNumber, generation: number): void;
  /** Another node has declared us dead. Final: nothing may be written any more, the lockspace is unusable. */
  fenced(reason: string): void;
  /** Lock operations wait: the lock server's state is being rebuilt. Repeated when more is known of it. */
  frozen?(state: Frozen): void;
  /** They go on. The membership is the same, but for members that `recoverSlot` tells of. */
  thawed?(): void;
  /** The lock server answers (true) or does not (false). For people; safety hangs on the lease alone. */
  serverReachable?(reachable: boolean): void;
}

/**
 * Where the lease goes: memory that the data plane looks at. Milliseconds of `Clock.now`. No write may be issued at or
 * past `writeUntilMs`. Nothing may be answered from a disk at or past `readUntilMs`: by then others may have gone on
 * without us, and what we know of the mirrors may be wrong. Called at each renewal with later values; with 0 and 0 when
 * fenced or left.
 */
export type LeaseSink = (writeUntilMs: number, readUntilMs: number) => void;

export interface Lockspace {
  readonly name: string;
  /** Ours: lowest free at join, constant while we are a member. */
  readonly slot: SlotNumber;
  /** Of this membership: no other, of whatever node, ever has the same. */
  readonly incarnation: string;
  readonly generation: number;
  readonly members: readonly LockspaceMember[];
  /** While the lock server's state is being rebuilt; null in ordinary times. */
  readonly frozen: Frozen | null;
  /** Creates our lock on `resource`, in NL, without waiting (EXPEDITE). */
  open(resource: string, options: OpenOptions): Promise<Lock>;
  /**
   * Conversions in their order, in as few round trips as can be: each begins when the one before was granted. Resolves
   * with the grants; the last of them is not granted if there are fewer than steps, and what follows it was not begun.
   * A lock may occur several times. `signal` cancels the one that waits.
   */
  convertAll(steps: readonly ConvertStep[], signal?: AbortSignal): Promise<readonly Grant[]>;
  /** Every lock of every node, for `mdctl locks`. */
  dump(): Promise<LockspaceDump>;
  /** Members, leases, what grants wait for: for `mdctl cluster status`. No IO. */
  status(): LockspaceStatus;
  /**
   * An operator vouches that this member writes no more: it is declared dead at once, whatever its counter says and
   * whoever fences it. One that is not a member any more is fine. E_LOCK_SERVICE_LOST without an answer.
   */
  evict(member: LockspaceMember): Promise<void>;
  /** Frees all locks and the slot. The others see recoverPrep and recoverDone without recoverSlot. */
  leave(): Promise<void>;
  /**
   * Ends our part without giving anything back: the lease ends at once and is not renewed, no lock is let go. The others
   * declare us dead when it has run out, and take over what is ours. Nothing is called back.
   */
  abandon(): void;
}

export interface LockspaceDump {
  readonly name: string;
  readonly generation: number;
  /** True: it is being rebuilt, and the resources are what has been reported so far. */
  readonly rebuilding: boolean;
  readonly members: readonly LockspaceMember[];
  readonly resources: readonly ResourceDump[];
}

/** `since`: `Clock.now` when this node first knew of it (`SeqTimes`); null: it was so before this node came. */
export interface ResourceDump {
  readonly name: string;
  readonly granted: readonly { readonly slot: SlotNumber; readonly mode: LockMode; readonly since: number | null }[];
  /** In the order of the queue. */
  readonly converting: readonly {
    readonly slot: SlotNumber;
    readonly from: LockMode;
    readonly to: LockMode;
    readonly since: number | null;
  }[];
  /** In the order of the queue. */
  readonly waiting: readonly { readonly slot: SlotNumber; readonly mode: LockMode; readonly since: number | null }[];
  readonly lvb: Uint8Array | null;
  readonly lvbValid: boolean;
}
