import type { LockCall, LockspaceId } from "../lock-call.ts";

const MAX_SLOTS = 64;

const prefix = ({ cluster, name }: LockspaceId): string => `mdlm:{${cluster}/${name}}`;

/** The key that tells which server of a Redis Cluster a lockspace lives on: all its keys have one hash tag. */
export const tableKey = (lockspace: LockspaceId): string => `${prefix(lockspace)}:meta`;

export const mailboxKey = (lockspace: LockspaceId, slot: number): string => `${prefix(lockspace)}:mb:${slot}`;

/**
 * The keys of a call, all with one hash tag, in the order that redis/lua/state.lua names. A member's calls can touch
 * the mailbox of every slot there is; a join does not know yet how many these are.
 */
export function keysOf(lockspace: LockspaceId, call: LockCall, slots: number): string[] {
  const keys = ["meta", "res"].map((part) => `${prefix(lockspace)}:${part}`);
  // What a node does all the time, in lockspaces of many slots too: it touches nobody else's mailbox.
  if (call.op === "renew" || call.op === "poll") return [...keys, mailboxKey(lockspace, call.slot)];
  for (let slot = 1; slot <= mailboxesOf(call, slots); slot++) keys.push(mailboxKey(lockspace, slot));
  return keys;
}

function mailboxesOf(call: LockCall, slots: number): number {
  switch (call.op) {
    case "hello":
    case "format":
      return 0;
    case "join":
    case "dump":
      return MAX_SLOTS;
    case "recover":
      return call.settings.slots;
    default:
      return slots;
  }
}
