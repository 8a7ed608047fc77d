import type { Examination } from "../array/examine.ts";
import { bytesOf, sector } from "../base/units.ts";
import { BITMAP_VERSION_CLUSTERED, BITMAP_VERSION_INTERNAL } from "../bitmap/bitmap-super.ts";
import type { ArrayStatus, MemberStatus, SlotStatus, SyncStatus } from "../cluster/array-status.ts";
import { mismatchesLeft } from "../resync/scrub.ts";
import { raid10LayoutName } from "../superblock/raid10-layout.ts";
import { mdUuidText } from "../superblock/uuid.ts";
import { homehostOf } from "./array-name.ts";
import type { ArraySession } from "./array-session.ts";
import type {
  ArrayInfo,
  ArrayState,
  Bitmap,
  BitmapSlot,
  FrozenInfo,
  Health,
  Member,
  Mismatches,
  NodeInfo,
  Range,
  Sync,
} from "./control-api.ts";
import { timeText } from "./time-text.ts";

interface ArrayInfoOptions {
  readonly nodes: readonly NodeInfo[];
  /** What a member says on disk, where it was read for this answer. */
  readonly examination: Examination | null;
  readonly frozen: FrozenInfo | null;
}

/** An assembled array in the words of the control API. */
export function arrayInfo(session: ArraySession, options: ArrayInfoOptions): ArrayInfo {
  const status = session.status();
  const members = status.members.map((member) => memberInfo(session, member, status, options.examination));
  const real = members.filter(({ role }) => role !== "missing" && role !== "removed");
  const inSync = members.filter((member) => member.inSync).length;
  const failed = real.filter(({ role }) => role === "faulty").length;
  const degradedBy = status.raidDisks - inSync;
  const clustered = status.bitmap.kind === "clustered";
  const events = options.examination?.superblock.events ?? status.events;
  return {
    name: session.name,
    path: `/dev/mdctl/${session.name}`,
    uuid: session.uuid,
    homehost: homehostOf(status.name),
    homeCluster: clustered ? status.clusterName : null,
    metadata: "1.2",
    level: status.level === 10 ? "raid10" : "raid1",
    layout: status.level === 10 ? raid10LayoutName(status.layout) : null,
    chunkBytes: status.level === 10 ? bytesOf(sector(status.chunkSectors)) : null,
    raidDevices: status.raidDisks,
    totalDevices: real.length,
    activeDevices: inSync,
    workingDevices: real.length - failed,
    failedDevices: failed,
    spareDevices: real.filter(
      ({ role, inSync: good }) => role === "spare" || role === "replacement" || (role === "active" && !good),
    ).length,
    sizeBytes: bytesOf(status.size),
    usedDevBytes: bytesOf(status.memberSize),
    dataOffsetBytes: members.find(({ dataOffsetBytes }) => dataOffsetBytes !== null)?.dataOffsetBytes ?? 0,
    createdAt: timeText(status.created * 1000),
    updatedAt: timeText(status.updated * 1000),
    events,
    state: stateOf(session, status),
    safeModeDelaySeconds: status.safeModeDelayMs / 1000,
    health: healthOf(status, degradedBy),
    degradedBy,
    consistency: status.bitmap.kind === "none" ? "resync" : "bitmap",
    clustered,
    nodesMax: status.maxSlots,
    slot: clustered ? status.slot : null,
    node: status.node,
    members,
    sync: syncInfo(status),
    bitmap: bitmapInfo(session, status, options.examination),
    suspended: status.slots.flatMap((slot) => suspendedRange(slot, status)),
    nodes: options.nodes,
    mapping: session.mapping,
    frozen: options.frozen,
    mismatch: mismatchesOf(status),
    ring: status.ring,
    readBalance: status.readBalance,
    copiedBytes: status.copiedSectors * 512,
  };
}

function healthOf({ state }: ArrayStatus, degradedBy: number): Health {
  if (state === "failed") return "failed";
  if (state === "fenced" || state === "stopped" || state === "joining") return "unknown";
  return degradedBy > 0 ? "degraded" : "optimal";
}

/** md's array_state. suspended: requests wait for the lock service. (clear: nothing of it is here, so it is not shown.) */
function stateOf(session: ArraySession, { state, access, activity }: ArrayStatus): ArrayState {
  if (state === "joining" || state === "leaving" || state === "stopped" || state === "fenced") return "inactive";
  if (session.mapping?.io.state === "suspended") return "suspended";
  return access === "read-write" ? activity : access;
}

