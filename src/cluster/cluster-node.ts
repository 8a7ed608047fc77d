import { MdError } from "../base/md-error.ts";
import type { SlotNumber } from "../base/units.ts";
import type { LockspaceDump } from "../dlm/lockspace.ts";
import type { NbdExport } from "../engine/engine-protocol.ts";
import type { SharedBlock } from "../engine/shared-block.ts";
import type { ArrayEvent, ArrayStatus } from "./array-status.ts";
import type { ClusterNodeDeps } from "./cluster-deps.ts";

/** Why a node's life in the array ended. Only `stopped` was asked for. */
export type NodeEnd =
  | { readonly type: "stopped" }
  | { readonly type: "fenced"; readonly reason: string }
  | { readonly type: "failed"; readonly reason: string };

export interface SlotBitmap {
  readonly slot: SlotNumber;
  /** Chunks with a bit on disk. */
  readonly dirty: number;
  /** LSB first. */
  readonly bits: Uint8Array;
}

/**
 * A node's life in one clustered array: what md-cluster is to md. Joins, takes over dead nodes' slots, keeps
 * superblocks and members equal on all nodes, resyncs. The one class that a daemon and a simulator wire up.
 */
export class ClusterNode {
  /** Assembles the array on this node: resolves once it serves IO. Rejects with an MdError, everything undone. */
  static start(_deps: ClusterNodeDeps): Promise<ClusterNode> {
    return Promise.reject(new MdError("E_INTERNAL", "not yet"));
  }

  declare readonly slot: SlotNumber;
  /** Counters of the data plane. */
  declare readonly shared: SharedBlock;
  /** Resolves when this node is no longer part of the array, for whatever reason. Never rejects. */
  declare readonly ended: Promise<NodeEnd>;

  declare status: () => ArrayStatus;
  /** The history so far, oldest first (bounded). */
  declare events: () => readonly ArrayEvent[];
  declare onEvent: (listener: (event: ArrayEvent) => void) => void;
  /** Every lock of every node. */
  declare locks: () => Promise<LockspaceDump>;
  /** Reads all slots' bitmaps from a member (disk IO). */
  declare bitmaps: () => Promise<readonly SlotBitmap[]>;

  /** Marks a member faulty on all nodes. E_LAST_COPY, E_MEMBER_NOT_FOUND. `number` is the descriptor number. */
  declare failMember: (number: number) => Promise<void>;
  /** Takes a faulty or spare member out. E_MEMBER_ACTIVE while it has a raid_disk and is not faulty. */
  declare removeMember: (number: number) => Promise<void>;
  /** Adds a device (new, or back after a failure) on all nodes: it becomes a spare or is filled at once. */
  declare addMember: (path: string) => Promise<{ readonly number: number; readonly raidDisk: number | null }>;

  /** Serves the array over NBD; the port for TCP (0 otherwise). */
  declare attach: (frontEnd: NbdExport) => Promise<number>;
  declare detach: () => Promise<void>;
  /** Clears at once every bit that may be cleared. */
  declare flushBitmap: () => Promise<void>;

  /** Resolves when nothing is being resynced or recovered in the cluster as far as this node knows. E_CANCELLED by `signal`. */
  declare waitIdle: (signal?: AbortSignal) => Promise<void>;
  /** Clean leave: hands over what is left to resync. Idempotent. */
  declare stop: () => Promise<void>;
}
