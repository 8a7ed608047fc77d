import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { type LockMode, modesCompatible } from "../../src/dlm/lock-mode.ts";
import { BastChecker } from "../../src/sim/checkers/bast.ts";
import type { Checker, Report } from "../../src/sim/checkers/checker.ts";
import { LockBeliefChecker } from "../../src/sim/checkers/lock-belief.ts";
import { LockCastChecker } from "../../src/sim/checkers/lock-casts.ts";
import { LockValueChecker } from "../../src/sim/checkers/lock-values.ts";
import { MembershipOrderChecker } from "../../src/sim/checkers/membership-order.ts";
import { MessageOrderChecker } from "../../src/sim/checkers/message-order.ts";
import { findContradiction, type RegisterOperation } from "../../src/sim/checkers/register-history.ts";
import type { SimEvent } from "../../src/sim/sim-event.ts";

/** A log of times and events, and what a checker says of it. */
type Log = readonly (readonly [at: number, event: SimEvent])[];

function judge<T extends Checker>(
  make: (now: () => number, report: Report) => T,
  log: Log,
  end: (checker: T) => void = () => {},
): string[] {
  const reports: string[] = [];
  let now = 0;
  const checker = make(
    () => now,
    (text) => reports.push(text),
  );
  for (const [at, event] of log) {
    now = at;
    checker.observe(event);
  }
  end(checker);
  return reports;
}

const of = (lock: number, life: string) => ({ lock, life, resource: "r" });
const opened = (lock: number, life: string): SimEvent => ({ type: "lock_opened", ...of(lock, life), bast: true });
const asked = (lock: number, life: string, from: LockMode, to: LockMode, wrote: string | null = null): SimEvent => ({
  type: "lock_asked",
  ...of(lock, life),
  ...{ from, to, wrote, reads: false },
});
const done = (lock: number, life: string, mode: LockMode, read: string | null = null, valid = true): SimEvent => ({
  type: "lock_done",
  ...of(lock, life),
  ...{ status: "granted", mode, read, valid },
});
const lease = (life: string, until: number): SimEvent => ({ type: "lease", life, until });
const both = [opened(1, "a"), opened(2, "b")].map((event) => [0, event] as const);

describe("the checker of beliefs", () => {
  const make = (now: () => number, report: Report) => new LockBeliefChecker(now, report);
  const leases = [lease("a", 100), lease("b", 100)].map((event) => [0, event] as const);
  const takes = (at: number, lock: number, life: string, mode: LockMode): Log => [
    [at, asked(lock, life, "NL", mode)],
    [at, done(lock, life, mode)],
  ];

  it("bites on two owners in modes that exclude each other, and on no others", () => {
    for (const a of ["CR", "CW", "PR", "PW", "EX"] as const) {
      for (const b of ["CR", "CW", "PR", "PW", "EX"] as const) {
        const reports = judge(make, [...both, ...leases, ...takes(1, 1, "a", a), ...takes(2, 2, "b", b)]);
        expect(reports, `${a} ${b}`).toHaveLength(modesCompatible(a, b) ? 0 : 1);
      }
    }
  });

  it("is content when the first has asked to let go, has died, or its lease is over", () => {
    const before: Log = [...both, ...leases, ...takes(1, 1, "a", "EX")];
    const endings: readonly SimEvent[] = [
      asked(1, "a", "EX", "NL"),
      { type: "life_ended", life: "a", why: "" },
      lease("a", 0),
    ];
    for (const ending of endings) expect(judge(make, [...before, [2, ending], ...takes(3, 2, "b", "PR")])).toEqual([]);
    expect(judge(make, [...before, [50, lease("b", 200)], ...takes(101, 2, "b", "PR")])).toEqual([]);
  });

  it("bites when a lease comes back to life after others went on", () => {
    const log: Log = [
      ...both,
      ...leases,
      ...takes(1, 1, "a", "EX"),
      [50, lease("b", 200)],
      ...takes(101, 2, "b", "PR"),
    ];
    expect(judge(make, [...log, [110, lease("a", 150)]])).toHaveLength(1);
  });

  it("takes a conversion between CW and PR for neither while it waits", () => {
    const log: Log = [...both, ...leases, ...takes(1, 1, "a", "CW"), [2, asked(1, "a", "CW", "PR")]];
    expect(judge(make, [...log, ...takes(3, 2, "b", "PR")])).toEqual([]);
    expect(judge(make, [...log, ...takes(3, 2, "b", "EX")])).toHaveLength(1);
  });
});

