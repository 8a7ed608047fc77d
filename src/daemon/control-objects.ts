import type { MdErrorCode } from "../base/md-error.ts";

/** The shared JSON objects of the control API (command line specification, 5): values, the same wherever they appear. */

export type Level = "raid1" | "raid10";
export type Verdict = "ok" | "notice" | "degraded" | "failed" | "frozen" | "unknown";
export type ArrayState =
  | "clear"
  | "inactive"
  | "suspended"
  | "readonly"
  | "read-auto"
  | "clean"
  | "active"
  | "write-pending"
  | "active-idle";
export type Health = "optimal" | "degraded" | "failed" | "unknown";
export type MemberRole = "active" | "spare" | "replacement" | "faulty" | "removed" | "missing";
export type MemberFlag = "write-mostly" | "failfast" | "blocked" | "want-replacement" | "write-error";
export type NodeState = "up" | "joining" | "leaving" | "suspect" | "down" | "evicted";

export interface ArrayInfo {
  readonly name: string;
  /** What the array is called in the file system, whether or not it is mapped: /dev/mdctl/NAME. */
  readonly path: string;
  /** md notation, a:b:c:d. */
  readonly uuid: string;
  readonly homehost: string | null;
  readonly homeCluster: string | null;
  readonly metadata: "1.2" | "1.1" | "1.0";
  readonly level: Level;
  readonly layout: string | null;
  readonly chunkBytes: number | null;
  readonly raidDevices: number;
  readonly totalDevices: number;
  readonly activeDevices: number;
  readonly workingDevices: number;
  readonly failedDevices: number;
  readonly spareDevices: number;
  readonly sizeBytes: number;
  readonly usedDevBytes: number;
  /** Of the first member (members may differ; each has its own in `members`). */
  readonly dataOffsetBytes: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly events: number;
  readonly state: ArrayState;
  /** Without a write for so long an active array is clean again; 0: it is not before its end, or is clustered. */
  readonly safeModeDelaySeconds: number;
  readonly health: Health;
  readonly degradedBy: number;
  readonly consistency: "none" | "resync" | "bitmap";
  readonly clustered: boolean;
  readonly nodesMax: number | null;
  readonly slot: number | null;
  /** Node that answered. */
  readonly node: string;
  readonly members: readonly Member[];
  readonly sync: Sync;
  readonly bitmap: Bitmap | null;
  readonly suspended: readonly Range[];
  readonly nodes: readonly NodeInfo[];
  readonly mapping: Mapping | null;
  /** Locks of this array are not granted now. */
  readonly frozen: FrozenInfo | null;
  /** Of the check or repair under way on this node, else of its last one. */
  readonly mismatch: Mismatches;
  /** The data plane's way to the members, e.g. kind "io_uring"; `about` says why it was chosen. */
  readonly ring: { readonly kind: string; readonly about: string };
  readonly readBalance: "balanced" | "first";
  /** Copied since this node assembled the array, resync and recovery. */
  readonly copiedBytes: number;
}

/** Null: this node has checked nothing yet. */
export interface Mismatches {
  /** mismatch_cnt, as md counts: 128 for each copy that differs in a request of 64 KiB. */
  readonly sectors: number | null;
  /** When it ended; null while it is under way. */
  readonly lastCheckAt: string | null;
  readonly lastAction: "check" | "repair" | null;
  /** `reason`: what is the matter, and with which members. */
  readonly ranges: readonly Range[];
  /** There were more than are listed. */
  readonly isCut: boolean;
  /** Something differs still. */
  readonly left: boolean;
  readonly state: "running" | "finished" | "stopped" | null;
  /** What stopped it. */
  readonly why: string | null;
  /** What was to be compared, and up to where it is. */
  readonly fromBytes: number | null;
  readonly toBytes: number | null;
  readonly reachedBytes: number | null;
}

