import type { MemberRecord } from "./lock-call.ts";
import type { LockspaceMember } from "./lockspace.ts";
import type { MemberWatch } from "./member-watch.ts";

/** A member as this node sees it. Times are `Clock.now` of this node. */
export interface MemberStatus extends LockspaceMember {
  /** When its renewal counter was last seen to move; null: not since we joined, or it is this node. */
  readonly seenAt: number | null;
  /** When it will be declared dead unless it renews before; null for this node. */
  readonly deadAt: number | null;
  /** Declared dead, and its locks still stand until it is fenced: by which node, after how many tries that failed. */
  readonly fencing: { readonly by: string | null; readonly tries: number } | null;
}

/** A lockspace as people must know it (`mdctl cluster status`). A value; times are `Clock.now` of this node. */
export interface LockspaceStatus {
  readonly epoch: number;
  readonly generation: number;
  readonly leaseMs: number;
  /** When the last renewal that was acknowledged was sent. */
  readonly renewedAt: number;
  /** Our lease: nothing is written at or past the one, nothing read at or past the other. */
  readonly writeUntil: number;
  readonly readUntil: number;
  readonly members: readonly MemberStatus[];
}

/** `others` as the lock server lists them, without ourselves. */
export function memberStatus(
  member: LockspaceMember,
  own: { readonly node: string; readonly incarnation: string },
  others: readonly MemberRecord[],
  watch: MemberWatch,
): MemberStatus {
  const record = recordOf(member, others);
  if (record === undefined) return { ...member, seenAt: null, deadAt: null, fencing: null };
  const { incarnation, state, fence } = record;
  const fencer = [own, ...others].find((other) => other.incarnation === fence?.owner);
  return {
    ...member,
    seenAt: watch.seenAt(incarnation),
    deadAt: watch.deadAt(incarnation),
    fencing: state === "fencing" ? { by: fencer?.node ?? null, tries: fence?.tries ?? 0 } : null,
  };
}

export const recordOf = ({ node, slot }: LockspaceMember, others: readonly MemberRecord[]): MemberRecord | undefined =>
  others.find((other) => other.node === node && other.slot - 1 === slot);