function memberInfo(
  session: ArraySession,
  member: MemberStatus,
  status: ArrayStatus,
  examination: Examination | null,
): Member {
  const { deviceUuid, path, state } = member;
  const facts = deviceUuid === null ? null : session.facts.get(deviceUuid);
  return {
    number: member.number,
    slot: member.raidDisk,
    role: roleOf(member),
    inSync: state === "in_sync",
    flags: flagsOf(member, status),
    path,
    byId: facts?.byId ?? null,
    serial: facts?.serial ?? null,
    model: facts?.model ?? null,
    deviceUuid: deviceUuid === null ? null : mdUuidText(deviceUuid),
    sizeBytes: facts?.sizeBytes ?? null,
    dataOffsetBytes: facts?.dataOffsetBytes ?? null,
    events: state === "in_sync" ? (examination?.superblock.events ?? status.events) : null,
    recoveryOffsetBytes: state === "rebuilding" ? bytesOf(member.recoveredTo) : null,
    errors: {
      read: member.readErrors,
      corrected: member.correctedReads,
      write: member.writeErrors,
      checksum: null,
      lastAt: null,
    },
    badBlocks: member.badBlocks,
    seenBy: path === null ? [] : [{ node: status.node, path }],
    major: facts?.major ?? null,
    minor: facts?.minor ?? null,
  };
}

function flagsOf(member: MemberStatus, status: ArrayStatus): Member["flags"] {
  const { state, raidDisk, isReplacement } = member;
  const replacements = status.members.filter((other) => other.isReplacement && other.raidDisk === raidDisk);
  const flags: readonly (readonly [Member["flags"][number], boolean])[] = [
    ["write-mostly", member.writeMostly],
    ["failfast", member.failfast],
    ["blocked", state === "blocked"],
    ["want-replacement", state !== "blocked" && !isReplacement && replacements.length > 0],
  ];
  return flags.filter(([, isSet]) => isSet).map(([flag]) => flag);
}

function roleOf({ state, isReplacement }: MemberStatus): Member["role"] {
  switch (state) {
    case "in_sync":
      return "active";
    case "rebuilding":
      return isReplacement ? "replacement" : "active";
    case "spare":
      return "spare";
    case "blocked":
    case "faulty":
      return "faulty";
    case "missing":
      return "missing";
    default:
      return state satisfies never;
  }
}

const nodeOf = (status: ArrayStatus, slot: number | null): string | null =>
  status.slots.find((one) => one.slot === slot)?.node ?? null;

function syncInfo(status: ArrayStatus): Sync {
  const { sync, syncSpeedMin, syncSpeedMax } = status;
  const leastBytesPerSecond = syncSpeedMin * 1024;
  const limit = syncSpeedMax === 0 ? null : syncSpeedMax * 1024;
  if (sync === null && status.isFrozen) {
    return { ...noSync, action: "frozen", status: "frozen", limitBytesPerSecond: limit, leastBytesPerSecond };
  }
  if (sync === null) return { ...noSync, limitBytesPerSecond: limit, leastBytesPerSecond };
  const running = sync.phase === "running";
  const sources = status.members.filter(({ state }) => state === "in_sync").map(({ raidDisk }) => raidDisk ?? 0);
  const filled = status.members.filter(({ state }) => state === "rebuilding");
  const targets = filled.map(({ raidDisk }) => raidDisk ?? 0);
  const replaces = filled.length > 0 && filled.every(({ isReplacement }) => isReplacement);
  const isScrub = sync.action === "check" || sync.action === "repair";
  const [low, high] = sync.eta ?? [null, null];
  return {
    action: sync.action,
    status: sync.phase,
    why: isScrub ? "requested" : sync.action !== "recover" ? null : replaces ? "replace" : "spare",
    node: nodeOf(status, sync.slot),
    from: sync.action === "resync" ? sources.slice(0, 1) : sources,
    to: sync.action === "resync" ? sources.slice(1) : sync.action === "recover" ? targets : [],
    doneBytes: running ? sync.done * 512 : null,
    totalBytes: running ? sync.total * 512 : null,
    percent: running && sync.permille !== null ? sync.permille / 10 : null,
    dirtyBytesLeft: running ? dirtyLeft(sync, status) : null,
    speedBytesPerSecond: running && sync.speed !== null ? Math.round(sync.speed * 512) : null,
    limitBytesPerSecond: limit,
    leastBytesPerSecond,
    etaSeconds: low === null || high === null ? null : Math.round((low + high) / 2),
    etaLowSeconds: low === null ? null : Math.round(low),
    etaHighSeconds: high === null ? null : Math.round(high),
    startedAt: null,
    waitingFor: sync.phase === "pending" || sync.phase === "delayed" ? (sync.waitsFor ?? "resync lock") : null,
    stalledSeconds: Math.round(sync.stalledFor),
  };
}