export interface Member {
  /** Descriptor number; -1 for an empty slot. */
  readonly number: number;
  readonly slot: number | null;
  readonly role: MemberRole;
  readonly inSync: boolean;
  readonly flags: readonly MemberFlag[];
  readonly path: string | null;
  readonly byId: string | null;
  readonly serial: string | null;
  readonly model: string | null;
  readonly deviceUuid: string | null;
  readonly sizeBytes: number | null;
  readonly dataOffsetBytes: number | null;
  readonly events: number | null;
  readonly recoveryOffsetBytes: number | null;
  readonly errors: {
    readonly read: number;
    readonly corrected: number;
    readonly write: number;
    readonly checksum: number | null;
    readonly lastAt: string | null;
  };
  readonly badBlocks: number;
  readonly seenBy: readonly { readonly node: string; readonly path: string | null }[];
  /** Block device numbers on this host; null for files and for what is not here. */
  readonly major: number | null;
  readonly minor: number | null;
}

export interface Sync {
  readonly action: "idle" | "frozen" | "resync" | "recover" | "check" | "repair" | "reshape";
  readonly status: "none" | "running" | "pending" | "delayed" | "remote" | "frozen";
  readonly why: "created" | "unclean" | "node-failure" | "spare" | "re-add" | "replace" | "grow" | "requested" | null;
  /** Who runs it, also when remote. */
  readonly node: string | null;
  readonly from: readonly number[];
  readonly to: readonly number[];
  /** Null while pending, delayed or unknown; so are the next four. */
  readonly doneBytes: number | null;
  readonly totalBytes: number | null;
  /** One decimal, truncated; 0..100. */
  readonly percent: number | null;
  readonly dirtyBytesLeft: number | null;
  readonly speedBytesPerSecond: number | null;
  readonly limitBytesPerSecond: number | null;
  /** What is slower makes no room for requests of clients. */
  readonly leastBytesPerSecond: number;
  readonly etaSeconds: number | null;
  readonly etaLowSeconds: number | null;
  readonly etaHighSeconds: number | null;
  readonly startedAt: string | null;
  readonly waitingFor: string | null;
  /** 0 unless running here. */
  readonly stalledSeconds: number;
}

export interface Bitmap {
  readonly type: "internal" | "clustered";
  readonly version: number;
  readonly chunkBytes: number;
  readonly flushSeconds: number | null;
  readonly slots: readonly BitmapSlot[];
  readonly unionDirty: number | null;
  readonly unionDirtyPercent: number | null;
}

export interface BitmapSlot {
  readonly slot: number;
  readonly node: string | null;
  readonly state: "ok" | "stale" | "unreadable";
  readonly events: number | null;
  readonly eventsCleared: number | null;
  readonly bits: number;
  /** Null where this answer did not read the slot from disk (`detail` does, `status` knows only its own). */
  readonly dirty: number | null;
  readonly lock: { readonly mode: string | null; readonly holder: string | null };
}

export interface Range {
  readonly loBytes: number;
  readonly hiBytes: number;
  readonly byNode: string | null;
  readonly reason: string;
  readonly since: string | null;
}

export interface NodeInfo {
  readonly name: string;
  readonly slot: number | null;
  readonly state: NodeState;
  /** Since its renewal counter was last seen to move. Null: not known. Of the node that answers: since its last renewal. */
  readonly lastSeenSeconds: number | null;
  /** Null: nodes talk to each other through the lock service alone. */
  readonly rttMillis: number | null;
  readonly protocol: number | null;
  readonly version: string | null;
  readonly frozen: boolean;
  readonly frozenWhy: string | null;
  /** What becomes of it: when it is declared dead, who fences it, what of it is taken over. Null: nothing. */
  readonly note: string | null;
  /** What makes sure that it writes no more before others take over, e.g. "lease only". */
  readonly protection: string;
  /** Names of the arrays that it has assembled, as far as the answering node shares them. */
  readonly arrays: readonly string[];
}

/** A lockspace of this node: one that the daemons of the cluster share, and one an array. */
export interface LockspaceInfo {
  /** Null: the daemons' own. */
  readonly array: string | null;
  readonly epoch: number;
  readonly generation: number;
  readonly members: readonly string[];
  /** For so long this node may go on writing without another renewal; 0: it must not write. */
  readonly writeSeconds: number;
  /** Its lock table is being rebuilt from what its members hold. */
  readonly remastering: Remastering | null;
}

