import type { SlotNumber } from "../base/units.ts";
import type { LockMode } from "./lock-mode.ts";
import type { LockspaceMember } from "./lockspace.ts";

/** A member as this node sees it. Times are `Clock.now` of this node. */
export interface MemberStatus extends LockspaceMember {
  /** When its renewal counter was last seen to move; null: not since we joined, or it is this node. */
  readonly seenAt: number | null;
  /** When it will be declared dead unless it renews before; null for this node. */
  readonly deadAt: number | null;
  /** Declared dead, and its locks still stand: whoever fences it has not succeeded yet. */
  readonly fencing: { readonly by: string | null; readonly tries: number } | null;
}

/** Two members that hold what cannot be held together: proof that one of them was granted it twice. */
export interface LockConflict {
  readonly resource: string;
  readonly holders: readonly { readonly node: string; readonly slot: SlotNumber; readonly mode: LockMode }[];
}

/** The lock server has lost its state; its members tell it anew what they hold, and new grants wait for all of them. */
export interface Remastering {
  readonly since: number;
  /** What was found, e.g. "the lock server has lost the lockspace". */
  readonly reason: string;
  readonly reported: readonly LockspaceMember[];
  readonly awaited: readonly LockspaceMember[];
  /** When the last of `awaited` is evicted at the latest; null while that cannot be told. */
  readonly untilAt: number | null;
  /** All have reported, and this cannot be: one of the holders must be evicted. */
  readonly conflicts: readonly LockConflict[];
}

/** A lockspace as people must know it (`mdctl cluster status`). A value; times are `Clock.now` of this node. */
export interface LockspaceStatus {
  readonly name: string;
  readonly epoch: number;
  readonly generation: number;
  /** Our lease: nothing is written at or past the one, nothing read at or past the other. */
  readonly writeUntil: number;
  readonly readUntil: number;
  readonly leaseMs: number;
  /** When the last renewal that was acknowledged was sent. */
  readonly renewedAt: number;
  readonly members: readonly MemberStatus[];
  readonly remastering: Remastering | null;
}