describe("the checker of blocking notifications", () => {
  const make = (now: () => number, report: Report) => new BastChecker(now, report);
  const bast = (wanted: LockMode): SimEvent => ({ type: "lock_bast", ...of(1, "a"), wanted });
  const blocked: Log = [
    ...both,
    [1, asked(1, "a", "NL", "EX")],
    [2, done(1, "a", "EX")],
    [3, asked(2, "b", "NL", "PR")],
  ];

  it("is content when the holder is told, and bites when it is not, after a while", () => {
    expect(judge(make, [...blocked, [4, bast("PR")], [100, lease("a", 1)]], (checker) => checker.judge(50))).toEqual(
      [],
    );
    const silent: Log = [...blocked, [100, lease("a", 1)]];
    expect(judge(make, silent, (checker) => checker.judge(50))).toEqual([expect.stringMatching(/never told/)]);
    expect(judge(make, silent, (checker) => checker.judge(98))).toEqual([]);
  });

  it("bites on one that comes after it stopped blocking, and not before that is acknowledged", () => {
    const letting: Log = [...blocked, [4, asked(1, "a", "EX", "NL")]];
    expect(judge(make, [...letting, [5, bast("PR")]])).toEqual([]);
    expect(judge(make, [...letting, [5, done(1, "a", "NL")], [6, bast("PR")]])).toHaveLength(1);
  });
});

describe("the checker of membership callbacks", () => {
  const make = (_: () => number, report: Report) => new MembershipOrderChecker(report);
  const prep: SimEvent = { type: "recover_prep", life: "a" };
  const slot: SimEvent = { type: "recover_slot", life: "a", slot: 1, node: "b" };
  const finish = (generation: number): SimEvent => ({ type: "recover_done", life: "a", generation });
  const log = (...events: SimEvent[]): Log => events.map((event, at) => [at, event]);

  it("is content with prep, slots and done, also interrupted", () => {
    expect(judge(make, log(finish(3), prep, slot, finish(4), prep, prep, slot, finish(7)))).toEqual([]);
  });

  it("bites on a slot or a done without prep, and on a generation that does not grow", () => {
    expect(judge(make, log(finish(3), slot))).toHaveLength(1);
    expect(judge(make, log(finish(3), finish(4)))).toHaveLength(1);
    expect(judge(make, log(finish(3), prep, finish(3)))).toHaveLength(1);
    expect(judge(make, log(finish(3), prep, finish(2)))).toHaveLength(1);
  });
});

describe("the checker of completions", () => {
  const make = (_: () => number, report: Report) => new LockCastChecker(report);
  const header = { slot: 1, incarnation: "x", epoch: 1, ack: 0, seen: 0 };
  const call = (rid: number): SimEvent => ({
    type: "lock_call",
    life: "a",
    call: { op: "convert", ...header, rid, name: "r", lkid: 7, mode: 5, flags: 0 },
  });
  const cast = (n: number, epoch = 1): SimEvent => ({
    type: "lock_events",
    life: "a",
    epoch,
    events: [{ type: "cast", n, seq: n, lkid: 7, status: 0, mode: 5, flags: 0, lvbSeq: 0 }],
  });
  const answer: SimEvent = {
    type: "lock_answer",
    life: "a",
    call: { op: "poll", ...header, rid: 0 },
    reply: { rc: 0, value: 0, seq: 9, epoch: 1, generation: 1, events: [] },
  };
  const log = (...events: SimEvent[]): Log => events.map((event, at) => [at, event]);

  it("counts what comes twice once", () => {
    expect(judge(make, log(answer, cast(1), call(2), call(2), cast(2), cast(2), cast(1), cast(3, 0)))).toEqual([]);
  });

  it("bites on a second completion of one operation", () => {
    expect(judge(make, log(answer, cast(1), call(2), cast(2), cast(3)))).toHaveLength(1);
    expect(judge(make, log(answer, cast(1), call(2), cast(2), call(2), cast(3)))).toHaveLength(1);
  });
});

