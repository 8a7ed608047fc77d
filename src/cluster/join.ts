import { assembleArray } from "../array/assemble-array.ts";
import { inShape } from "../array/bitmap-store.ts";
import { isClustered, type MdArray, writableMembers } from "../array/md-array.ts";
import type { MemberDevices } from "../array/write-members.ts";
import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import { encodeBitmapSuper } from "../bitmap/bitmap-super.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import type { Lockspace } from "../dlm/lockspace.ts";
import { type EngineConfig, roomFor } from "../engine/engine-protocol.ts";
import { SharedBlock } from "../engine/shared-block.ts";
import type { Env } from "../env/env.ts";
import type { PillReader } from "../fencing/pill-check.ts";
import { nodeLimit } from "../fencing/takeover-layout.ts";
import { hasTakeoverRoom } from "../fencing/takeover-store.ts";
import { MessageBus, type MessageHandler } from "../messages/message-bus.ts";
import { agreeOnProtocol, type ProtocolRange, type Speech } from "../messages/protocol-version.ts";
import { uuidText } from "../superblock/uuid.ts";
import { updateBadBlockLogs } from "./bad-block-update.ts";
import type { ArrayAccess, ClusterNodeDeps } from "./cluster-deps.ts";
import { engineMember, firstPlace } from "./engine-members.ts";
import { EXCLUSIVE, takeUse } from "./exclusive-use.ts";
import { GuardedEngine } from "./guarded-engine.ts";
import { GuardedLock } from "./guarded-lock.ts";
import { LeaseGate } from "./lease-gate.ts";
import { LeasedDevice, WriteLease } from "./leased-device.ts";
import { MemberOpener } from "./member-opener.ts";
import { MembershipFeed } from "./membership-feed.ts";
import { assembleOpened, closeAll, openMembers } from "./open-members.ts";
import { slotCheck } from "./own-pill.ts";
import { SafeMode } from "./safe-mode.ts";
import { type OwnBits, ownBits } from "./slot-bits.ts";
import { SlotLocks } from "./slot-locks.ts";
import { condemnOthers, condemnVictim, introduce, type RecordWriter } from "./takeover-records.ts";

/** The array as this node knows it at the moment; who keeps it up to date says where it is. */
export interface MembersInUse {
  now: () => { readonly array: MdArray; readonly devices: MemberDevices };
}

const accessTo = (members: MembersInUse, env: Env, nodeName: string): ArrayAccess => ({
  members() {
    const { array, devices } = members.now();
    return writableMembers(array).flatMap(({ number }) => devices.get(number)?.path ?? []);
  },
  hasRecords: () => hasTakeoverRoom(members.now().array),
  // Who joins may have to do this first, when all members are dead: it has no lease yet. A pill that comes late is for
  // one who is gone, or ends a membership that begins anew.
  condemn(victim, signal) {
    const { array, devices } = members.now();
    const bare = [...devices].map(([number, device]) => [
      number,
      device instanceof LeasedDevice ? device.bare : device,
    ]);
    return condemnVictim({ array, devices: new Map(bare as [number, BlockDevice][]), env, nodeName }, victim, signal);
  },
});

/** A node that owns its slot and has a data plane, before it knows anything of the other slots. */
export interface JoinedNode {
  readonly feed: MembershipFeed;
  readonly members: MembersInUse;
  /** Null: the members have no room for takeover records. */
  readonly pill: PillReader | null;
  readonly lockspace: Lockspace;
  readonly bus: MessageBus;
  readonly slotLocks: SlotLocks;
  readonly noNewDev: GuardedLock;
  readonly resyncLock: GuardedLock;
  /** See `takeUse`. */
  readonly exclusive: GuardedLock;
  readonly array: MdArray;
  readonly devices: Map<number, BlockDevice>;
  readonly engine: GuardedEngine;
  readonly shared: SharedBlock;
  readonly writeLease: WriteLease;
  readonly opener: MemberOpener;
}

/**
 * The first half of joining (md-cluster, 10.1): lockspace, slot, its bitmap's lock, then under the token both: become a
 * receiver and read the superblocks, so that no change falls between the two. Then our own bitmap, before anybody
 * else's is folded into it, and the data plane. On any failure everything is undone and the MdError passed on.
 */
