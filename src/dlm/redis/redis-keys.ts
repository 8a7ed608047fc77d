import type { LockCall, LockspaceId } from "../lock-call.ts";

const MAX_SLOTS = 64;

const prefix = ({ cluster, name }: LockspaceId): string => `mdlm:{${cluster}/${name}}`;

export const mailboxKey = (lockspace: LockspaceId, slot: number): string => `${prefix(lockspace)}:mb:${slot}`;

/**
 * The keys of a call, all with one hash tag, in the order that redis/lua/state.lua names. A member's calls can touch
 * the mailbox of every slot there is; a join does not know yet how many these are.
 */
export function keysOf(lockspace: LockspaceId, op: LockCall["op"], slots: number): string[] {
  const keys = ["meta", "mbr", "res", "rep"].map((part) => `${prefix(lockspace)}:${part}`);
  if (op === "hello" || op === "format") return keys;
  const count = op === "join" || op === "dump" ? MAX_SLOTS : slots;
  for (let slot = 1; slot <= count; slot++) keys.push(mailboxKey(lockspace, slot));
  return keys;
}