export interface Remastering {
  /** What showed that the lock server's state is lost. */
  readonly reason: string;
  readonly sinceSeconds: number;
  readonly reported: readonly string[];
  readonly missing: readonly string[];
  /** When those that are missing are evicted at the latest; null: it cannot be told. */
  readonly limitSeconds: number | null;
  /** What two nodes claim and cannot both hold. */
  readonly conflicts: readonly LockConflictInfo[];
}

export interface LockConflictInfo {
  readonly resource: string;
  readonly holders: readonly { readonly node: string; readonly mode: string }[];
}

export interface LockServiceInfo {
  readonly kind: "redis" | "embedded";
  /** Without credentials. */
  readonly address: string;
  readonly reachable: boolean;
  /** Since the last renewal that it acknowledged was sent. */
  readonly lastContactSeconds: number | null;
  readonly roundTripMillis: number | null;
  readonly frozen: FrozenInfo | null;
}

/** Lock operations wait: what happened, what ends it, and when at the latest. */
export interface FrozenInfo {
  /** Since it was found out. */
  readonly sinceSeconds: number;
  /** One sentence, e.g. `lock service redis://10.0.0.5:6379 lost 3.2 s ago; writes to clustered arrays wait`. */
  readonly text: string;
  /** `re-mastering: 2 of 3 nodes reported`; null: nothing has begun. */
  readonly progress: string | null;
  /** Nodes, while that goes on. */
  readonly reported: readonly string[];
  readonly missing: readonly string[];
  /** What ends it and when: `IO resumes when n3 reports or is evicted, at the latest in 11 s`. */
  readonly resumes: string;
  /** What ends it where waiting does not. */
  readonly command: string | null;
  readonly limitSeconds: number | null;
  /** True: some write would wait now. False: they go on under the leases. */
  readonly writesWait: boolean;
  /** Requests that wait on this node now. */
  readonly waiting: number;
}

export interface Mapping {
  /** A path of a Unix socket for nbd, or HOST:PORT. */
  readonly device: string;
  /** What NBD clients take, e.g. nbd+unix:///md0?socket=/run/mdctl/n1/md0.nbd.sock */
  readonly uri: string;
  readonly frontend: "ublk" | "nbd";
  readonly readOnly: boolean;
  readonly queues: number;
  readonly depth: number;
  readonly openCount: number | null;
  readonly io: {
    readonly state: "normal" | "suspended" | "error" | "discard";
    readonly readOps: number;
    readonly writeOps: number;
    readonly readBytes: number;
    readonly writeBytes: number;
    readonly inflight: number;
    readonly slowOps: number | null;
    readonly errors: number;
  };
  readonly throttle: {
    readonly readBps: number | null;
    readonly writeBps: number | null;
    readonly readIops: number | null;
    readonly writeIops: number | null;
  };
}

export interface Change {
  readonly what: string;
  readonly target: string;
  readonly before: unknown;
  readonly after: unknown;
}

export interface Operation {
  readonly id: string;
  readonly command: string;
  readonly state: "running" | "done" | "failed" | "cancelled";
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly result: ErrorInfo | null;
}

export interface ErrorInfo {
  readonly code: MdErrorCode;
  readonly message: string;
  readonly hint: string | null;
  readonly details: Readonly<Record<string, unknown>>;
  /** Outermost first. */
  readonly causes: readonly { readonly code: string; readonly message: string; readonly node?: string }[];
}

export interface Note {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** One line of the daemon's journal. */
export interface HistoryEvent {
  /** Ascending within a life of the daemon; what `events --since` takes. */
  readonly sequence: number;
  readonly time: string;
  readonly severity: "info" | "warn" | "error";
  readonly node: string | null;
  /** Name of the array. */
  readonly array: string | null;
  /** One word, e.g. FAIL, RECOVER, NODEDOWN, TAKEOVER, RESYNCED. */
  readonly event: string;
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}
