import type { MemberRecord } from "./lock-call.ts";
import type { LockspaceMember } from "./lockspace.ts";
import type { MemberWatch } from "./member-watch.ts";

/** A member as this node sees it. Times are `Clock.now` of this node. */
export interface MemberStatus extends LockspaceMember {
  /** When this node's renewal counter was last seen to move; null: not since we joined, or it is this node. */
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
  /** How long that one took, ms; null: there was none yet. */
  readonly roundTripMs: number | null;
  /** Our lease: nothing is written at or past the one, nothing read at or past the other. */
  readonly writeUntil: number;
  readonly readUntil: number;
  readonly members: readonly MemberStatus[];
}

/** What the other members do, as the answers to our renewals tell. */
export class MemberSightings {
  readonly #watch: MemberWatch;
  /** By node name. What is known of a node outlives its membership: people ask when it was seen last. */
  readonly #seenAt = new Map<string, number>();
  #others: readonly MemberRecord[] = [];

  constructor(watch: MemberWatch) {
    this.#watch = watch;
  }

  /** `others` as the lock server lists them, without ourselves, after the watch has seen them. */
  note(others: readonly MemberRecord[]): void {
    this.#others = others;
    for (const { node, incarnation } of others) {
      const at = this.#watch.seenAt(incarnation);
      if (at !== null) this.#seenAt.set(node, at);
    }
  }

  recordOf({ node, slot }: LockspaceMember): MemberRecord | null {
    return this.#others.find((other) => other.node === node && other.slot - 1 === slot) ?? null;
  }

  statusOf(member: LockspaceMember, own: { readonly node: string; readonly incarnation: string }): MemberStatus {
    const record = this.recordOf(member);
    const seenAt = member.node === own.node ? null : (this.#seenAt.get(member.node) ?? null);
    if (record === null) return { ...member, seenAt, deadAt: null, fencing: null };
    const { incarnation, state, fence } = record;
    const fencer = [own, ...this.#others].find((other) => other.incarnation === fence?.owner);
    const fencing = state === "fencing" ? { by: fencer?.node ?? null, tries: fence?.tries ?? 0 } : null;
    return { ...member, seenAt, deadAt: this.#watch.deadAt(incarnation), fencing };
  }
}