describe("the checker of messages", () => {
  const make = (now: () => number, report: Report) => new MessageOrderChecker(now, report);
  const listening = (life: string): SimEvent => ({ type: "listening", life });
  const heard = (life: string, number: number): SimEvent => ({ type: "message_heard", life, number });
  const message = { type: "resyncing_start", from: slotNumber(0) } as const;
  const begun = (number: number): SimEvent => ({ type: "message_begun", life: "a", number, message });
  const said = (number: number): SimEvent => ({ type: "message_said", life: "a", number });
  const log = (...events: SimEvent[]): Log => events.map((event, at) => [at, event]);
  const start = [lease("a", 1e3), listening("a"), listening("b"), listening("c")];

  it("is content when all have heard what was said, or are dead", () => {
    expect(judge(make, log(...start, begun(1), heard("b", 1), heard("c", 1), said(1)))).toEqual([]);
    expect(judge(make, log(...start, begun(1), heard("b", 1), { type: "evicted", life: "c" }, said(1)))).toEqual([]);
  });

  it("bites when only some hear what a dead sender has said, and go on", () => {
    const half = [...start, begun(1), heard("b", 1), { type: "evicted", life: "a" } as const];
    expect(judge(make, log(...half, heard("c", 2)))).toHaveLength(1);
    expect(judge(make, log(...half, heard("c", 1), heard("c", 2)))).toEqual([]);
    expect(judge(make, log(...half, { type: "deaf", life: "c" }, listening("d"), heard("d", 2)))).toEqual([]);
  });

  it("bites on one that is missed, heard twice, or heard in another order", () => {
    expect(judge(make, log(...start, begun(1), heard("b", 1), said(1)))).toHaveLength(1);
    expect(judge(make, log(...start, heard("b", 1), heard("b", 1)))).toHaveLength(1);
    expect(judge(make, log(...start, heard("b", 1), heard("b", 2), heard("c", 2), heard("c", 1)))).toHaveLength(1);
  });
});

