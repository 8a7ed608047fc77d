import type { SectorRange } from "../base/units.ts";
import type { CopyKind, RepairRule } from "./engine-protocol.ts";
import type { MismatchList } from "./mismatch-list.ts";

/** What has become of a copy; `aimless`: no member was there to be filled. */
export interface CopyResult {
  readonly sectors: number;
  readonly failed: boolean;
  readonly aimless: boolean;
}

/** It never began. */
export const nothingCopied: CopyResult = { sectors: 0, failed: true, aimless: false };

/** What was asked for: array sectors [lo, hi). */
export interface Copy {
  readonly kind: CopyKind;
  readonly lo: number;
  readonly hi: number;
  /** Of members; null: wherever copies are. */
  readonly section: SectorRange | null;
  readonly onDone: (result: CopyResult) => void;
}

export interface Comparison {
  readonly kind: "compare";
  readonly lo: number;
  readonly hi: number;
  readonly repair: RepairRule | null;
  readonly tellBad: boolean;
  readonly onDone: (result: CopyResult, found: MismatchList) => void;
}

export type Work = Copy | Comparison;

/** A copy or comparison under way. */
export interface CopyJob {
  readonly work: Work;
  readonly aimless: boolean;
  /** Units of it begin here. */
  cursor: number;
  /** Units that are at work. */
  units: number;
  copied: number;
  failed: boolean;
  /** What it has written is being flushed, or need not be. */
  flushed: boolean;
}
