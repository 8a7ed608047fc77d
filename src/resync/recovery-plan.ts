import type { Sector } from "../base/units.ts";
import type { ScrubAction } from "./scrub.ts";

/** What the choice needs to know of the array, from one node's point of view. */
export interface RecoverySituation {
  readonly raidDisks: number;
  readonly members: readonly {
    readonly number: number;
    readonly raidDisk: number | null;
    readonly state: "in_sync" | "rebuilding" | "spare" | "faulty";
    readonly recoveredTo: Sector;
  }[];
  /** Our own bitmap has chunks that need a resync. */
  readonly needed: boolean;
  /** An operator wants all copies compared, and no other node has anything to settle first. */
  readonly scrub: ScrubAction | null;
}

export type RecoveryPlan =
  /** A raid_disk is empty and there is a spare to take it. */
  | { readonly type: "activate" }
  /** Copies may differ where our bitmap says so. */
  | { readonly type: "resync" }
  /** Members are being filled: from the lowest position that any of them has reached. */
  | { readonly type: "recover"; readonly numbers: readonly number[]; readonly from: Sector }
  /** All copies are whole, and are compared. */
  | { readonly type: "check" }
  | { readonly type: "repair" }
  | { readonly type: "nothing" };

/**
 * What this node would do if it had the `resync` lock now. A resync comes before a recovery: a member is filled from
 * copies that agree; what an operator wants comes last. (A single copy agrees with itself: then the resync has nothing to copy, and ends at once.)
 */
export function planRecovery({ raidDisks, members, needed, scrub }: RecoverySituation): RecoveryPlan {
  const inSync = members.filter((member) => member.state === "in_sync");
  if (inSync.length === 0) return { type: "nothing" };
  if (needed) return { type: "resync" };

  const taken = new Set(members.map((member) => member.raidDisk));
  const vacant = Array.from({ length: raidDisks }, (_, raidDisk) => raidDisk).some((raidDisk) => !taken.has(raidDisk));
  if (vacant && members.some((member) => member.state === "spare")) return { type: "activate" };

  const rebuilding = members.filter((member) => member.state === "rebuilding");
  const [first] = rebuilding.map((member) => member.recoveredTo).sort((a, b) => a - b);
  if (first === undefined) return { type: scrub ?? "nothing" };
  return { type: "recover", numbers: rebuilding.map((member) => member.number), from: first };
}
