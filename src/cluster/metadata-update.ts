import { type ArrayChange, failMember, type Transition } from "../array/array-state.ts";
import { inSyncMembers, type MdArray, writableMembers } from "../array/md-array.ts";
import { nextUpdate } from "../array/superblock-of.ts";
import { writeSuperblocks } from "../array/superblock-store.ts";
import type { MemberDevices, MemberFailure } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import type { Send } from "../messages/message-bus.ts";
import { countError, mdTime, memberText, type NodeContext, recordChanges } from "./node-context.ts";
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
 * What is on disk and was never announced comes from a node that died over it (while we hold the token nobody writes).
 * It is finished in its place, before anything else is built on it. True if there was something.
 */
export async function adoptUnannounced(context: NodeContext, send: Send): Promise<boolean> {
  const found = await readPeerUpdate(context, null);
  await decideCandidates(context, found.accepted);
  const isNews = found.changes.length > 0 || found.torn || found.array.events > context.array.events;
  if (!isNews && !context.members.hasUnsettled) return false;
  await writeAndAnnounce(context, send, found);
  return true;
}

export async function writeAndAnnounce(context: NodeContext, send: Send, transition: Transition): Promise<void> {
  const { array, changes } = await write(context, transition);
  context.array = array;
  await context.members.begin(array, changes);
  const source = inSyncMembers(array)[0];
  if (source === undefined) throw new MdError("E_IO", `"${array.name}" has no in-sync member left`);
  await send({ type: "metadata_updated", from: context.lockspace.slot, number: source.number });
  await context.members.settle(array);
  await closeRemoved(context, changes);
  recordChanges(context, changes, context.deps.nodeName);
  context.lookForWork();
}

/** Members that cannot be written are failed on the way. E_IO when that would be the last copy. */
async function write(context: NodeContext, transition: Transition): Promise<Transition> {
  let { array } = transition;
  const changes: ArrayChange[] = [...transition.changes];
  for (;;) {
    array = nextUpdate(array, mdTime(context.env));
    // A number once used is never used again, even if the update fails: part of it may be on disk.
    context.array = { ...context.array, events: array.events };
    await context.engine.send({ type: "setEvents", events: array.events });
    const failures = await writeInOrder(array, context.devices);
    if (failures.length === 0) return { array, changes };
    for (const { number, error } of failures) {
      // Not the device's fault: we may not write at all any more.
      if (error.code === "E_NOT_JOINED") throw error;
      countError(context, number, "write");
      const failed = failOrThrow(context, array, number, error);
      array = failed.array;
      changes.push(...failed.changes);
    }
  }
}

/**
 * A member that is being filled says so itself before the others call it active: after a crash in between, stock md would
 * go by the others' table and take it for a full copy.
 */
async function writeInOrder(array: MdArray, devices: MemberDevices): Promise<readonly MemberFailure[]> {
  const members = writableMembers(array);
  const filling = members.filter((member) => member.state === "rebuilding");
  const failures = await writeSuperblocks(array, devices, filling);
  if (failures.length > 0) return failures;
  return writeSuperblocks(
    array,
    devices,
    members.filter((member) => member.state !== "rebuilding"),
  );
}

function failOrThrow(context: NodeContext, array: MdArray, number: number, cause: MdError): Transition {
  try {
    return failMember(array, number);
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
    if (change.type !== "removed") continue;
    const device = context.devices.get(change.number);
    context.devices.delete(change.number);
    await device?.close();
  }
}