export async function joinArray(deps: ClusterNodeDeps, handler: MessageHandler): Promise<JoinedNode> {
  const undo: (() => Promise<unknown>)[] = [];
  try {
    return await join(deps, handler, undo);
  } catch (error) {
    for (const step of undo.reverse()) await step().catch(() => {});
    throw error;
  }
}

async function join(
  deps: ClusterNodeDeps,
  handler: MessageHandler,
  undo: (() => Promise<unknown>)[],
): Promise<JoinedNode> {
  const { env, options } = deps;
  const shared = new SharedBlock();
  const writeLease = new WriteLease(shared, env.clock);
  const leaseGate = new LeaseGate(shared, env.clock);
  undo.push(async () => writeLease.end());
  const opener = new MemberOpener(deps.openDevice, writeLease, env.clock, options.ioTimeoutMs);
  const opened = await openMembers(opener.open, deps.memberPaths);
  undo.push(() => closeAll(opened));
  // Only to learn whose lockspace to join: what it says of the members may be old by the time that we are in it.
  const before = await assembleArray(opened, { run: true, force: options.force });

  const members: MembersInUse = { now: () => ({ array: before.array, devices: before.devices }) };
  // Who is declared dead while it joins must not wait for its lease to come back.
  const feed = new MembershipFeed(() => writeLease.end());
  const lockspace = await deps.joinLockspace({
    name: uuidText(before.array.uuid),
    clusterName: before.array.bitmap.clusterName,
    maxMembers: nodeLimit(before.array),
    listener: feed,
    lease: (...ends) => leaseGate.set(...ends),
    access: accessTo(members, env, deps.nodeName),
  });
  undo.push(() => lockspace.leave());
  // Whoever recovers our slot finishes first; nobody waits for us meanwhile, since we do not listen to messages yet.
  const slotLocks = new SlotLocks(lockspace);
  undo.push(() => slotLocks.close());
  if (!(await slotLocks.takeOwn())) throw new MdError("E_CANCELLED", "the wait for our own slot was cancelled");

  const bus = await MessageBus.open(lockspace, env, handler);
  undo.push(() => bus.close());
  const noNewDev = await GuardedLock.open(lockspace, "no-new-dev", false);
  const resyncLock = await GuardedLock.open(lockspace, "resync", false);
  const exclusive = await GuardedLock.open(lockspace, EXCLUSIVE, false);
  const { array, devices } = await bus.join(async () => {
    // Whoever joins next does so after us, under the token: it sees what we have agreed to.
    await agree(lockspace, slotLocks, options.protocol);
    await noNewDev.convert("CR");
    const found = await readMembers(opened, lockspace, options);
    await takeUse(lockspace, exclusive, found.array);
    const how = options.updateBadBlockLog;
    return how === null ? found : { ...found, array: await updateBadBlockLogs(found.array, found.devices, how) };
  });
  const writer = { array, devices, env, nodeName: deps.nodeName };
  if (!isClustered(array)) await condemnOthers(writer, lockspace.slot);
  members.now = () => ({ array, devices });
  const pill = await introduceUs(writer, lockspace, { feed, leaseGate, members });
  const own = await ownBits(array, devices, lockspace.slot, { alone: lockspace.members.length === 1, log: env.log });
  const config = engineConfig(deps, { array, devices, slot: lockspace.slot, own, pill });
  const engine = new GuardedEngine(await deps.startEngine(config, shared));
  undo.push(() => engine.send({ type: "stop" }));
  await engine.send({ type: "setBalance", balance: "first" });
  return {
    feed,
    members,
    pill,
    lockspace,
    bus,
    slotLocks,
    noNewDev,
    resyncLock,
    exclusive,
    array,
    devices,
    opener,
    engine,
    shared,
    writeLease,
  };
}

