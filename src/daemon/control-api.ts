import type { BitmapKind } from "../array/md-array.ts";
import type { BadBlockUpdate } from "../cluster/bad-block-update.ts";
import type { Access } from "../cluster/safe-mode.ts";
import type {
  ArrayInfo,
  Change,
  ErrorInfo,
  HistoryEvent,
  LockConflictInfo,
  LockServiceInfo,
  LockspaceInfo,
  Mapping,
  NodeInfo,
  Note,
  Operation,
  Sync,
  Verdict,
} from "./control-objects.ts";

export type { BadBlockUpdate } from "../cluster/bad-block-update.ts";
export type { Access } from "../cluster/safe-mode.ts";
export type * from "./control-objects.ts";

/**
 * What a daemon says on its control socket: newline-delimited JSON over a Unix socket. A client writes one
 * `ControlRequest` a line; the daemon answers each with exactly one `ControlReply` of the same id, in any order, and
 * with any number of `ControlEvent`s before it. Sizes are bytes, times RFC 3339, unknown is null (command line
 * specification, 2.3 and 5). Within a version fields are only ever added.
 */
export const CONTROL_API_VERSION = 1;

/** A request line may be this long, in bytes with its newline; a longer one ends the connection. */
export const MAX_REQUEST_BYTES = 1024 * 1024;

export interface ClusterSummary {
  readonly name: string | null;
  /** Not a vote: can this node reach the lock service and keep its leases. */
  readonly quorum: boolean;
  readonly nodesUp: number;
  readonly nodesTotal: number;
  readonly lockService: "ok" | "lost";
  /** Where it is, without credentials. */
  readonly lockServer: string;
  readonly service: LockServiceInfo;
}

/** What makes sure that a dead node writes no more. */
export interface FencingInfo {
  /** The methods in words, the same on all nodes. */
  readonly methods: string;
  /** Nothing but the lease: a warning. */
  readonly leaseOnly: boolean;
}

export interface ClusterStatusData {
  readonly cluster: ClusterSummary;
  readonly nodes: readonly NodeInfo[];
  readonly lockspaces: readonly LockspaceInfo[];
  readonly fencing: FencingInfo;
  /** What the nodes speak; null where one has not told. */
  readonly protocol: { readonly own: number; readonly lowest: number | null; readonly highest: number | null };
}

export interface Advice {
  readonly text: string;
  readonly command: string | null;
}

export interface StatusData {
  readonly verdict: Verdict;
  /** The node that answers. */
  readonly node: string;
  readonly cluster: ClusterSummary;
  /** By name. */
  readonly arrays: readonly ArrayInfo[];
  /** By slot, then name. */
  readonly nodes: readonly NodeInfo[];
  readonly operations: readonly Operation[];
  readonly advice: readonly Advice[];
}

export interface EvictData {
  readonly node: string;
  /** Where it was a member; array null: the list of nodes. Empty: nowhere any more. */
  readonly evicted: readonly { readonly array: string | null; readonly slot: number }[];
  readonly waitedSeconds: number;
}

export interface LocksData {
  readonly array: string;
  readonly generation: number;
  /** Members of the lockspace, and those that died and whose slots are being taken over, by slot. */
  readonly nodes: readonly string[];
  /** The lock server has lost them: the resources are what its members have reported so far. */
  readonly rebuilding: boolean;
  readonly resources: readonly LockResource[];
  readonly blocked: readonly {
    readonly node: string;
    readonly resource: string;
    readonly behind: readonly string[];
    readonly waitSeconds: number | null;
    readonly why: string;
  }[];
  /** What two nodes claim and cannot both hold. */
  readonly conflicts: readonly LockConflictInfo[];
}

/**
 * Times are measured on the node that answers, from when it first knew of a state: late by at most a renewal interval;
 * null for what was so before it came.
 */
export interface LockResource {
  readonly name: string;
  /** By slot. */
  readonly grants: readonly { readonly node: string; readonly mode: string }[];
  /** In the order of the queue; a converter keeps `from` meanwhile. */
  readonly convert: readonly {
    readonly node: string;
    readonly from: string;
    readonly to: string;
    readonly waitSeconds: number | null;
  }[];
  /** In the order of the queue. */
  readonly queue: readonly { readonly node: string; readonly mode: string; readonly waitSeconds: number | null }[];
  readonly value: { readonly hex: string | null; readonly decoded: string } | null;
  /** Since the last grant that stands. */
  readonly ageSeconds: number | null;
}

export interface DrainData {
  readonly node: string;
  readonly arrays: readonly {
    readonly name: string;
    /** It was resyncing, and another node goes on. */
    readonly moved: boolean;
    readonly stopped: boolean;
    readonly error: ErrorInfo | null;
  }[];
  readonly left: boolean;
}

