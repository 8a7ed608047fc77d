import type { BitmapKind } from "../array/md-array.ts";
import type { Sector, SectorRange, SlotNumber } from "../base/units.ts";
import type { Frozen } from "../dlm/lockspace.ts";
import type { MessageStatistics } from "../messages/message-statistics.ts";
import type { ScrubReport } from "../resync/scrub.ts";
import type { Access, Activity } from "./safe-mode.ts";

/** What a member is to the array. `spare` has no raidDisk; `blocked`: failed here, not yet known as faulty everywhere. */
type MemberStatusState = "in_sync" | "rebuilding" | "spare" | "blocked" | "faulty" | "missing";

export interface MemberStatus {
  /** Descriptor number (index into dev_roles), -1 for a raid_disk without a device. */
  readonly number: number;
  readonly raidDisk: number | null;
  /** Null when the device cannot be found on this host. */
  readonly path: string | null;
  readonly deviceUuid: Uint8Array | null;
  readonly state: MemberStatusState;
  readonly writeMostly: boolean;
  readonly failfast: boolean;
  /** Rebuilding: its raid_disk has another member, which it replaces when it is whole. */
  readonly isReplacement: boolean;
  /** Rebuilding: sectors from the start of data that are good. */
  readonly recoveredTo: Sector;
  readonly readErrors: number;
  /** Sectors that were rewritten and read again. */
  readonly correctedReads: number;
  readonly writeErrors: number;
  /** Entries of its bad-block log. */
  readonly badBlocks: number;
}

/** resync: mirrors may differ in chunks with a bit. recover: a member is filled. check, repair: copies are compared. */
export interface SyncStatus {
  readonly action: "resync" | "recover" | "check" | "repair";
  /**
   * running here; remote: another node does it; delayed: another node copies, and then we have chunks of our own; pending:
   * waits for the cluster's `resync` lock, without having heard who has it; a check also for others to settle.
   */
  readonly phase: "running" | "pending" | "delayed" | "remote";
  /** The node that copies, null if pending. */
  readonly slot: SlotNumber | null;
  /** Tenths of a percent, truncated; null unless running here. */
  readonly permille: number | null;
  /** Sectors: of chunks with a bit for a resync, of the member for a recovery. */
  readonly done: number;
  readonly total: number;
  /** Sectors per second, mean of the last 30 s; null before there are 5 s of data. */
  readonly speed: number | null;
  /** Seconds, [soonest, latest]; null while it cannot be told. */
  readonly eta: readonly [number, number] | null;
  /** What a check waits for, if not for the `resync` lock. */
  readonly waitsFor?: string;
  /** The announced window, array sectors. */
  readonly window: SectorRange | null;
  /** Seconds without progress. */
  readonly stalledFor: number;
}

export interface SlotStatus {
  readonly slot: SlotNumber;
  /** Null: nobody has it. */
  readonly node: string | null;
  readonly state: "up" | "recovering" | "free";
  /** The range that it resyncs: our writes wait there. */
  readonly window: SectorRange | null;
  /** It said (or we must assume) that it has chunks that need a resync. */
  readonly needsResync: boolean;
}

interface BitmapStatus {
  readonly chunkSectors: number;
  readonly chunks: number;
  /** `none`: kept in memory alone. */
  readonly kind: BitmapKind;
  /** Of our own slot: chunks with a bit, and those of them that need a resync. */
  readonly dirty: number;
  readonly needed: number;
}

/** Something that happened, for people: the history of `mdctl history` and the dashboard. */
export interface ArrayEvent {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly severity: "info" | "warn" | "error";
  /** One word, e.g. FAIL, RECOVER, NODEDOWN, JOIN, FINISH. */
  readonly code: string;
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Everything that `status`, `detail` and the dashboard show of an array on this node. A value: nothing in it changes later. */
export interface ArrayStatus {
  readonly uuid: Uint8Array;
  readonly name: string;
  readonly level: number;
  /** RAID10: the layout word, and sectors of a chunk; else 0. */
  readonly layout: number;
  readonly chunkSectors: number;
  readonly clusterName: string;
  /** Exported sectors. */
  readonly size: Sector;
  /** Sectors used on each member. */
  readonly memberSize: Sector;
  readonly raidDisks: number;
  readonly events: number;
  /** Seconds since 1970. */
  readonly created: number;
  readonly updated: number;
  /** One letter a raid_disk: U in sync, _ otherwise. */
  readonly health: string;
  readonly state: "joining" | "active" | "degraded" | "failed" | "leaving" | "fenced" | "stopped";
  /** What this node lets clients do. */
  readonly access: Access;
  /** Of an array that one node uses alone what its superblocks say; else by our own bitmap. */
  readonly activity: Activity;
  /** Milliseconds; 0: off. */
  readonly safeModeDelayMs: number;
  readonly node: string;
  readonly slot: SlotNumber;
  /** Null: an array that one node uses alone. */
  readonly maxSlots: number | null;
  readonly generation: number;
  readonly members: readonly MemberStatus[];
  readonly sync: SyncStatus | null;
  /** Nothing is resynced, filled or compared by this node until an operator says so. */
  readonly isFrozen: boolean;
  /** The check or repair of this node: under way, or the last one. */
  readonly scrub: ScrubReport | null;
  readonly bitmap: BitmapStatus;
  readonly slots: readonly SlotStatus[];
  readonly messages: MessageStatistics;
  readonly lockServerReachable: boolean;
  /** The lock server has lost its state and the nodes rebuild it; null in ordinary times. */
  readonly frozen: Frozen | null;
  readonly readBalance: "balanced" | "first";
  readonly ring: { readonly kind: string; readonly about: string };
  /** KiB per second that this node copies beside requests of clients, too. */
  readonly syncSpeedMin: number;
  /** KiB per second that this node may copy at most; 0: no limit. */
  readonly syncSpeedMax: number;
  /** Sectors copied since start, resync and recovery. */
  readonly copiedSectors: number;
}
