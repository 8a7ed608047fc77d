import {
  type ArrayChange,
  failMember,
  removeMember,
  type Transition,
  withoutReplacement,
} from "../array/array-state.ts";
import { inSyncMembers, isClustered, type MdArray, memberByNumber, writableMembers } from "../array/md-array.ts";
import { nextUpdate } from "../array/superblock-of.ts";
import { putSuperblocks, writeSuperblocks } from "../array/superblock-store.ts";
import { flushMembers, type MemberFailure } from "../array/write-members.ts";
import { writeOrder } from "../array/write-order.ts";
import { MdError } from "../base/md-error.ts";
import type { Send } from "../messages/message-bus.ts";
import { mdTime } from "../superblock/superblock.ts";
import { type ActivityStep, sleepsThrough } from "./event-steps.ts";
import { followShape } from "./grow-receiver.ts";
import { settleShape } from "./grow-settle.ts";
import {
  correctedWritten,
  countError,
  memberText,
  type NodeContext,
  recordChanges,
  withCorrected,
} from "./node-context.ts";
import { decideCandidates, readPeerUpdate } from "./peer-update.ts";

/** What to make of the array as it is once the token is held. Throws an MdError to leave everything as it is. */
export type Change = (array: MdArray) => Transition;

/**
 * The way of every change to the superblocks (md-cluster, 15): token, read again, decide again, events + 1, our bitmap
 * superblock, all superblocks durable, METADATA_UPDATED, token back. Without the token nothing is written. Resolves
 * when every node has applied it. A change that changes nothing writes nothing.
 */
export function updateMetadata(context: NodeContext, change: Change, signal?: AbortSignal): Promise<void> {
  return context.bus.withToken((send) => updateUnderToken(context, send, change), signal);
}

async function updateUnderToken(context: NodeContext, send: Send, change: Change): Promise<void> {
  await adoptUnannounced(context, send);
  const transition = change(context.array);
  if (transition.changes.length > 0) await writeAndAnnounce(context, send, transition);
}

/** Puts the array as it is on all members, one event later: a node that joins makes itself known so. */
export function rewriteMetadata(context: NodeContext): Promise<void> {
  return context.bus.withToken(async (send) => {
    if (await adoptUnannounced(context, send)) return;
    await writeAndAnnounce(context, send, { array: context.array, changes: [] });
  });
}

/**
 * What the superblocks say of writes (see `SafeMode`) is written anew, by the one node that uses the array. Nobody else
 * hears of it; but a member that cannot be written fails on the way.
 */
export function rewriteActivity(context: NodeContext): Promise<void> {
  return context.bus.withToken(async (send) => {
    // An update that has failed is finished first, and says it as well.
    if (context.usedEvents !== context.array.events && (await adoptUnannounced(context, send))) return;
    const { changes } = await writeAndBegin(context, { array: context.array, changes: [] }, "activity");
    if (changes.length === 0) return;
    await announce(context, send);
    recordChanges(context, changes, context.deps.nodeName);
    context.lookForWork();
  });
}

/**
 * What is on disk and was never announced comes from a node that died over it (while we hold the token nobody writes).
 * It is finished in its place, before anything else is built on it. True if there was something.
 */
export async function adoptUnannounced(context: NodeContext, send: Send): Promise<boolean> {
  const found = await readPeerUpdate(context, null);
  await decideCandidates(context, found.accepted, { wipe: true });
  const isNews = found.changes.length > 0 || found.torn || found.array.events > context.array.events;
  if (!isNews && !context.members.hasUnsettled) {
    await settleShape(context, send);
    return false;
  }
  const array = await followShape(context, found.array);
  // First what was begun, with its own number: a member two events behind is no longer believed, and the next crash may
  // come in the middle of the next update. A member that cannot be written fails in that one.
  if (found.torn) await writeSuperblocks(asKnown(context, array), context.devices);
  await writeAndAnnounce(context, send, { ...found, array });
  await settleShape(context, send);
  return true;
}

export async function writeAndAnnounce(context: NodeContext, send: Send, transition: Transition): Promise<void> {
  const { changes } = await writeAndBegin(context, transition);
  await announce(context, send);
  await closeRemoved(context, changes);
  recordChanges(context, changes, context.deps.nodeName);
  context.lookForWork();
}

/** Resolves when every node has the array as it is on disk; whoever has it already is not disturbed. */
export async function announce(context: NodeContext, send: Send): Promise<void> {
  const { array, lockspace, members } = context;
  const [source] = inSyncMembers(array);
  if (source === undefined) throw new MdError("E_IO", `"${array.name}" has no in-sync member left`);
  const message = { type: "metadata_updated", from: lockspace.slot, number: source.number } as const;
  // Whoever is told that a member has failed may count on it that no node writes to it any more.
  if (members.hasUnsettled) await send(message, "settled");
  else await send(message);
  await members.settle(context.array);
}

/**
 * What is on disk must be true of our own data plane as well. A member that it cannot take in to be filled fails again,
 * before anybody was told of it; with anything else that it refuses this node cannot go on.
 */
async function writeAndBegin(
  context: NodeContext,
  transition: Transition,
  what: "array" | "activity" = "array",
): Promise<Transition> {
  const { array, changes } = await write(context, transition, what);
  context.array = array;
  let next: Transition = { array, changes: [] };
  for (const change of changes) {
    try {
      await context.members.begin(array, [change]);
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      const isNew = change.type === "rebuilding" && !context.members.holds(array, change.number);
      if (!isNew) {
        context.fail(`the data plane did not follow a change of the members: ${error.message}`);
        throw error;
      }
      const who = memberText(context, change.number);
      context.history.add("error", "ERROR", `${who} cannot be taken in: ${error.message}`, { ...change });
      const failed = failMember(next.array, change.number);
      // Nobody else has heard of one that was added just now: it leaves no trace.
      const isAdded = changes.some(({ type, number }) => type === "added" && number === change.number);
      const gone = isAdded ? removeMember(failed.array, change.number) : { array: failed.array, changes: [] };
      next = { array: gone.array, changes: [...next.changes, ...failed.changes, ...gone.changes] };
    }
  }
  if (next.changes.length === 0) return { array, changes };
  const rest = await writeAndBegin(context, next);
  return { array: rest.array, changes: [...changes, ...rest.changes] };
}