export interface MessagesData {
  readonly array: string;
  readonly sent: Readonly<Record<string, number>>;
  readonly received: Readonly<Record<string, number>>;
  readonly skipped: Readonly<Record<string, number>>;
  /** Of this node's messages, those that some other node did not carry out; and others' that this node did not. */
  readonly refused: Readonly<Record<string, number>>;
  readonly failed: Readonly<Record<string, number>>;
  readonly lastRefusal: string | null;
  readonly lastRoundTripMillis: number | null;
  /** What this node said last, the newest last. */
  readonly last: readonly MessageInfo[];
}

export interface MessageInfo {
  readonly message: string;
  readonly time: string;
  /** The wait for the token, for the lock `message`, and for all acknowledgements; null: there was none. */
  readonly tokenMillis: number | null;
  readonly messageMillis: number | null;
  readonly ackMillis: number;
  /** Nodes that had not acknowledged when that took long, and for how long at least. */
  readonly slow: readonly { readonly node: string; readonly millis: number }[];
}

export interface PingData {
  readonly apiVersion: number;
  readonly version: string;
  readonly node: string;
  readonly cluster: string | null;
  readonly pid: number;
  readonly startedAt: string;
  /** Regular files may be members of new arrays. */
  readonly fileMembers: boolean;
  readonly lockServer: string;
}

export interface CreateParams {
  /** Null: the lowest free mdN. */
  readonly name: string | null;
  readonly level: 1 | 10;
  /** RAID10: n2, n3...; null for n2. */
  readonly layout: string | null;
  /** RAID10; null for 512 KiB. */
  readonly chunkBytes: number | null;
  /** In order of raid_disk; null for the word `missing`. Absolute paths. */
  readonly members: readonly (string | null)[];
  /** Absolute paths. */
  readonly spares: readonly string[];
  /** Of members and spares. */
  readonly writeMostly: readonly string[];
  readonly failfast: readonly string[];
  /** Null: clustered. */
  readonly bitmap: BitmapKind | null;
  readonly nodes: number | null;
  /** Null: the daemon's cluster. */
  readonly homeCluster: string | null;
  readonly homehost: string | null;
  readonly bitmapChunkBytes: number | null;
  readonly flushSeconds: number | null;
  /** Bytes used of each member; null for the largest common size. */
  readonly sizeBytes: number | null;
  readonly dataOffsetBytes: number | null;
  /** Any 128-bit spelling; null for a random one. */
  readonly uuid: string | null;
  readonly assumeClean: boolean;
  /** Go on although a member holds something (the question was answered). */
  readonly run: boolean;
  readonly force: boolean;
  readonly readOnly: boolean;
  readonly fileMembers: boolean;
  readonly map: boolean;
  readonly frontend: MapParams["frontend"];
  /** Only look and refuse or tell; nothing is written. */
  readonly dryRun: boolean;
}

/** Something odd about a member that the one question of `create` lists. */
export interface Finding {
  readonly path: string;
  readonly text: string;
}

export interface ZeroSuperblockParams {
  readonly members: readonly string[];
  readonly fileMembers: boolean;
  /** Superblocks that are broken, too. */
  readonly force: boolean;
  readonly dryRun: boolean;
}

export interface WipedMember {
  readonly path: string;
  /** What it was a member of; null: nothing that can be read says it. */
  readonly array: string | null;
  readonly uuid: string | null;
  /** In the order in which it was wiped; empty: there was nothing. */
  readonly wiped: readonly string[];
}

export interface CreateData {
  /** Null for a dry run. */
  readonly array: ArrayInfo | null;
  readonly op: Operation | null;
  readonly changes: readonly Change[];
}

export interface AssembleParams {
  /** How the array was named, null for any that is found (`--scan`) or that the members tell. */
  readonly array: string | null;
  readonly uuid: string | null;
  readonly name: string | null;
  /** Absolute paths; empty: search this host. */
  readonly members: readonly string[];
  readonly scan: boolean;
  readonly run: boolean;
  readonly noDegraded: boolean;
  readonly force: boolean;
  readonly readOnly: boolean;
  readonly homeCluster: string | null;
  /** Changes how many nodes may use the array at once, while nobody else does. Null: as it is. */
  readonly updateNodes: number | null;
  /** Gives or takes the members' bad-block logs, of an array that one node uses. Null: they are as they are. */
  readonly updateBadBlockLog?: BadBlockUpdate | null;
  readonly map: boolean;
}

export interface AssembleData {
  readonly arrays: readonly {
    readonly array: ArrayInfo | null;
    readonly name: string;
    readonly uuid: string;
    readonly started: boolean;
    readonly why: string | null;
    readonly error: ErrorInfo | null;
  }[];
}

