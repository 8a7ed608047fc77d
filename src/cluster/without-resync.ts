import { MdError } from "../base/md-error.ts";
import type { Send } from "../messages/message-bus.ts";
import { GuardedLock } from "./guarded-lock.ts";
import { adoptUnannounced } from "./metadata-update.ts";
import type { NodeContext } from "./node-context.ts";

const LOCK_MS = 5000;

/**
 * Runs `change` under the token, what others have left unfinished settled first, while nothing is copied anywhere and
 * nothing begins to be: E_SYNC_RUNNING if it is.
 */
export async function withoutResync<T>(context: NodeContext, change: (send: Send) => Promise<T>): Promise<T> {
  refuseIfSyncing(context);
  const resync = await GuardedLock.open(context.lockspace, "resync", false);
  try {
    await takeResync(context, resync);
    return await context.bus.withToken(async (send) => {
      await adoptUnannounced(context, send);
      refuseIfSyncing(context);
      return change(send);
    });
  } finally {
    await resync.close();
    context.lookForWork();
  }
}

/** Whoever has just come to the end of a resync may have it for a moment still. */
async function takeResync(context: NodeContext, lock: GuardedLock): Promise<void> {
  const inTime = new AbortController();
  const limit = context.env.clock.after(LOCK_MS, () => inTime.abort());
  try {
    const { status } = await lock.convert("EX", { signal: inTime.signal });
    if (status !== "granted") throw syncRunning(context);
  } finally {
    limit.cancel();
  }
}

/** Any node that copies, or has something to copy, as far as it is known here; who copies has the `resync` lock, too. */
export function refuseIfSyncing(context: NodeContext): void {
  const { array, shared, node, remoteSyncs } = context;
  const needed = shared.read("neededChunks");
  const others = node.recovering.length + node.windows.size + node.unresynced.size + remoteSyncs.size;
  const isFilling = array.members.some(({ state }) => state === "rebuilding");
  if (needed > 0 || others > 0 || node.changing || isFilling) throw syncRunning(context);
}

function syncRunning({ array, node }: NodeContext): MdError {
  const slots = new Set([...node.windows.keys(), ...node.unresynced, ...node.recovering.map(({ slot }) => slot)]);
  const names = node.members.filter(({ slot }) => slots.has(slot)).map((member) => member.node);
  const where = names.length === 0 ? "" : `, on ${names.join(", ")}`;
  return new MdError("E_SYNC_RUNNING", `"${array.name}" is being resynced${where}: its shape cannot change now`, {
    hint: "mdctl wait, then try again",
  });
}
