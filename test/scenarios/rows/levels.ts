import { type Expectation, raid1, raid10, state } from "../expectations.ts";
import type { DiskName } from "../stage.ts";
import type { CreateOptions, Scenario } from "../steps.ts";

/** Where a row of the peer's suite exists for RAID1 and for RAID10: what differs between the two. */
export interface Level {
  /** As in the names of rows. */
  readonly tag: "r1" | "r10";
  readonly shape: Pick<CreateOptions, "level" | "near">;
  readonly shown: Expectation;
  /** What part 2 of 00*_Create is made of, and how it looks. */
  readonly equal: { readonly disks: readonly DiskName[]; readonly near: number; readonly state: Expectation };
}

export const r1: Level = {
  tag: "r1",
  shape: { level: 1, near: 2 },
  shown: raid1,
  equal: { disks: ["d0", "d1"], near: 2, state: state("UU") },
};

const r10: Level = {
  tag: "r10",
  shape: { level: 10, near: 2 },
  shown: raid10,
  equal: { disks: ["d0", "d1", "d2"], near: 3, state: state("UUU") },
};

export const onBothLevels = (row: (level: Level) => Scenario): readonly Scenario[] => [row(r1), row(r10)];
