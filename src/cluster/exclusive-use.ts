import { isClustered, type MdArray } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import type { Lockspace } from "../dlm/lockspace.ts";
import type { GuardedLock } from "./guarded-lock.ts";

/** Held in EX by the one node that uses an array alone, in CR by all that share a clustered one. Ours: md has no such lock. */
export const EXCLUSIVE = "exclusive";

/** For the holder of the token, who has just read what kind of array it is. E_HELD names who has it. */
export async function takeUse(lockspace: Lockspace, lock: GuardedLock, array: MdArray): Promise<void> {
  const clustered = isClustered(array);
  const { status } = await lock.convert(clustered ? "CR" : "EX", { noqueue: true });
  if (status === "granted") return;
  const who = (await othersWith(lockspace, EXCLUSIVE)).join(", ") || "another node";
  const name = array.name.slice(array.name.indexOf(":") + 1);
  const why = clustered
    ? "its bitmap is being changed there"
    : `with bitmap ${array.bitmap.kind} one node alone uses it`;
  throw new MdError("E_HELD", `${name} is in use on ${who}`, {
    why,
    hint: `on ${who}: mdctl grow ${name} --bitmap=clustered, or mdctl stop ${name}`,
  });
}

/** The names of other nodes that hold a lock on the resource in any mode but NL. */
export async function othersWith(lockspace: Lockspace, resource: string): Promise<readonly string[]> {
  const { resources } = await lockspace.dump();
  const holders = resources.find(({ name }) => name === resource)?.granted ?? [];
  const slots = holders.filter(({ slot, mode }) => slot !== lockspace.slot && mode !== "NL").map(({ slot }) => slot);
  return lockspace.members.filter(({ slot }) => slots.includes(slot)).map(({ node }) => node);
}
