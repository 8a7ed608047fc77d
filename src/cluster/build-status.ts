import { CopyGroups } from "../array/copy-groups.ts";
import { inSyncDisks, inSyncMembers, isClustered, isDegraded, type MdArray } from "../array/md-array.ts";
import { hasFlag, MemberFlag } from "../array/member.ts";
import { sector, slotNumber } from "../base/units.ts";
import { reportProgress } from "../resync/resync-progress.ts";
import type { ArrayStatus, MemberStatus, SlotStatus, SyncStatus } from "./array-status.ts";
import type { NodeContext } from "./node-context.ts";
import type { ResyncRunner } from "./resync-runner.ts";
import type { Activity } from "./safe-mode.ts";

/** What is not kept anywhere else. */
export interface StatusExtras {
  readonly ended: boolean;
  readonly lockServerReachable: boolean;
  readonly ring: { readonly kind: string; readonly about: string };
}

/** Takes a picture of a node. No IO. */
export function buildStatus(context: NodeContext, runner: ResyncRunner, extras: StatusExtras): ArrayStatus {
  const { array, node, lockspace, bus, shared, deps } = context;
  const { layout } = array.bitmap;
  return {
    uuid: array.uuid,
    name: array.name,
    level: array.level,
    layout: array.layout,
    chunkSectors: array.chunkSectors,
    clusterName: array.bitmap.clusterName,
    size: context.capacity,
    memberSize: array.memberSize,
    raidDisks: array.raidDisks,
    events: array.events,
    created: array.created.seconds,
    updated: array.updated.seconds,
    health: healthOf(array),
    state: stateOf(context, extras.ended),
    access: context.safeMode.access,
    activity: activityOf(context),
    safeModeDelayMs: isClustered(array) ? 0 : context.safeMode.delayMs,
    node: deps.nodeName,
    slot: lockspace.slot,
    maxSlots: isClustered(array) ? array.bitmap.slots : null,
    generation: lockspace.generation,
    members: membersOf(context),
    sync: syncOf(context, runner),
    isFrozen: runner.isFrozen,
    scrub: context.scrub.report,
    bitmap: {
      kind: array.bitmap.kind,
      chunkSectors: layout.chunkSectors,
      chunks: layout.chunks,
      dirty: shared.read("dirtyChunks"),
      needed: shared.read("neededChunks"),
    },
    slots: slotsOf(context),
    messages: bus.statistics,
    lockServerReachable: extras.lockServerReachable,
    frozen: lockspace.frozen,
    readBalance: node.balance,
    ring: extras.ring,
    syncSpeedMin: context.speedLimit.least,
    syncSpeedMax: context.speedLimit.kib,
    copiedSectors: shared.read("copiedSectors"),
  };
}

function healthOf(array: MdArray): string {
  const whole = new Set(inSyncMembers(array).map((member) => member.raidDisk));
  return Array.from({ length: array.raidDisks }, (_, raidDisk) => (whole.has(raidDisk) ? "U" : "_")).join("");
}

function stateOf({ array, node }: NodeContext, ended: boolean): ArrayStatus["state"] {
  if (node.phase === "fenced") return "fenced";
  if (ended) return "stopped";
  if (node.phase !== "active") return node.phase;
  if (!new CopyGroups(array).survives(inSyncDisks(array))) return "failed";
  return isDegraded(array) ? "degraded" : "active";
}

function activityOf({ array, members, safeMode, shared }: NodeContext): Activity {
  // Writes wait until the superblocks call a member faulty.
  if (members.hasBlocked) return "write-pending";
  if (!isClustered(array)) return safeMode.activity;
  return shared.read("dirtyChunks") > 0 ? "active" : "clean";
}

