import type { LockCall, LockReply, LockspaceId, MemberRecord } from "./lock-call.ts";

/**
 * `counters`: [slot, counter] of each member, instead of `members` for a caller that knows the rest of them. All are
 * active and know of this generation.
 */
export type WireReply = LockReply & { readonly counters?: readonly (readonly number[])[] };

/** What is sent to a caller that has seen the members of generation `known`. The Redis library does the same. */
export function abbreviate(reply: LockReply, known: unknown): WireReply {
  const { generation } = reply;
  if (known !== generation || reply.state !== "run" || reply.members === undefined) return reply;
  const { members, ...rest } = reply;
  if (!members.every(({ state, knows }) => state === "active" && knows === generation)) return reply;
  return { ...rest, counters: members.map(({ slot, counter }) => [slot, counter]) };
}

/** Who the members of a generation are. */
export interface MemberDetails {
  readonly epoch: number;
  readonly generation: number;
  readonly members: readonly MemberRecord[];
}

/**
 * The members of lockspaces as their servers listed them last. Who they are changes with the generation only; a
 * renewal, which goes to and fro all the time, need not repeat it.
 */
export class KnownMembers {
  readonly #known = new Map<string, MemberDetails>();

  /** What the server need not repeat in its answer to this call: `known` of the request is its generation. */
  of(lockspace: LockspaceId, call: LockCall): MemberDetails | undefined {
    if (call.op !== "renew") return undefined;
    const known = this.#known.get(keyOf(lockspace));
    return known?.epoch === call.epoch ? known : undefined;
  }

  /** The reply to a call that was sent with `known`, with its members; null if it makes no sense. */
  complete(lockspace: LockspaceId, known: MemberDetails | undefined, reply: WireReply): LockReply | null {
    if (reply.counters !== undefined) return expand(reply, reply.counters, known);
    const { epoch, generation, members, state } = reply;
    if (members !== undefined && state === "run") this.#known.set(keyOf(lockspace), { epoch, generation, members });
    return reply;
  }
}

function expand(
  { counters: _, ...reply }: WireReply,
  counters: readonly (readonly number[])[],
  known: MemberDetails | undefined,
): LockReply | null {
  if (known?.epoch !== reply.epoch || known.generation !== reply.generation) return null;
  const now = new Map(counters.map(([slot, counter]) => [slot, counter]));
  if (!known.members.every(({ slot }) => now.has(slot))) return null;
  const members = known.members.map(({ slot, incarnation, counter, node, process }): MemberRecord => {
    const { generation: knows } = reply;
    const record = { slot, incarnation, counter: now.get(slot) ?? counter, node, state: "active", knows } as const;
    return process === undefined ? record : { ...record, process };
  });
  return { ...reply, members };
}

const keyOf = ({ cluster, name }: LockspaceId): string => `${cluster}/${name}`;