/** `cluster-confirm`: its member is `NUMBER:PATH` or `NUMBER:missing`. */
export type ManageOpName = "add" | "re-add" | "add-spare" | "fail" | "remove" | "replace" | "cluster-confirm";

export interface ManageOp {
  readonly op: ManageOpName;
  readonly member: string;
  /** replace: the spare; null for any. */
  readonly with?: string | null;
  /** add, re-add, add-spare: how the device is marked from then on. */
  readonly flags?: readonly ManageFlag[];
}

export type ManageFlag = "write-mostly" | "readwrite" | "failfast" | "nofailfast";

export interface ManageParams {
  /** Null: the only one. */
  readonly array: string | null;
  /** Strictly in this order; the first failure stops the rest. */
  readonly ops: readonly ManageOp[];
}

export interface ManageData {
  readonly array: string;
  readonly ops: readonly {
    readonly op: ManageOpName;
    readonly member: string;
    readonly result: "done" | "failed" | "not-tried";
    readonly as: "spare" | "re-add" | null;
    /** Descriptor number, where it is known. */
    readonly number: number | null;
    /** replace: the spare that is filled. */
    readonly by: { readonly number: number; readonly path: string | null } | null;
    readonly perNode: readonly { readonly node: string; readonly seen: boolean; readonly path: string | null }[];
    readonly error: ErrorInfo | null;
  }[];
  readonly changes: readonly Change[];
}

export interface GrowParams {
  readonly array: string | null;
  /** Of each member; null: as it is, unless `sizeMax`, which takes what all have. */
  readonly sizeBytes: number | null;
  readonly sizeMax: boolean;
  readonly raidDevices: number | null;
  readonly bitmapChunkBytes: number | null;
  /** RAID10: of a stripe's chunk. */
  readonly chunkBytes: number | null;
  /** Another kind of bitmap, or none; with `nodes`, if it is clustered. Goes with nothing else. */
  readonly bitmap: BitmapKind | null;
  /** How many nodes may use the array at once. */
  readonly nodes: number | null;
  /** Members to add in the same step. */
  readonly add: readonly string[];
  /** What is new to the array is equal on all members: no resync of it. */
  readonly assumeClean: boolean;
  /** E_CONFIRM for a smaller size without it. */
  readonly mayShrink: boolean;
  /** Tell what would change, change nothing. */
  readonly dryRun: boolean;
}

export interface GrowData {
  readonly array: string;
  /** `size`, `bitmap-chunk` and `chunk` in bytes. */
  readonly changes: readonly Change[];
  readonly shrinks: boolean;
  /** Of an array that shrinks: what it seems to hold, e.g. a file system. */
  readonly content: string | null;
  /** Null: nothing was changed yet. */
  readonly sync: Sync | null;
}

export interface MapParams {
  readonly array: string | null;
  /** auto: a ublk disk where that can be had, else NBD. */
  readonly frontend: "auto" | "ublk" | "nbd";
  /** Of a ublk disk; null: 1 and 128. */
  readonly queues: number | null;
  readonly depth: number | null;
  /** Only a disk whose daemon died: it goes on where it was. */
  readonly recover: boolean;
  readonly readOnly: boolean;
  /** Null: a Unix socket in the daemon's directory. Else `HOST:PORT`, loopback only, or `unix:PATH`. */
  readonly listen: string | null;
}

/** How one array is named in a request: any form of the command line specification 1.3, or null for the only one. */
export interface ArrayParams {
  readonly array: string | null;
}

/** Method name -> what it takes, what it answers, what it may tell before the answer. */
/** One line of a trace, as `mdctl trace` keeps it; the fields are told in env/step-trace.ts and dlm/hold-trace.ts. */
export interface TraceRecord {
  readonly n: number;
  readonly node: string;
  readonly evt: string;
  /** Milliseconds of CLOCK_MONOTONIC. */
  readonly at: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly [field: string]: unknown;
}

