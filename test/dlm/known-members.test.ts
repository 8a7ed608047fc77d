import { describe, expect, it } from "vitest";
import { abbreviate, KnownMembers } from "../../src/dlm/known-members.ts";
import type { LockReply, MemberRecord, RenewCall } from "../../src/dlm/lock-call.ts";

const lockspace = { cluster: "alpha", name: "array" };
const member = (slot: number, counter: number, more: Partial<MemberRecord> = {}): MemberRecord => ({
  slot,
  incarnation: `i${slot}`,
  counter,
  node: `n${slot}`,
  state: "active",
  knows: 7,
  ...more,
});
const reply = (members: readonly MemberRecord[], more: Partial<LockReply> = {}): LockReply => ({
  rc: 0,
  value: 0,
  seq: 40,
  epoch: 2,
  generation: 7,
  events: [],
  state: "run",
  members,
  ...more,
});
const renew: RenewCall = { op: "renew", slot: 1, incarnation: "i1", epoch: 2, rid: 0, ack: 0, seen: 0, counter: 9 };
const process = { host: "h", pid: 5, started: "1" };

describe("members that a caller knows already", () => {
  it("come back whole from their counters", () => {
    const known = new KnownMembers();
    const first = reply([member(1, 3, { process }), member(4, 8)]);
    expect(known.complete(lockspace, undefined, first)).toEqual(first);
    const claim = known.of(lockspace, renew);
    const next = reply([member(1, 4, { process }), member(4, 9)]);
    const sent = abbreviate(next, claim?.generation);
    expect(sent.members).toBeUndefined();
    expect(known.complete(lockspace, claim, sent)).toEqual(next);
  });

  it.each([
    ["a generation that the caller does not know", reply([member(1, 3)], { generation: 8 })],
    ["a member that is being fenced", reply([member(1, 3, { state: "fencing" })])],
    ["a member that has not heard of this generation", reply([member(1, 3, { knows: 6 })])],
    ["a lockspace that is being rebuilt", reply([member(1, 3)], { state: "recover" })],
  ])("are told in full with %s", (_, full) => {
    expect(abbreviate(full, 7)).toEqual(full);
  });

  it("are claimed for renewals of the same epoch only", () => {
    const known = new KnownMembers();
    known.complete(lockspace, undefined, reply([member(1, 3)]));
    expect(known.of(lockspace, { ...renew, epoch: 3 })).toBeUndefined();
    expect(known.of({ cluster: "alpha", name: "other" }, renew)).toBeUndefined();
    expect(known.of(lockspace, renew)?.generation).toBe(7);
  });

  it("answer a claim with the list that it was made with, whatever was learned meanwhile", () => {
    const known = new KnownMembers();
    known.complete(lockspace, undefined, reply([member(1, 3)]));
    const claim = known.of(lockspace, renew);
    known.complete(lockspace, undefined, reply([member(1, 3), member(2, 0)], { generation: 8 }));
    const sent = abbreviate(reply([member(1, 4)]), claim?.generation);
    expect(known.complete(lockspace, claim, sent)).toEqual(reply([member(1, 4)]));
  });

  it("are no answer to who did not claim them, or if one is missing", () => {
    const known = new KnownMembers();
    known.complete(lockspace, undefined, reply([member(1, 3), member(4, 8)]));
    const claim = known.of(lockspace, renew);
    const { members: _, ...rest } = reply([]);
    expect(known.complete(lockspace, undefined, { ...rest, counters: [[1, 4]] })).toBeNull();
    expect(known.complete(lockspace, claim, { ...rest, counters: [[1, 4]] })).toBeNull();
  });
});
