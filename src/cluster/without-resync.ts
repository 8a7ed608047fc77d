import { MdError } from "../base/md-error.ts";
import { sleep } from "../env/clock.ts";
import type { Send } from "../messages/message-bus.ts";
import { GuardedLock } from "./guarded-lock.ts";
import { adoptUnannounced } from "./metadata-update.ts";
import type { NodeContext } from "./node-context.ts";

const LOCK_MS = 5000;
const POLL_MS = 50;

/**
 * Runs `change` under the token, what others have left unfinished settled first, while nothing is copied anywhere and
 * nothing begins to be: E_SYNC_RUNNING if it is.
 */
export async function withoutResync<T>(context: NodeContext, change: (send: Send) => Promise<T>): Promise<T> {
  await letSettle(context);
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

/** Nodes that have just come or gone, or come to the end of a resync, say within a moment what they have left to do. */
export async function letSettle(context: NodeContext): Promise<void> {
  const { clock } = context.env;
  const end = clock.now() + LOCK_MS;
  while (!isCopying(context) && isUndecided(context) && clock.now() < end) await sleep(clock, POLL_MS);
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
  if (isCopying(context) || isUndecided(context)) throw syncRunning(context);
}

function isCopying({ array, shared, node, remoteSyncs }: NodeContext): boolean {
  const isFilling = array.members.some(({ state }) => state === "rebuilding");
  return isFilling || shared.read("neededChunks") > 0 || node.windows.size + remoteSyncs.size > 0;
}

/** Somebody's bits are on their way, or not known yet. */
const isUndecided = ({ node }: NodeContext): boolean =>
  node.changing || node.recovering.length + node.unresynced.size > 0;

function syncRunning({ array, node }: NodeContext): MdError {
  const slots = new Set([...node.windows.keys(), ...node.unresynced, ...node.recovering.map(({ slot }) => slot)]);
  const names = node.members.filter(({ slot }) => slots.has(slot)).map((member) => member.node);
  const where = names.length === 0 ? "" : `, on ${names.join(", ")}`;
  return new MdError("E_SYNC_RUNNING", `"${array.name}" is being resynced${where}: its shape cannot change now`, {
    hint: "mdctl wait, then try again",
  });
}
