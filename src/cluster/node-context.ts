import type { ArrayChange } from "../array/array-state.ts";
import type { MdArray } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import type { Sector, SlotNumber } from "../base/units.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import type { Lockspace } from "../dlm/lockspace.ts";
import type { SharedBlock } from "../engine/shared-block.ts";
import type { Env } from "../env/env.ts";
import type { MessageBus } from "../messages/message-bus.ts";
import type { Scrub } from "../resync/scrub.ts";
import type { AdderFirst } from "./adder-first.ts";
import type { AskedDevice } from "./asked-device.ts";
import type { BadBlockKeeper } from "./bad-block-keeper.ts";
import type { ClusterNodeDeps } from "./cluster-deps.ts";
import type { EngineMembers } from "./engine-members.ts";
import type { EventSteps } from "./event-steps.ts";
import type { Form, PreparedForm } from "./grow-form.ts";
import type { GuardedEngine } from "./guarded-engine.ts";
import type { GuardedLock } from "./guarded-lock.ts";
import type { History } from "./history.ts";
import type { WriteLease } from "./leased-device.ts";
import type { MemberOpener } from "./member-opener.ts";
import type { NodeEvent, NodeState } from "./node-machine.ts";
import type { OwnWindow } from "./own-window.ts";
import type { SafeMode } from "./safe-mode.ts";
import type { SlotLocks } from "./slot-locks.ts";
import type { SpeedLimit } from "./speed-limit.ts";

/** A device that we have confirmed (NEWDISK) and that the array does not list yet. */
export interface CandidateDevice {
  readonly device: BlockDevice;
  readonly deviceUuid: Uint8Array;
}

/** Another node's resync, as its messages tell. */
interface RemoteSync {
  readonly since: number;
}

/** Of a member, on this node. `corrected`: sectors that no superblock counts yet. */
interface ErrorCounts {
  read: number;
  write: number;
  corrected: number;
}

/**
 * What the parts of a node share. `array` and `devices` change only while the token is held or a message is handled:
 * the bus lets these two exclude each other, so neither needs a lock of its own.
 */
export interface NodeContext {
  readonly deps: ClusterNodeDeps;
  readonly env: Env;
  readonly history: History;
  readonly lockspace: Lockspace;
  readonly bus: MessageBus;
  readonly engine: GuardedEngine;
  readonly shared: SharedBlock;
  readonly writeLease: WriteLease;
  readonly opener: MemberOpener;
  readonly slotLocks: SlotLocks;
  readonly noNewDev: GuardedLock;
  readonly resyncLock: GuardedLock;
  /** See `takeUse`. */
  readonly exclusive: GuardedLock;
  readonly ownWindow: OwnWindow;
  readonly speedLimit: SpeedLimit;
  readonly safeMode: SafeMode;
  readonly scrub: Scrub;
  readonly members: EngineMembers;
  readonly badBlocks: BadBlockKeeper;
  /** Open members by number. */
  readonly devices: Map<number, BlockDevice>;
  readonly candidates: Map<number, CandidateDevice>;
  readonly asked: AskedDevice;
  readonly adderFirst: AdderFirst;
  /** By slot. */
  readonly remoteSyncs: Map<SlotNumber, RemoteSync>;
  /** How often each slot was asked for its state: an answer to anything but the last question is old. */
  readonly questions: Map<SlotNumber, number>;
  /** By member number. */
  readonly errors: Map<number, ErrorCounts>;
  array: MdArray;
  /** What the data plane and our bitmap are made for, and the change of it that is not over yet. */
  form: Form;
  prepared: PreparedForm | null;
  /** Ends with the last change of `form` that was begun. */
  formChange: Promise<unknown>;
  /** Sectors that clients of this node may ask for. */
  capacity: Sector;
  /** Whether this node has clients, and what they may do. */
  exported: "no" | "read-only" | "writable";
  /** The highest event number that this node has written anywhere, also for an update that failed. */
  usedEvents: number;
  /** See `EventSteps`. */
  readonly eventSteps: EventSteps;
  /** What the others are doing; changes by `dispatch` alone. */
  node: NodeState;
  dispatch(event: NodeEvent): void;
  /** The array's members have changed, or bits were merged: see whether there is something to copy. */
  lookForWork(): void;
  /** This node cannot go on: it stops at once and leaves the rest to the others. */
  fail(reason: string): void;
}

