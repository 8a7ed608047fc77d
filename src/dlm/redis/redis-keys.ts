import type { LockCall, LockspaceId, MemberCall } from "../lock-call.ts";

const prefix = ({ cluster, name }: LockspaceId): string => `mdlm:{${cluster}/${name}}`;

/** The key that tells which server of a Redis Cluster a lockspace lives on: all its keys have one hash tag. */
export const tableKey = (lockspace: LockspaceId): string => `${prefix(lockspace)}:meta`;

export const mailboxKey = (lockspace: LockspaceId, slot: number): string => `${prefix(lockspace)}:mb:${slot}`;

/**
 * The keys of a call, all with one hash tag, in the order that redis/lua/state.lua names. A member's call touches its own
 * mailbox; those of others are derived from the first key by the function that has something to tell them.
 */
export function keysOf(lockspace: LockspaceId, call: LockCall): string[] {
  const keys = ["meta", "res"].map((part) => `${prefix(lockspace)}:${part}`);
  return isMemberCall(call) ? [...keys, mailboxKey(lockspace, call.slot)] : keys;
}

function isMemberCall(call: LockCall): call is MemberCall {
  switch (call.op) {
    case "hello":
    case "format":
    case "join":
    case "recover":
    case "dump":
      return false;
    default:
      return true;
  }
}