/** With what this node has found out of its members since the last update: it goes out with each one. */
const asKnown = (context: NodeContext, array: MdArray): MdArray =>
  context.badBlocks.in(context, withCorrected(context, array));

/** Members that cannot be written are failed on the way. E_IO when that would be the last copy. */
async function write(context: NodeContext, transition: Transition, what: "array" | "activity"): Promise<Transition> {
  const { devices, env, eventSteps, safeMode } = context;
  let next: Transition = { ...transition, array: asKnown(context, transition.array) };
  // Of what is on the members before they are flushed.
  const resyncOffset = await safeMode.resyncOffset(isClustered(next.array));
  let step = what === "activity" ? eventSteps.plan(next.array, resyncOffset, context.usedEvents) : null;
  /** The number last used is not on all members that should have it: they get it now, instead of being skipped. */
  let isAgain = false;
  /** It was used once more, so two things may be said under it: one number later nobody believes the first. */
  let isUsedTwice = false;
  for (;;) {
    // A member that cannot be flushed is out before a number is used: were one skipped, a crash in the middle of the next
    // update would leave good copies two events behind, and nobody believes those.
    const awake = writableMembers(next.array).filter((member) => !sleepsThrough(step, member));
    let failures = await flushMembers(awake, devices);
    if (failures.length === 0) {
      // A number once used is never used again, even if the update fails: part of it may be on disk. But it is not what
      // we have adopted: another node's update with the same number is news.
      const used = Math.max(next.array.events, context.usedEvents);
      const last = step?.isBack === true ? used - 2 : isAgain ? used - 1 : used;
      const array = nextUpdate({ ...next.array, events: last }, mdTime(env.clock.wall()), resyncOffset);
      next = { ...next, array };
      // A bitmap that is older than its array counts for nothing: it comes first, or last when the number falls.
      if (step?.isBack !== true) {
        context.usedEvents = array.events;
        await context.engine.send({ type: "setEvents", events: array.events });
      }
      const written = await writeInOrder(context, array, step);
      failures = written.failures;
      if (failures.length === 0 && step?.isBack === true) {
        context.usedEvents = array.events;
        await context.engine.send({ type: "setEvents", events: array.events });
      }
      if (failures.length === 0 && !isUsedTwice) {
        eventSteps.done(array, step);
        correctedWritten(context, transition.array, next.array);
        return next;
      }
      if (step?.isBack === true) next = { ...next, array: await stepForthAgain(context, array) };
      else {
        isAgain = failures.length > 0 && written.reached !== "all";
        if (written.reached !== "none") isUsedTwice = isAgain;
      }
    }
    step = null;
    for (const { number, error } of failures) {
      // Not the device's fault: we may not write at all any more.
      if (error.code === "E_NOT_JOINED") throw error;
      countError(context, number, "write");
      next = withoutReplacement(context.array, next, number) ?? failOrThrow(context, next, number, error);
    }
  }
}

/** Members that have gone a number back get the higher one once more: else they would be two behind the next update. */
async function stepForthAgain(context: NodeContext, { events, ...array }: MdArray): Promise<MdArray> {
  const forth = { ...array, events: events + 1 };
  // Whoever cannot be written fails in what follows.
  await writeSuperblocks(forth, context.devices);
  return forth;
}

interface Written {
  readonly failures: readonly MemberFailure[];
  /** Who was asked to take the new number; who then did not is among the failures. */
  readonly reached: "none" | "some" | "all";
}

/** In the order of `writeOrder`; ends at the first failure. */
async function writeInOrder(context: NodeContext, array: MdArray, step: ActivityStep | null): Promise<Written> {
  const { devices } = context;
  const { whole, filling, others } = writeOrder(context.array, array);
  const awake = others.filter((member) => !sleepsThrough(step, member));
  let reached: Written["reached"] = "none";
  for (const group of [whole, filling, awake]) {
    const lossy = await flushMembers(group, devices);
    if (lossy.length > 0) return { failures: lossy, reached };
    if (group === awake) reached = "all";
    else if (group.length > 0) reached = "some";
    const failures = await putSuperblocks(array, devices, group);
    if (failures.length > 0) return { failures, reached };
  }
  return { failures: [], reached };
}

function failOrThrow(context: NodeContext, before: Transition, number: number, cause: MdError): Transition {
  try {
    const { array, changes } = failMember(before.array, number);
    return { array, changes: [...before.changes, ...changes] };
  } catch (error) {
    if (!(error instanceof MdError) || error.code !== "E_LAST_COPY") throw error;
    throw new MdError(
      "E_IO",
      `the superblock of ${memberText(context, number)}, the last good copy, cannot be written`,
      {
        cause,
        why: cause.message,
      },
    );
  }
}

/** The data plane has let go of them. */
export async function closeRemoved(context: NodeContext, changes: readonly ArrayChange[]): Promise<void> {
  for (const change of changes) {
    // One that has come back with the same step is open anew.
    if (change.type !== "removed" || memberByNumber(context.array, change.number) !== null) continue;
    const device = context.devices.get(change.number);
    context.devices.delete(change.number);
    await device?.close();
  }
}
