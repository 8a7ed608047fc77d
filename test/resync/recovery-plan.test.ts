import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { planRecovery, type RecoverySituation } from "../../src/resync/recovery-plan.ts";

type MemberState = RecoverySituation["members"][number]["state"];

const member = (number: number, state: MemberState, raidDisk: number | null = number, recoveredTo = 0) => ({
  number,
  raidDisk,
  state,
  recoveredTo: sector(recoveredTo),
});

describe("recovery plan", () => {
  it.each([
    ["two equal copies", [member(0, "in_sync"), member(1, "in_sync")], false, { type: "nothing" }],
    ["two copies that may differ", [member(0, "in_sync"), member(1, "in_sync")], true, { type: "resync" }],
    ["one copy that is marked: it agrees with itself", [member(0, "in_sync")], true, { type: "resync" }],
    ["a spare and an empty place", [member(0, "in_sync"), member(2, "spare", null)], false, { type: "activate" }],
    [
      "a spare and no empty place",
      [member(0, "in_sync"), member(1, "in_sync"), member(2, "spare", null)],
      false,
      { type: "nothing" },
    ],
    [
      "a member being filled",
      [member(0, "in_sync"), member(2, "rebuilding", 1, 640)],
      false,
      { type: "recover", numbers: [2], from: 640 },
    ],
    ["no copy left", [member(0, "faulty", null), member(2, "spare", null)], true, { type: "nothing" }],
    ["a faulty member and no spare", [member(0, "in_sync"), member(1, "faulty", null)], false, { type: "nothing" }],
  ] as const)("%s", (_, members, needed, expected) => {
    expect(planRecovery({ scrub: null, raidDisks: 2, members, needed })).toEqual(expected);
  });

  it("resyncs before it fills, and fills from the lowest place that any member has reached", () => {
    const members = [
      member(0, "in_sync"),
      member(1, "in_sync"),
      member(4, "rebuilding", 2, 900),
      member(5, "rebuilding", 3, 100),
    ];
    expect(planRecovery({ scrub: null, raidDisks: 4, members, needed: true })).toEqual({ type: "resync" });
    expect(planRecovery({ scrub: null, raidDisks: 4, members, needed: false })).toEqual({
      type: "recover",
      numbers: [4, 5],
      from: 100,
    });
  });
});