export function countError(context: NodeContext, number: number, kind: "read" | "write"): void {
  countsOf(context, number)[kind]++;
}

/** Sectors that were rewritten and read again. */
export function countCorrected(context: NodeContext, number: number, sectors: number): void {
  countsOf(context, number).corrected += sectors;
}

function countsOf({ errors }: NodeContext, number: number): ErrorCounts {
  const counts = errors.get(number) ?? { read: 0, write: 0, corrected: 0 };
  errors.set(number, counts);
  return counts;
}

/** The array as it is to be written: superblocks count what was corrected, as md's do. See `correctedWritten`. */
export function withCorrected({ errors }: NodeContext, array: MdArray): MdArray {
  const members = array.members.map((member) => {
    const counts = errors.get(member.number);
    if (counts === undefined || counts.corrected === 0) return member;
    return { ...member, correctedReads: member.correctedReads + counts.corrected };
  });
  return { ...array, members };
}

/** `written` is on the members: what it counts, beyond what `before` did, need not be counted here any more. */
export function correctedWritten({ errors }: NodeContext, before: MdArray, written: MdArray): void {
  for (const { number, correctedReads } of before.members) {
    const counts = errors.get(number);
    const now = written.members.find((member) => member.number === number);
    if (counts === undefined || now === undefined) continue;
    counts.corrected = Math.max(0, counts.corrected - Math.max(0, now.correctedReads - correctedReads));
  }
}

/** E_VALUE for a device whose blocks are larger than those in which the data plane of this array writes. */
export function checkBlockSize({ array, devices }: NodeContext, device: BlockDevice): void {
  const active = array.members.filter(({ raidDisk }) => raidDisk !== null);
  const largest = Math.max(512, ...active.map(({ number }) => devices.get(number)?.logicalBlockSize ?? 0));
  if (device.logicalBlockSize <= largest) return;
  const blocks = `blocks of ${device.logicalBlockSize} bytes, "${array.name}" has blocks of ${largest}`;
  throw new MdError("E_VALUE", `${device.path} cannot be a member: it has ${blocks}`);
}

/** The array's name without its host, for texts. */
export const shortName = ({ array }: NodeContext): string => array.name.slice(array.name.indexOf(":") + 1);

/** `name[number]` as in mdstat, for texts. */
export function memberText(context: NodeContext, number: number): string {
  const path = context.devices.get(number)?.path;
  return path === undefined ? `member ${number}` : `${path.split("/").at(-1) ?? path}[${number}]`;
}

/** Tells people what became of the members. */
export function recordChanges(context: NodeContext, changes: readonly ArrayChange[], by: string): void {
  for (const change of changes) {
    const who = memberText(context, change.number);
    const fields = { ...change, by };
    switch (change.type) {
      case "failed":
        context.history.add("error", "FAIL", `${who} is faulty on all nodes (${by})`, fields);
        break;
      case "removed":
        context.history.add("info", "REMOVE", `${who} was removed (${by})`, fields);
        break;
      case "added":
        context.history.add("info", "ADD", `${who} was added (${by})`, fields);
        break;
      case "rebuilding":
        if (change.isReplacement && change.recoveredTo === 0)
          context.history.add(
            "info",
            "REPLACE",
            `${who} is to replace the member of raid disk ${change.raidDisk}`,
            fields,
          );
        else if (change.recoveredTo === 0)
          context.history.add("info", "RECOVER", `${who} takes raid disk ${change.raidDisk} and is filled`, fields);
        break;
      case "rebuilt":
        context.history.add("info", "INSYNC", `${who} is in sync on raid disk ${change.raidDisk}`, fields);
        break;
    }
  }
}