function dirtyLeft({ action, done, total }: SyncStatus, { bitmap }: ArrayStatus): number {
  if (action !== "resync") return (total - done) * 512;
  return bitmap.needed * bitmap.chunkSectors * 512;
}

function mismatchesOf({ scrub, members, node }: ArrayStatus): Mismatches {
  if (scrub === null) return noMismatches;
  const { action, state, why, mismatched, ranges, isCut, from, to, reached, endedAt } = scrub;
  return {
    sectors: mismatched,
    lastCheckAt: endedAt === null ? null : timeText(endedAt),
    lastAction: action,
    ranges: ranges.map(({ lo, hi, kind, members: odd }) => {
      const names = odd.map((number) => members.find((one) => one.number === number)?.path ?? `member ${number}`);
      const reason = names.length === 0 ? kind : `${kind}: ${names.join(", ")}`;
      return { loBytes: bytesOf(lo), hiBytes: bytesOf(hi), byNode: node, reason, since: null };
    }),
    isCut,
    left: mismatchesLeft(scrub),
    state,
    why,
    fromBytes: bytesOf(from),
    toBytes: bytesOf(to),
    reachedBytes: bytesOf(reached),
  };
}

/** Nothing was compared. */
export const noMismatches: Mismatches = {
  sectors: null,
  lastCheckAt: null,
  lastAction: null,
  ranges: [],
  isCut: false,
  left: false,
  state: null,
  why: null,
  fromBytes: null,
  toBytes: null,
  reachedBytes: null,
};

const noSync: Sync = {
  action: "idle",
  status: "none",
  why: null,
  node: null,
  from: [],
  to: [],
  doneBytes: null,
  totalBytes: null,
  percent: null,
  dirtyBytesLeft: null,
  speedBytesPerSecond: null,
  limitBytesPerSecond: null,
  leastBytesPerSecond: 0,
  etaSeconds: null,
  etaLowSeconds: null,
  etaHighSeconds: null,
  startedAt: null,
  waitingFor: null,
  stalledSeconds: 0,
};

/** Null: the array has none. */
function bitmapInfo(session: ArraySession, status: ArrayStatus, examination: Examination | null): Bitmap | null {
  const { chunkSectors, chunks, kind } = status.bitmap;
  if (kind === "none") return null;
  const onDisk = examination?.bitmap ?? null;
  const slots = status.slots.map((slot): BitmapSlot => {
    const read = onDisk?.slots[kind === "clustered" ? slot.slot : 0];
    const isOwn = slot.slot === status.slot;
    return {
      slot: kind === "clustered" ? slot.slot : 0,
      node: slot.node,
      state: read !== undefined && (read.super.state & STALE) !== 0 ? "stale" : "ok",
      events: read?.super.events ?? null,
      eventsCleared: read?.super.eventsCleared ?? null,
      bits: chunks,
      dirty: read?.dirty ?? (isOwn ? status.bitmap.dirty : null),
      lock: slot.state === "free" ? { mode: null, holder: null } : { mode: "PW", holder: slot.node },
    };
  });
  const unionDirty = onDisk?.unionDirty ?? null;
  return {
    type: kind,
    version: kind === "clustered" ? BITMAP_VERSION_CLUSTERED : BITMAP_VERSION_INTERNAL,
    chunkBytes: bytesOf(sector(chunkSectors)),
    flushSeconds: session.facts.flushSeconds,
    slots,
    unionDirty,
    unionDirtyPercent: unionDirty === null ? null : Math.floor((unionDirty * 1000) / Math.max(1, chunks)) / 10,
  };
}

/** Bit of a bitmap superblock's state: its bits were lost. */
const STALE = 2;

function suspendedRange({ window, node, slot }: SlotStatus, status: ArrayStatus): Range[] {
  if (window === null || slot === status.slot) return [];
  return [{ loBytes: bytesOf(window.lo), hiBytes: bytesOf(window.hi), byNode: node, reason: "resync", since: null }];
}
