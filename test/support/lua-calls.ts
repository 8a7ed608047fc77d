import type { Redis } from "ioredis";
import type { LockCall, LockReply, LockspaceId } from "../../src/dlm/lock-call.ts";
import { keysOf } from "../../src/dlm/redis/redis-keys.ts";
import { packCall, unpackReply } from "../../src/dlm/redis/redis-wire.ts";

/** Executes a call with the functions of a library that is loaded already; `more` follows its arguments. */
export async function callLua(
  client: Redis,
  library: string,
  { lockspace, call }: { readonly lockspace: LockspaceId; readonly call: LockCall },
  ...more: readonly (string | number)[]
): Promise<LockReply> {
  const keys = keysOf(lockspace, call);
  const [head = "", rest = ""] = packCall(call, { mark: 1, code: "c", known: undefined });
  const bytes = await client.callBuffer("FCALL", `${library}_${call.op}`, keys.length, ...keys, head, rest, ...more);
  const reply = unpackReply(bytes, 1);
  if (reply === null) throw new Error(`${call.op}: that is no reply`);
  return reply;
}