function membersOf(context: NodeContext): readonly MemberStatus[] {
  const { devices, errors, members, badBlocks } = context;
  const array = badBlocks.in(context, context.array);
  const present = array.members.map((member): MemberStatus => {
    const { number, raidDisk, deviceUuid, recoveredTo, isReplacement } = member;
    const counts = errors.get(number) ?? { read: 0, write: 0, corrected: 0 };
    const blocked = raidDisk !== null && members.isBlockedMember(number);
    return {
      number,
      raidDisk,
      path: devices.get(number)?.path ?? null,
      deviceUuid,
      state: blocked ? "blocked" : member.state,
      writeMostly: hasFlag(member, MemberFlag.writeMostly),
      failfast: hasFlag(member, MemberFlag.failfast),
      isReplacement,
      recoveredTo,
      readErrors: counts.read,
      correctedReads: member.correctedReads + counts.corrected,
      writeErrors: counts.write,
      badBlocks: member.badBlockLog?.entries.length ?? 0,
    };
  });
  const taken = new Set(present.map((member) => member.raidDisk));
  const missing = Array.from({ length: array.raidDisks }, (_, raidDisk) => raidDisk)
    .filter((raidDisk) => !taken.has(raidDisk))
    .map(
      (raidDisk): MemberStatus => ({
        number: -1,
        raidDisk,
        path: null,
        deviceUuid: null,
        state: "missing",
        writeMostly: false,
        failfast: false,
        isReplacement: false,
        recoveredTo: sector(0),
        readErrors: 0,
        correctedReads: 0,
        writeErrors: 0,
        badBlocks: 0,
      }),
    );
  return [...present, ...missing];
}

function syncOf(context: NodeContext, runner: ResyncRunner): SyncStatus | null {
  const { array, env, node, ownWindow } = context;
  const { running, pending } = runner;
  if (running !== null) {
    const { permille, speed, eta, stalledFor } = reportProgress(running.progress, env.clock.now());
    const { done, total } = running.progress;
    const { action } = running;
    const window = ownWindow.range;
    const slot = context.lockspace.slot;
    return { action, phase: "running", slot, permille, done, total, speed, eta, window, stalledFor };
  }
  const { delayedBy, delayed } = runner;
  const none = { permille: null, done: 0, total: 0, speed: null, eta: null, stalledFor: 0 };
  const action = array.members.some((member) => member.state === "rebuilding") ? "recover" : "resync";
  if (delayedBy !== null) {
    const waitsFor = `array ${delayedBy} on the same disk`;
    return { ...none, action: delayed, phase: "delayed", slot: null, window: null, waitsFor };
  }
  const [remote] = context.remoteSyncs.keys();
  const [announced] = node.windows.keys();
  const slot = remote ?? announced;
  if (slot !== undefined) {
    const window = node.windows.get(slot) ?? null;
    // What others fill is done when we would come to it; chunks of our own nobody else copies.
    if (pending === "resync") return { ...none, action: pending, phase: "delayed", slot, window };
    return { ...none, action, phase: "remote", slot, window };
  }
  // Between two steps (looking for work, waiting for the lock, making a plan) what is to be filled is still to be filled.
  const wanted = context.scrub.current;
  if (pending === null && wanted !== null) {
    const waitsFor = comesFirst(context, runner.isIdle);
    return { ...none, action: wanted.action, phase: "delayed", slot: null, window: null, waitsFor };
  }
  if (!context.safeMode.mayCopy && (action === "recover" || context.shared.read("neededChunks") > 0)) {
    return {
      ...none,
      action,
      phase: "pending",
      slot: null,
      window: null,
      waitsFor: "the first write: it is read-only",
    };
  }
  const next = pending ?? (action === "recover" && !runner.isIdle ? action : null);
  return next === null ? null : { ...none, action: next, phase: "pending", slot: null, window: null };
}

/** Why a check does not begin. At rest this node has work of its own only if no copy could give what it needs. */
function comesFirst({ array, shared }: NodeContext, isAtRest: boolean): string {
  const later = isAtRest ? ", which is tried again later" : "";
  if (shared.read("neededChunks") > 0) return `the resync of this node's own chunks${later}`;
  if (array.members.some(({ state }) => state === "rebuilding")) return `the recovery of a member${later}`;
  return "others to have nothing to resync";
}

/** Of an array that one node uses alone, that one. */
function slotsOf({ array, node, ownWindow }: NodeContext): readonly SlotStatus[] {
  const slots = isClustered(array) ? Array.from({ length: array.bitmap.slots }, (_, n) => slotNumber(n)) : [node.own];
  return slots.map((slot): SlotStatus => {
    const recovering = node.recovering.find((target) => target.slot === slot);
    const owner = node.members.find((member) => member.slot === slot);
    const own = slot === node.own;
    return {
      slot,
      node: recovering?.node ?? owner?.node ?? null,
      state: recovering !== undefined ? "recovering" : owner === undefined ? "free" : "up",
      window: own ? ownWindow.range : (node.windows.get(slot) ?? null),
      needsResync: own ? ownWindow.needsResync : node.unresynced.has(slot),
    };
  });
}
