import type { OpenBlockDevice } from "../blockdev/block-device.ts";
import type { FenceVictim } from "../dlm/fencer.ts";
import type { LeaseSink, Lockspace, LockspaceListener } from "../dlm/lockspace.ts";
import type { Engine } from "../engine/engine.ts";
import type { EngineConfig } from "../engine/engine-protocol.ts";
import type { SharedBlock } from "../engine/shared-block.ts";
import type { Env } from "../env/env.ts";
import { ownProtocol, type ProtocolRange } from "../messages/protocol-version.ts";
import type { SyncTurns } from "../resync/sync-turns.ts";
import type { BadBlockUpdate } from "./bad-block-update.ts";
import type { Access } from "./safe-mode.ts";

/** An array's members, for methods of fencing that work on them. */
export interface ArrayAccess {
  /** Paths of the members in use. */
  members(): readonly string[];
  /** Is there room for takeover records on all of them? */
  hasRecords(): boolean;
  /** Writes the victim's pill and reads it back; see `condemnVictim`. */
  condemn(victim: FenceVictim, signal: AbortSignal): Promise<void>;
}

export interface JoinRequest {
  /** The array's UUID in its 36-character form. */
  readonly name: string;
  /** As the bitmap superblock names it. */
  readonly clusterName: string;
  /** Nodes that may use the array at once, as far as is known before the join. No free slot below: E_NODES_FULL. */
  readonly maxMembers: number;
  readonly listener: LockspaceListener;
  /** Goes into the memory that the data plane reads. */
  readonly lease: LeaseSink;
  readonly access: ArrayAccess;
}

/** Becomes a member of the array's lockspace; no callback before it resolves. Rejects with E_LOCK_SERVICE_LOST when there is no server to ask. */
type JoinLockspace = (request: JoinRequest) => Promise<Lockspace>;

/** Starts a data plane over `shared`, in which the control plane keeps the lease. Rejects with the MdError of a member. */
type StartEngine = (config: EngineConfig, shared: SharedBlock) => Promise<Engine>;

export interface ClusterNodeOptions {
  /** readonly: all exports are so. Of a clustered array the node itself still takes over, resyncs and votes. */
  readonly access: Access;
  /** Milliseconds without a write after which an array of one node is clean again (safe_mode_delay); 0: not before the end. */
  readonly safeModeDelayMs: number;
  /** Start although members are gone that nobody has recorded as gone (and nobody else has the array): `--run`. */
  readonly run: boolean;
  /** Of contradicting histories, take the newer one: `--force`. */
  readonly force: boolean;
  /** Null: bad-block logs are as they are. */
  readonly updateBadBlockLog: BadBlockUpdate | null;
  readonly ring: EngineConfig["ring"];
  readonly queueDepth: number;
  /** Milliseconds after which a member that does not answer is taken out, and is late; 0: never. */
  readonly ioTimeoutMs: number;
  readonly slowIoMs: number;
  /** Bytes of transfer memory of the data plane. */
  readonly arenaBytes: number;
  /** Tells other processes of this host that our IO is over (`EngineConfig.ioHold`). */
  readonly ioHold?: string;
  /** KiB/s, to begin with (sync_speed_min): what is copied more slowly does not yield to requests of clients. */
  readonly syncSpeedMin: number;
  /** KiB/s, 0 for no limit (sync_speed_max), to begin with. */
  readonly syncSpeedMax: number;
  /** Milliseconds that each node has to find a new device (NEWDISK). */
  readonly confirmMs: number;
  /** Milliseconds between two looks at the own pill on the members while they are used: a tenth of a lease. */
  readonly pillEveryMs: number;
  /** What this node speaks. */
  readonly protocol: ProtocolRange;
  /** Look at it also while they are not used, for a guard that relies on it. */
  readonly watchPill: boolean;
}

export const defaultClusterNodeOptions: ClusterNodeOptions = {
  access: "read-write",
  safeModeDelayMs: 200,
  run: false,
  force: false,
  updateBadBlockLog: null,
  ring: "auto",
  queueDepth: 128,
  ioTimeoutMs: 30_000,
  slowIoMs: 2000,
  arenaBytes: 64 * 1024 * 1024,
  syncSpeedMin: 0,
  syncSpeedMax: 0,
  confirmMs: 5000,
  pillEveryMs: 1000,
  protocol: ownProtocol,
  watchPill: false,
};

/** Everything that a node's life in an array needs of the world. The daemon fills it with real parts, the simulator with its own. */
export interface ClusterNodeDeps {
  readonly env: Env;
  /** For people: log lines and events. */
  readonly nodeName: string;
  /**
   * Paths of the members, as found by scanning. They are opened and their superblocks read again once the node is in
   * the lockspace, under the token: what a scan said before may be stale by then.
   */
  readonly memberPaths: readonly string[];
  readonly joinLockspace: JoinLockspace;
  readonly startEngine: StartEngine;
  readonly openDevice: OpenBlockDevice;
  /** The path on this host of the device with this superblock UUID (16 bytes), null if it is not to be seen. */
  readonly findDevice: (deviceUuid: Uint8Array) => Promise<string | null>;
  /** What a member lies on, so that arrays with a disk in common take turns. */
  readonly diskOf: (path: string) => string;
  /** One for all arrays of this node. */
  readonly syncTurns: SyncTurns;
  readonly options: ClusterNodeOptions;
}