export interface ControlMethods {
  ping: { params: Record<string, never>; data: PingData; event: never };
  status: { params: Record<string, never>; data: StatusData; event: never };
  /** Sends the status now and then whenever it changed, at most every `intervalSeconds`; ends with the connection. */
  watch: { params: { readonly intervalSeconds: number }; data: null; event: StatusData };
  detail: { params: ArrayParams; data: { readonly array: ArrayInfo }; event: never };
  create: { params: CreateParams; data: CreateData; event: never };
  zeroSuperblock: { params: ZeroSuperblockParams; data: { readonly members: readonly WipedMember[] }; event: never };
  assemble: { params: AssembleParams; data: AssembleData; event: never };
  stop: {
    params: { readonly arrays: readonly string[]; readonly scan: boolean };
    data: {
      readonly arrays: readonly {
        readonly name: string;
        readonly stopped: boolean;
        readonly error: ErrorInfo | null;
      }[];
    };
    event: never;
  };
  grow: { params: GrowParams; data: GrowData; event: never };
  manage: { params: ManageParams; data: ManageData; event: never };
  /**
   * Of this array on this node: sync_action, and KiB per second that may be copied or compared, 0 for no limit, and so
   * many as do not yield to requests of clients. `source`:
   * the member whose copy is right. E_CONFIRM: nobody can tell which is, so it must be named.
   */
  action: {
    params: {
      readonly array: string | null;
      readonly limitKib?: number;
      readonly leastKib?: number;
      readonly action?: "idle" | "frozen" | "check" | "repair";
      readonly fromBytes?: number;
      readonly toBytes?: number;
      readonly source?: string;
    };
    data: { readonly array: string; readonly changes: readonly Change[] };
    event: never;
  };
  /** What clients of this node may do. E_HELD: one may write, and is not to. */
  access: {
    params: { readonly array: string | null; readonly access: Access };
    data: { readonly array: string; readonly changes: readonly Change[] };
    event: never;
  };
  /** Answers when nothing is being synced in the cluster; tells progress once a second or when it changes. */
  wait: {
    params: { readonly arrays: readonly string[] };
    data: { readonly arrays: readonly string[]; readonly waited: boolean };
    event: { readonly name: string; readonly sync: Sync };
  };
  map: {
    params: MapParams;
    data: { readonly array: string; readonly mapping: Mapping; readonly already: boolean };
    event: never;
  };
  unmap: {
    params: { readonly target: string; readonly force: boolean };
    data: { readonly array: string; readonly device: string };
    event: never;
  };
  list: {
    params: Record<string, never>;
    data: { readonly mappings: readonly (Mapping & { readonly array: string; readonly sizeBytes: number })[] };
    event: never;
  };
  nodes: { params: Record<string, never>; data: { readonly nodes: readonly NodeInfo[] }; event: never };
  /** Waits for the end of the node's lease; `confirmDead`: an operator vouches for its end, and it takes effect at once. */
  nodeEvict: {
    params: { readonly node: string; readonly confirmDead: boolean };
    data: EvictData;
    event: never;
  };
  /** This node leaves its arrays, whose resyncs go on elsewhere, and then the cluster; `left`: it has. */
  nodeDrain: {
    params: { readonly node: string };
    data: DrainData;
    event: never;
  };
  clusterStatus: {
    params: Record<string, never>;
    data: ClusterStatusData;
    event: never;
  };
  locks: { params: ArrayParams; data: LocksData; event: never };
  messages: { params: ArrayParams; data: MessagesData; event: never };
  /** The journal after `since`; with `follow` each new event is told and the answer never comes. */
  events: {
    params: { readonly array: string | null; readonly since: number; readonly follow: boolean };
    data: { readonly events: readonly HistoryEvent[] };
    event: HistoryEvent;
  };
  /**
   * Every step of the protocol's machines and every change of a lock, from now on, until the client goes; first where each
   * machine stands. Numbered: a client that reads too slowly misses some, and sees that it did.
   */
  trace: { params: ArrayParams; data: null; event: TraceRecord };
  /** Prometheus' text format. */
  metrics: { params: Record<string, never>; data: { readonly text: string }; event: never };
  opList: { params: Record<string, never>; data: { readonly operations: readonly Operation[] }; event: never };
  opShow: { params: { readonly id: string }; data: { readonly operation: Operation }; event: never };
}

export type ControlMethod = keyof ControlMethods;

export interface ControlRequest<M extends ControlMethod = ControlMethod> {
  readonly v: typeof CONTROL_API_VERSION;
  /** Chosen by the client, unique among its open requests. */
  readonly id: number;
  readonly method: M;
  readonly params: ControlMethods[M]["params"];
  /** Correlation id, copied to every log line; absent: the daemon makes one. */
  readonly trace?: string;
}

export type ControlReply<M extends ControlMethod = ControlMethod> =
  | {
      readonly id: number;
      readonly ok: true;
      readonly data: ControlMethods[M]["data"];
      readonly node: string;
      readonly cluster: string | null;
      readonly warnings: readonly Note[];
    }
  | {
      /** Null: the request could not be read so far as to know it. */
      readonly id: number | null;
      readonly ok: false;
      readonly error: ErrorInfo;
      readonly node: string;
      readonly cluster: string | null;
    };

export interface ControlEvent<M extends ControlMethod = ControlMethod> {
  readonly id: number;
  readonly event: ControlMethods[M]["event"];
}