describe("the history of a register", () => {
  const at = (invoked: number, returned: number, action: RegisterOperation["action"], certain = true) => ({
    ...{ who: "x", invoked, returned, certain, action },
  });
  const write = (value: string) => ({ type: "write", value }) as const;
  const read = (value: string) => ({ type: "read", value }) as const;

  it("may have any order of what overlaps", () => {
    expect(
      findContradiction([at(0, 10, write("a")), at(1, 9, write("b")), at(2, 3, read("b")), at(11, 12, read("a"))]),
    ).toBeNull();
    expect(findContradiction([at(0, 10, write("a")), at(1, 2, read("")), at(3, 4, read("a"))])).toBeNull();
  });

  it("has no read of what was overwritten, or never written, or of two orders", () => {
    expect(findContradiction([at(0, 1, write("a")), at(2, 3, write("b")), at(4, 5, read("a"))])?.action).toEqual(
      read("a"),
    );
    expect(findContradiction([at(0, 1, read("a"))])).not.toBeNull();
    expect(findContradiction([at(0, 10, write("a")), at(1, 2, read("a")), at(3, 4, read(""))])).not.toBeNull();
  });

  it("may lack a write whose writer died, and loses its value only where it is said to be lost", () => {
    const unsure = at(0, 10, write("a"), false);
    expect(findContradiction([unsure, at(1, 2, read("")), at(3, 4, read("a"))])).toBeNull();
    expect(findContradiction([unsure, at(1, 2, read("")), at(11, 12, read(""))])).toBeNull();
    expect(findContradiction([unsure, at(1, 2, read("a")), at(11, 12, read(""))])).not.toBeNull();
    const told = { type: "read_invalid" } as const;
    expect(findContradiction([at(0, 1, write("a")), at(2, 3, told), at(4, 5, read("a"))])).not.toBeNull();
    expect(
      findContradiction([at(0, 1, write("a")), at(2, 3, told), at(4, 5, write("b")), at(6, 7, read("b"))]),
    ).toBeNull();
    const gone = at(2, 3, { type: "vanish" }, false);
    expect(findContradiction([at(0, 1, write("a")), gone, at(4, 5, read(""))])).toBeNull();
  });

  /** By brute force: some order of all certain operations and any of the others is legal. */
  const isExplained = (operations: readonly RegisterOperation[]): boolean => {
    const search = (left: readonly RegisterOperation[], state: string | null): boolean => {
      if (left.every(({ certain }) => !certain)) return true;
      return left.some((next) => {
        if (left.some((other) => other.certain && other.returned < next.invoked)) return false;
        const rest = left.filter((one) => one !== next && (one.certain || one.returned >= next.invoked));
        const { action } = next;
        if (action.type === "read" && state !== action.value) return false;
        const after =
          action.type === "write"
            ? action.value
            : action.type === "read_invalid"
              ? null
              : action.type === "vanish"
                ? ""
                : state;
        return search(rest, after);
      });
    };
    return search(operations, "");
  };

  it("is judged as by trying all orders", () => {
    const value = fc.constantFrom("", "a", "b");
    const action = fc.oneof(
      fc.constantFrom("a", "b").map(write),
      value.map(read),
      fc.constant({ type: "read_invalid" } as const),
    );
    const operation = fc
      .tuple(fc.nat(30), fc.nat(10), action, fc.boolean())
      .map(([from, length, what, certain]) => at(from, from + 1 + length, what, certain || what.type !== "write"));
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 6 }), (operations) => {
        expect(findContradiction(operations) === null).toBe(isExplained(operations));
      }),
      { numRuns: 2000 },
    );
  });
});

describe("the checker of value blocks", () => {
  const make = (now: () => number, report: Report) =>
    new LockValueChecker(now, report, { weakReads: true, deathsForget: false });
  const readBy = (lock: number, life: string): SimEvent => ({
    type: "lock_asked",
    ...of(lock, life),
    ...{ from: "NL", to: "PR", wrote: null, reads: true },
  });
  const leases = [lease("a", 1e3), lease("b", 1e3)].map((event) => [0, event] as const);
  const wrote: Log = [...both, ...leases, [1, asked(1, "a", "EX", "NL", "x")], [2, done(1, "a", "NL")]];

  it("is content with the last value, with a warning, and with nothing after all locks were gone", () => {
    expect(judge(make, [...wrote, [3, readBy(2, "b")], [4, done(2, "b", "PR", "x")]], (c) => c.judge())).toEqual([]);
    expect(
      judge(make, [...wrote, [3, readBy(2, "b")], [4, done(2, "b", "PR", "old", false)]], (c) => c.judge()),
    ).toEqual([]);
    const closed = (lock: number, life: string): SimEvent => ({ type: "lock_closed", ...of(lock, life) });
    const anew: Log = [...wrote, [3, closed(1, "a")], [4, closed(2, "b")], [5, opened(3, "b")], [6, readBy(3, "b")]];
    expect(judge(make, [...anew, [7, done(3, "b", "PR", "")]], (c) => c.judge())).toEqual([]);
  });

  it("bites on a lost value, and on an old one", () => {
    expect(judge(make, [...wrote, [3, readBy(2, "b")], [4, done(2, "b", "PR", "")]], (c) => c.judge())).toHaveLength(1);
    const again: Log = [...wrote, [3, asked(1, "a", "EX", "NL", "y")], [4, done(1, "a", "NL")], [5, readBy(2, "b")]];
    expect(judge(make, [...again, [6, done(2, "b", "PR", "x")]], (c) => c.judge())).toHaveLength(1);
  });
});
