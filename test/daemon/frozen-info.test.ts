import { describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { frozenInfo, type LockServiceView, type LockspaceView } from "../../src/daemon/frozen-info.ts";
import type { Frozen } from "../../src/dlm/lockspace.ts";

const NOW = 100_000;
const LEASE = 10_000;

/** An array of this node whose last renewal was `age` ms ago. */
const space = (age: number, frozen: Partial<Frozen> | null = null, array: string | null = "md0"): LockspaceView => ({
  array,
  status: {
    epoch: 1,
    generation: 3,
    leaseMs: LEASE,
    renewedAt: NOW - age,
    roundTripMs: 0.6,
    writeUntil: NOW - age + 0.6 * LEASE,
    readUntil: NOW - age + 0.8 * LEASE,
    members: [],
  },
  frozen:
    frozen === null
      ? null
      : { reason: "", since: NOW - 3200, reported: [], missing: [], deadline: null, conflicts: [], ...frozen },
  waiting: age >= 0.6 * LEASE ? 14 : 0,
});

const seen = (overrides: Partial<LockServiceView>) =>
  frozenInfo({
    now: NOW,
    node: "n1",
    address: "redis://10.0.0.5:6379",
    lostAt: null,
    spaces: [space(500, null, null), space(500)],
    hasFencer: false,
    ...overrides,
  });

describe("what is said of a lock service", () => {
  it("is nothing while it answers", () => {
    expect(seen({})).toBeNull();
    expect(seen({ spaces: [] })).toBeNull();
  });

  it("that does not answer: first the writes go on, then they wait", () => {
    expect(seen({ lostAt: NOW - 3200, spaces: [space(3300)] })).toEqual({
      sinceSeconds: 3.2,
      text: "lock service redis://10.0.0.5:6379 lost 3.2 s ago; writes to clustered arrays wait in 2.7 s",
      progress: null,
      reported: [],
      missing: [],
      resumes: "locks are granted again when it answers; nodes that still reach it take over from this one in 6.7 s",
      command: null,
      limitSeconds: null,
      writesWait: false,
      waiting: 0,
    });
    expect(seen({ lostAt: NOW - 12_000, spaces: [space(12_100)] })).toMatchObject({
      text: "lock service redis://10.0.0.5:6379 lost 12 s ago; writes to clustered arrays wait",
      resumes: "IO resumes when it answers; nodes that still reach it may have taken over from this one",
      writesWait: true,
      waiting: 14,
    });
  });

  it("that answers no renewal though its connection stands (stopped, or cut off), is lost when the lease is", () => {
    expect(seen({ spaces: [space(5900)] })).toBeNull();
    expect(seen({ spaces: [space(6100)] })).toMatchObject({
      text: "lock service redis://10.0.0.5:6379 lost 6.1 s ago; writes to clustered arrays wait",
    });
  });

  it("of a node without arrays: nothing is said of writes", () => {
    expect(seen({ lostAt: NOW - 1000, spaces: [space(1000, null, null)] })).toMatchObject({
      text: "lock service redis://10.0.0.5:6379 lost 1.0 s ago; commands that need it wait",
      resumes: "locks are granted again when it answers",
    });
  });

  it("that is rebuilt: who has reported, who has not, and until when that takes at most", () => {
    const frozen = { reported: ["n1", "n2"], missing: ["n3"], deadline: NOW + 11_000 };
    expect(seen({ spaces: [space(7000, frozen)] })).toEqual({
      sinceSeconds: 3.2,
      text: "lock service redis://10.0.0.5:6379 lost its state 3.2 s ago; writes to clustered arrays wait",
      progress: "re-mastering: 2 of 3 nodes reported",
      reported: ["n1", "n2"],
      missing: ["n3"],
      resumes: "IO resumes when n3 reports or is evicted, at the latest in 11 s",
      command: null,
      limitSeconds: 11,
      writesWait: true,
      waiting: 14,
    });
    const two = { reported: ["n1"], missing: ["n2", "n3"], deadline: NOW + 6800 };
    expect(seen({ spaces: [space(100, two)] })).toMatchObject({
      progress: "re-mastering: 1 of 3 nodes reported",
      resumes: "locks are granted again when n2 and n3 report or are evicted, at the latest in 6.8 s",
      limitSeconds: 6.8,
      writesWait: false,
    });
    expect(seen({ hasFencer: true, spaces: [space(7000, frozen)] })).toMatchObject({
      resumes: "IO resumes when n3 reports or is evicted; fencing begins in 11 s",
      limitSeconds: null,
    });
    expect(seen({ spaces: [space(7000, {})] })?.resumes).toMatch(/^IO resumes when it answers/);
  });

  it("in which two nodes hold what only one can: what, who, and the command that ends it, before all else", () => {
    const locks = [
      { slot: slotNumber(0), node: "n1", mode: "PW" as const },
      { slot: slotNumber(1), node: "n2", mode: "PW" as const },
    ];
    const conflict = { reported: ["n1", "n2"], conflicts: [{ resource: "bitmap0001", locks }] };
    const waits = { reported: ["n1"], missing: ["n3"], deadline: NOW + 11_000 };
    expect(seen({ spaces: [space(7000, waits, "md1"), space(7000, conflict)] })).toMatchObject({
      progress: "re-mastering: 2 of 2 nodes reported",
      resumes:
        "md0: bitmap0001 is held by n1 (PW) and n2 (PW), which cannot be; IO resumes when one of them is evicted",
      command: "mdctl node evict n2 --confirm-dead",
      limitSeconds: null,
    });
  });
});