/** Null: the members have no room for takeover records. From now on they are asked before a lease comes back. */
async function introduceUs(
  writer: RecordWriter,
  lockspace: Lockspace,
  { feed, leaseGate, members }: { feed: MembershipFeed; leaseGate: LeaseGate; members: MembersInUse },
): Promise<PillReader | null> {
  const { array, env } = writer;
  const pill = await introduce(writer, lockspace.slot, lockspace.incarnation);
  if (pill === null) {
    env.log.warn({ evt: "takeover.no_room", array: array.name }, "no room on the members for takeover records");
    return null;
  }
  const isStillOurs = slotCheck(pill, members, (path) => {
    // Nothing is given back: whoever took the slot over has it already.
    lockspace.abandon();
    feed.fenced(`${path} says that its slot was taken over`);
  });
  leaseGate.askFirst(isStillOurs);
  return pill;
}

/** E_PROTOCOL_VERSION if the others speak what we do not. */
async function agree(lockspace: Lockspace, slotLocks: SlotLocks, range: ProtocolRange): Promise<void> {
  const others: { readonly node: string; readonly speech: Speech }[] = [];
  for (const { node, slot } of lockspace.members) {
    const speech = slot === lockspace.slot ? null : await slotLocks.readSpeech(slot);
    if (speech !== null) others.push({ node, speech });
  }
  await slotLocks.speak({ range, spoken: agreeOnProtocol(range, others) });
}

async function readMembers(
  opened: readonly BlockDevice[],
  lockspace: Lockspace,
  options: ClusterNodeDeps["options"],
): Promise<{ readonly array: MdArray; readonly devices: Map<number, BlockDevice> }> {
  const alone = lockspace.members.length === 1;
  const assembly = await assembleOpened(opened, { run: options.run || !alone, force: options.force && alone });
  if (assembly.missing.length > 0 && !alone) {
    const places = assembly.missing.map(({ raidDisk }) => raidDisk).join(", ");
    throw new MdError("E_NODE_CANNOT_SEE_DEVICE", `the members of raid disk ${places} are not visible on this host`, {
      why: "other nodes use them: what this node wrote would miss them",
    });
  }
  // With nobody else here nobody has a faulty member bound.
  const array = alone ? { ...assembly.array, faultyElsewhere: [] } : assembly.array;
  if (lockspace.slot >= nodeLimit(array)) {
    // It had more when we asked for a slot.
    throw new MdError("E_NODES_FULL", `all ${nodeLimit(array)} slots of "${array.name}" are in use`);
  }
  return { array, devices: new Map(assembly.devices) };
}

interface EngineParts {
  readonly array: MdArray;
  readonly devices: MemberDevices;
  readonly slot: SlotNumber;
  readonly own: OwnBits;
  readonly pill: PillReader | null;
}

function engineConfig({ options }: ClusterNodeDeps, { array, devices, slot, own, pill }: EngineParts): EngineConfig {
  const { layout, daemonSleep } = array.bitmap;
  return {
    name: array.name,
    level: array.level,
    layout: array.layout,
    chunkSectors: array.chunkSectors,
    size: array.size,
    memberSize: array.memberSize,
    raidDisks: array.raidDisks,
    members: array.members.flatMap((member) => {
      const path = devices.get(member.number)?.path;
      if (member.raidDisk === null || path === undefined) return [];
      const state = member.state === "in_sync" ? "in_sync" : "rebuilding";
      const place = firstPlace(member.raidDisk, member, roomFor(array.raidDisks));
      return [engineMember(array, member, place, path, slot, { state, recoveredTo: member.recoveredTo })];
    }),
    bitmap: {
      slot,
      chunkSectors: layout.chunkSectors,
      chunks: layout.chunks,
      flushMs: daemonSleep * 1000,
      superblock: encodeBitmapSuper(inShape(array, own.super)),
      bits: own.bits,
      idle: own.idle,
      stored: array.bitmap.kind !== "none",
      events: array.events,
    },
    pill,
    pillEveryMs: options.pillEveryMs,
    // Read-only is a matter of the exports: takeovers and resyncs write all the same.
    readOnly: false,
    holdsWrites: SafeMode.holdsWritesAtFirst(isClustered(array), options.access),
    ring: options.ring,
    ...(options.ioHold === undefined ? {} : { ioHold: options.ioHold }),
    queueDepth: options.queueDepth,
    copyLeast: options.syncSpeedMin,
    ioTimeoutMs: options.ioTimeoutMs,
    slowIoMs: options.slowIoMs,
    arenaBytes: options.arenaBytes,
  };
}
