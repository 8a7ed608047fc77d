import { isClustered, type MdArray } from "../array/md-array.ts";
import { nextUpdate } from "../array/superblock-of.ts";
import { writeSuperblocks } from "../array/superblock-store.ts";
import { MdError } from "../base/md-error.ts";
import { sector } from "../base/units.ts";
import { sleep } from "../env/clock.ts";
import { IN_SYNC, mdTime } from "../superblock/superblock.ts";
import type { NodeContext } from "./node-context.ts";
import { closeAll } from "./open-members.ts";
import type { ResyncRunner } from "./resync-runner.ts";
import { sayGoodbye } from "./takeover-records.ts";

/** How long one step may take when the lock server or a device does not answer. */
const STEP_MS = 10_000;

/**
 * A clean end (md-cluster, 11): no more IO, what can be cleared is cleared, and what is left is handed over before our
 * slot is free. Goes on after every failure: a slot that was not handed over is recovered like a dead node's, or by
 * whoever assembles next. But nothing is given back while something of ours may still be written: if that does not come
 * to an end we stop renewing our lease, and the others take us for dead.
 */
export async function leaveArray(context: NodeContext, runner: ResyncRunner): Promise<void> {
  const { engine, bus, slotLocks, lockspace, noNewDev, resyncLock, exclusive } = context;
  const step = (what: string, run: () => Promise<unknown>): Promise<boolean> => attempt(context, what, run);
  await step("detach", () => engine.send({ type: "detach" }));
  await step("resync", () => runner.stop());
  await step("safe-mode", () => context.safeMode.stop());
  await step("flush", () => engine.send({ type: "flushBitmap" }));
  await step("hand-over", () => handOver(context));
  let clean: CleanEnd | null = null;
  await step("events", async () => {
    clean = await prepareClean(context);
  });
  const isStill =
    (await step("engine", () => engine.send({ type: "stop" }))) &&
    (await step("clean", () => sayClean(context, clean))) &&
    (await step("goodbye", () => goodbye(context))) &&
    // Whatever holds the token or waits for it on this node comes first; what comes later writes nothing any more.
    (await step("sections", () => bus.withToken(async () => context.writeLease.end()))) &&
    (await step("writes", () => context.writeLease.drained()));
  const left = new MdError("E_NOT_JOINED", "this node has left the array");
  if (!isStill) {
    context.history.add("warn", "LEAVE", "this node cannot leave in order: the others will take it for dead");
    context.writeLease.end();
    lockspace.abandon();
  }
  engine.end(left);
  await step("channel", () => bus.close());
  await step("locks", () => Promise.all([noNewDev.close(), resyncLock.close(), exclusive.close()]));
  await step("slot", () => slotLocks.release(lockspace.slot));
  await step("slots", () => slotLocks.close());
  await step("lockspace", () => lockspace.leave());
  await step("devices", () => closeAll([...context.devices.values(), ...candidateDevices(context)]));
}

interface CleanEnd {
  /** The array that it was said of: of any other it is not true. */
  readonly of: MdArray;
  readonly end: MdArray;
}

/**
 * Of an array that we alone use: what its superblocks will say once nothing is written any more. Its bitmap is told first:
 * one that is older than its array counts for nothing. Null: others have it, or the superblocks say so already.
 */
async function prepareClean({ array, engine, env, usedEvents }: NodeContext): Promise<CleanEnd | null> {
  if (isClustered(array)) return null;
  const { range } = await engine.send({ type: "scan", kind: "resync", from: sector(0) });
  const resyncOffset = range === null ? IN_SYNC : BigInt(range.lo);
  if (array.resyncOffset === resyncOffset && array.events === usedEvents) return null;
  const end = nextUpdate(
    { ...array, events: Math.max(array.events, usedEvents) },
    mdTime(env.clock.wall()),
    resyncOffset,
  );
  await engine.send({ type: "setEvents", events: end.events });
  return { of: array, end };
}

/** The last thing that is written. Members that it does not reach are one event behind, and believed all the same. */
async function sayClean(context: NodeContext, clean: CleanEnd | null): Promise<void> {
  if (clean === null) return;
  const failures = await context.bus.withToken(async () => {
    const { array, devices, members } = context;
    // A member that has missed something counts as equal no more, whether its failure is told already or not.
    if (array !== clean.of || members.hasUnsettled || members.hasBlocked || context.badBlocks.isPending) return [];
    return writeSuperblocks(clean.end, devices);
  });
  for (const { number, error } of failures) {
    context.env.log.warn({ evt: "leave-clean", member: number, err: error.message }, "a superblock remains active");
  }
}

const goodbye = ({ array, devices, env, deps, lockspace }: NodeContext): Promise<void> =>
  sayGoodbye({ array, devices, env, nodeName: deps.nodeName }, lockspace.slot, lockspace.incarnation);

const candidateDevices = (context: NodeContext) => [...context.candidates.values()].map(({ device }) => device);

/** Any bit that is left, needed or not: while a member is missing it tells what that one has missed. */
async function handOver(context: NodeContext): Promise<void> {
  const { bus, engine, env, history, lockspace, node } = context;
  const { dirty } = await engine.send({ type: "queryBitmap" });
  if (dirty === 0 || node.members.length < 2) return;
  const inTime = new AbortController();
  const limit = env.clock.after(STEP_MS / 2, () => inTime.abort());
  await bus.send(() => ({ type: "bitmap_needs_sync", from: lockspace.slot }), inTime.signal);
  limit.cancel();
  history.add("info", "HANDOVER", `${dirty} chunks are handed over`, { dirty });
}

/** True: it came to its end. */
async function attempt(context: NodeContext, what: string, run: () => Promise<unknown>): Promise<boolean> {
  const { clock, log } = context.env;
  const inTime = new AbortController();
  try {
    await Promise.race([
      run(),
      sleep(clock, STEP_MS, inTime.signal).then(() => {
        if (!inTime.signal.aborted) throw new MdError("E_TIMEOUT", `no end within ${STEP_MS} ms`);
      }),
    ]);
    return true;
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    log.warn({ evt: "leave-step", step: what, err: error.message }, "leaving goes on without it");
    return false;
  } finally {
    inTime.abort();
  }
}
