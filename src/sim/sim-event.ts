import type { SectorRange, SlotNumber } from "../base/units.ts";
import type { EngineMemberState } from "../engine/engine-protocol.ts";
import type { MismatchRange } from "../resync/scrub.ts";
import type { SimLockEvent } from "./sim-lock-event.ts";

/** What part of a member a sector belongs to. */
export type DiskArea = "superblock" | "bitmap" | "data" | "other";

/**
 * What the checkers see: a log of what nodes did to the world and were told by it. `life` names one incarnation of a
 * node (`n1.2`: the second life of n1). Member sectors are counted from the start of the device, array sectors in
 * everything that speaks of windows and requests.
 */
export type SimEvent =
  | SimLockEvent
  | {
      readonly type: "write_submitted";
      readonly life: string;
      readonly disk: string;
      readonly lo: number;
      readonly hi: number;
      readonly area: DiskArea;
      readonly leaseHolds: boolean;
    }
  | {
      readonly type: "write_landed";
      readonly life: string;
      readonly disk: string;
      readonly lo: number;
      readonly hi: number;
      readonly area: DiskArea;
    }
  | {
      readonly type: "disk_error";
      readonly life: string;
      readonly disk: string;
      readonly op: string;
      readonly lo: number;
    }
  /** It got data from a member whose array has bad-block logs. */
  | {
      readonly type: "data_read";
      readonly life: string;
      readonly disk: string;
      readonly lo: number;
      readonly hi: number;
    }
  | { readonly type: "flushed"; readonly life: string; readonly disk: string }
  | { readonly type: "power_cut" }
  | { readonly type: "fault"; readonly what: string }
  /** The lock server has forgotten something of what it was told. */
  | { readonly type: "locks_lost" }
  | { readonly type: "life_began"; readonly life: string }
  | { readonly type: "life_ended"; readonly life: string; readonly why: string }
  /** It has joined the lockspace. */
  | { readonly type: "joined"; readonly life: string; readonly slot: SlotNumber }
  /** It serves IO from now on. */
  | { readonly type: "serving"; readonly life: string }
  /** The lock server has thrown this life out, or it has left: others may take its slot over from now on. */
  | { readonly type: "evicted"; readonly life: string }
  /**
   * A life that was evicted is a member after all: as another incarnation, since it had not heard that it was one, or
   * because the lock server forgot of it before anybody else had heard.
   */
  | { readonly type: "readmitted"; readonly life: string }
  /** `recoverPrep` reached this life. */
  | { readonly type: "recovering"; readonly life: string }
  | { readonly type: "token_held"; readonly life: string }
  | { readonly type: "token_released"; readonly life: string }
  /** Its engine was told what a member is to it. `disk` null: the member is gone. */
  | {
      readonly type: "member_view";
      readonly life: string;
      readonly raidDisk: number;
      readonly disk: string | null;
      readonly state: EngineMemberState | "removed";
    }
  /** Its engine is given a member that it writes to from now on. */
  | { readonly type: "member_taken"; readonly life: string; readonly disk: string }
  /** Its engine has stopped in order: it neither reads nor writes any more. */
  | { readonly type: "engine_stopped"; readonly life: string }
  | { readonly type: "suspended"; readonly life: string; readonly slot: SlotNumber; readonly range: SectorRange }
  | { readonly type: "resumed"; readonly life: string; readonly slot: SlotNumber }
  /** A check or repair tells of sectors whose copies differ, or did. */
  | { readonly type: "mismatch"; readonly life: string; readonly ranges: readonly MismatchRange[] }
  /** It copies or compares a range: nobody else may write there. */
  | { readonly type: "copying"; readonly life: string; readonly range: SectorRange }
  | { readonly type: "copied"; readonly life: string; readonly sectors: number }
  | {
      readonly type: "request";
      readonly life: string;
      readonly id: number;
      readonly op: string;
      readonly lo: number;
      readonly hi: number;
      readonly fua: boolean;
    }
  | { readonly type: "reply"; readonly life: string; readonly id: number; readonly errno: number }
  | { readonly type: "log"; readonly life: string; readonly level: string; readonly text: string };
