import type { Sector, SectorRange, SlotNumber } from "../base/units.ts";

/**
 * What one node tells all others, with the meaning that Linux md-cluster gives it. `from` is the sender's slot;
 * `number` is a device's descriptor number (its index in dev_roles), never its raid_disk.
 */
export type ClusterMessage =
  /** Superblocks have changed; `number` names a member to read them from. */
  | { readonly type: "metadata_updated"; readonly from: SlotNumber; readonly number: number }
  /** The sender resyncs this range now (array sectors), or only compares its copies; null: it is done. */
  | {
      readonly type: "resyncing";
      readonly from: SlotNumber;
      readonly range: SectorRange | null;
      readonly isCheck?: true;
    }
  | { readonly type: "newdisk"; readonly from: SlotNumber; readonly uuid: Uint8Array; readonly number: number }
  | { readonly type: "remove"; readonly from: SlotNumber; readonly number: number }
  | { readonly type: "re_add"; readonly from: SlotNumber; readonly number: number }
  /** The sender leaves in good order with chunks that still need a resync: treat its slot like a dead node's. */
  | { readonly type: "bitmap_needs_sync"; readonly from: SlotNumber }
  /** What was prepared by `bitmap_resize`, and announced, may be used now. */
  | { readonly type: "change_capacity"; readonly from: SlotNumber }
  /**
   * Make your bitmap (and data plane) fit for `size` sectors, so many raid_disks and bytes per bit; 0: as many as now,
   * which is all that the kernel's says. May be refused; the former values undo it.
   */
  | {
      readonly type: "bitmap_resize";
      readonly from: SlotNumber;
      readonly size: Sector;
      readonly raidDisks: number;
      readonly chunkBytes: number;
    }
  /** The sender got the `resync` lock and will run: nobody need wait for its first window. */
  | { readonly type: "resyncing_start"; readonly from: SlotNumber }
  /** From a newer version: refused. */
  | { readonly type: "unknown"; readonly from: SlotNumber; readonly raw: number };

/** Which message is meant: numbers of several senders may be the same. */
export interface MessageId {
  readonly from: SlotNumber;
  readonly sequence: number;
}

export type ClusterMessageType = ClusterMessage["type"];
export type MessageOf<T extends ClusterMessageType> = Extract<ClusterMessage, { type: T }>;

/**
 * May a node acknowledge it without carrying it out? Then the sender looks for refusals, which costs it a call. The others
 * are such that a node which fails at one cannot be part of the array any more: it drops out instead.
 */
export const mayBeRefused = ({ type }: ClusterMessage): boolean => !mustSucceed.has(type);

const mustSucceed: ReadonlySet<ClusterMessageType> = new Set<ClusterMessageType>([
  "metadata_updated",
  "resyncing",
  "resyncing_start",
  "bitmap_needs_sync",
  "change_capacity",
  "remove",
]);
