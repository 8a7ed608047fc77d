import { expect, it } from "vitest";
import type { LockReply, LockspaceId } from "../../src/dlm/lock-call.ts";
import { lockFlag, statusFlag } from "../../src/dlm/lock-flags.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { BareMember } from "../support/lock-vector-runner.ts";

const { OK, EFENCED, ERECOVER, ECONFLICT, EIDENT, EPROTO, EEPOCH, EINVAL, ESTALE } = lockStatus;

/** Re-mastering: what a server does that has lost its state, or part of it, and hears from the members. */
export function lockRecovery(master: () => LockMaster, fresh: () => LockspaceId): void {
  const join = async (lockspace: LockspaceId, ...nodes: string[]): Promise<BareMember[]> => {
    const members: BareMember[] = [];
    for (const node of nodes) members.push(await BareMember.join(master(), lockspace, node));
    for (const member of members) {
      await member.call({ op: "renew", counter: 1 }); // learns the list of members, and reads its events
      member.events.splice(0);
    }
    return members;
  };
  const types = (member: BareMember): string[] => member.events.splice(0).map(({ type }) => type);
  const dump = (lockspace: LockspaceId): Promise<LockReply> => master().call(lockspace, { op: "dump" });
  /** An epoch above the server's: it has gone back. */
  const later = { epoch: 5 };
  const victim = ({ slot, incarnation }: BareMember, counter = 0) => ({ slot, incarnation, counter });
  const nl = { op: "lock", name: "r", mode: 0, flags: lockFlag.EXPEDITE, bast: true } as const;

  it("rebuilds a lockspace that is gone from what its members hold and wait for", async () => {
    const [a, b, c] = (await join(fresh(), "a", "b", "c")) as [BareMember, BareMember, BareMember];
    const other = fresh();
    const there = { slots: 8, leaseMs: 1000, lvbSize: 64, fencing: "lease only" };
    const tell = (member: BareMember, locks: Parameters<BareMember["report"]>[0]) =>
      master().call(other, member.report(locks, { settings: there }));
    const first = await tell(a, [{ gr: 5, order: 3, lvb: "held", lvbSeq: 7 }]);
    expect(first).toMatchObject({ rc: OK, value: 1, state: "recover", epoch: 2 });
    expect(first.members?.map(({ state }) => state)).toEqual(["active", "absent", "absent"]);
    await tell(b, [{ gr: 0, queue: "c", rq: 3, order: 9 }]);
    const last = await tell(c, [{ gr: -1, queue: "w", rq: 5, order: 8 }]);
    expect(last).toMatchObject({ rc: OK, state: "run" });
    // Numbered from 1, and what is still blocked is told again.
    expect(last.events.map(({ n, type }) => [n, type])).toEqual([
      [1, "prep"],
      [2, "done"],
    ]);
    const { resources, generation } = await dump(other);
    expect(generation).toBe((first.generation ?? 0) + 1);
    expect(resources).toMatchObject([{ name: "r", lvb: "held", lvbSeq: 7, lvbInvalid: false }]);
    expect(resources?.[0]?.locks.map(({ slot, queue }) => [slot, queue])).toEqual([
      [1, "g"],
      [2, "c"],
      [3, "w"],
    ]);
    const again = await tell(a, []);
    expect(again.events.map(({ type }) => type)).toEqual(["prep", "bast", "done"]);
  });

  it("lets nobody lock before all have reported, but renew, poll and leave", async () => {
    const lockspace = fresh();
    const [a, b, c] = (await join(lockspace, "a", "b", "c")) as [BareMember, BareMember, BareMember];
    await a.recover([], later);
    expect(await a.call({ op: "renew", counter: 2 })).toMatchObject({ rc: OK, state: "recover" });
    expect(await a.call({ op: "poll" })).toMatchObject({ rc: OK, state: "recover", events: [] });
    const header = a.header(a.lastRid + 1);
    const refused = [
      { ...header, ...nl },
      { ...header, op: "convert", name: "r", lkid: 10, mode: 0, flags: 0 },
      { ...header, op: "batch", steps: [{ name: "r", lkid: 10, mode: 0, flags: 0 }] },
      { ...header, op: "unlock", name: "r", lkid: 10, flags: 0 },
    ] as const;
    for (const call of refused) expect((await master().call(lockspace, call)).rc).toBe(ERECOVER);
    expect((await b.call({ op: "renew", counter: 2 })).rc).toBe(EEPOCH); // has not reported
    await b.recover([], { epoch: 1 });
    await c.recover([], { epoch: 1 });
    expect(await master().call(lockspace, { ...header, ...nl })).toMatchObject({ rc: OK });
  });

  it("goes on without one that left or died meanwhile, and says so", async () => {
    const lockspace = fresh();
    const [a, b, c, d] = (await join(lockspace, "a", "b", "c", "d")) as [
      BareMember,
      BareMember,
      BareMember,
      BareMember,
    ];
    await a.recover([{ gr: 0, queue: "c", rq: 5 }], later);
    await b.recover([{ gr: 3, lvb: "v", lvbSeq: 1 }], { epoch: 1 });
    await d.recover([], { epoch: 1 });
    await d.call({ op: "leave" });
    expect((await a.call({ op: "evict", victim: victim(c, 7), evidence: "lease" })).rc).toBe(lockStatus.EALIVE);
    expect((await a.call({ op: "evict", victim: victim(c), evidence: "lease" })).rc).toBe(OK);
    expect((await c.recover([], { epoch: 1 })).rc).toBe(EFENCED);
    await a.call({ op: "poll" });
    await b.call({ op: "poll" });
    expect([types(a), types(b)]).toEqual([
      ["prep", "failed", "left", "done"],
      ["prep", "failed", "left", "bast", "done"],
    ]);
  });

  it("grants what nobody blocks any more, and holds a value for bad if its writer may be missing", async () => {
    const lockspace = fresh();
    const [a, b] = (await join(lockspace, "a", "b")) as [BareMember, BareMember];
    const locks = [
      { gr: 1, lvb: "old", lvbSeq: 1, order: 1 },
      { name: "s", gr: 0, queue: "c", rq: 3, order: 2 },
    ] as const;
    await a.recover(locks, later);
    await b.recover([{ gr: 0, lvb: "newer", lvbSeq: 2, order: 4 }], { epoch: 1 });
    await a.call({ op: "poll" });
    expect(a.events.find(({ type }) => type === "cast")).toMatchObject({ lkid: 11, status: OK, mode: 3, flags: 0 });
    const [r] = (await dump(lockspace)).resources ?? [];
    expect(r).toMatchObject({ name: "r", lvb: "newer", lvbSeq: 2, lvbInvalid: true });
    await a.call({ op: "convert", name: "r", lkid: 10, mode: 3, flags: lockFlag.VALBLK, lvb: "" });
    expect(a.events.at(-1)).toMatchObject({ flags: statusFlag.VALNOTVALID, lvb: "newer" });
  });

  it("keeps a value invalid that its readers know to be invalid", async () => {
    const lockspace = fresh();
    const [a, b] = (await join(lockspace, "a", "b")) as [BareMember, BareMember];
    // Who was told VALNOTVALID has no value to report, only that there was one.
    await a.recover([{ gr: 3, lvbSeq: 5, order: 1 }], later);
    await b.recover([{ gr: 0, order: 2 }], { epoch: 1 });
    expect((await dump(lockspace)).resources).toMatchObject([{ name: "r", lvb: "", lvbSeq: 5, lvbInvalid: true }]);
  });

  it("stays closed when two hold what cannot be, names it, and opens when one of them is evicted", async () => {
    const lockspace = fresh();
    const [a, b] = (await join(lockspace, "a", "b")) as [BareMember, BareMember];
    await a.recover([{ gr: 5 }, { name: "s", gr: 5 }], later);
    const closed = await b.recover([{ gr: 3 }], { epoch: 1 });
    const conflicts = [
      {
        name: "r",
        locks: [
          { slot: 1, mode: 5 },
          { slot: 2, mode: 3 },
        ],
      },
    ];
    expect(closed).toMatchObject({ rc: ECONFLICT, state: "recover", conflicts });
    expect(await master().call(lockspace, { op: "hello" })).toMatchObject({ rc: OK, state: "recover", conflicts });
    expect((await master().call(lockspace, a.report([{ gr: 5 }], { epoch: 1 }))).rc).toBe(ECONFLICT);
    expect((await dump(lockspace)).reports?.map(({ slot, locks }) => [slot, locks.length])).toEqual([
      [1, 1],
      [2, 1],
    ]);
    await a.call({ op: "evict", victim: victim(b), evidence: "operator" });
    await a.call({ op: "poll" });
    expect(types(a)).toEqual(["prep", "failed", "done"]);
  });

  it("believes the newest list of members, and tells of those that others had not missed yet", async () => {
    const lockspace = fresh();
    const [a, b, c] = (await join(lockspace, "a", "b", "c")) as [BareMember, BareMember, BareMember];
    const { generation, members } = a.report();
    // b has seen c go, a has not.
    await a.recover([], later);
    const survivors = members.filter(({ node }) => node !== "c");
    await b.recover([], { epoch: 1, generation: generation + 1, members: survivors });
    expect((await c.recover([{ gr: 5 }], { epoch: 1 })).rc).toBe(EFENCED);
    await a.call({ op: "poll" });
    expect([types(a), types(b)]).toEqual([
      ["prep", "failed", "done"],
      ["prep", "done"],
    ]);
    expect((await master().call(lockspace, { op: "hello" })).generation).toBe(generation + 2);
  });

  it("starts over when somebody reports who has gone on in the epoch that is being opened", async () => {
    const lockspace = fresh();
    const [a, b] = (await join(lockspace, "a", "b")) as [BareMember, BareMember];
    const first = await a.recover([], later);
    const second = await b.recover([], { epoch: first.epoch });
    expect(second).toMatchObject({ rc: OK, state: "recover", epoch: first.epoch + 1 });
    expect((await a.call({ op: "renew", counter: 3 })).rc).toBe(EEPOCH);
    expect(await a.recover()).toMatchObject({ rc: OK, state: "run", epoch: second.epoch });
  });

  it("is not opened anew by one that was evicted and has seen higher numbers in an older epoch", async () => {
    const lockspace = fresh();
    const [a, e] = (await join(lockspace, "a", "e")) as [BareMember, BareMember];
    // The server has gone back, and e, which had seen more than a, is cut off.
    await a.recover([], later);
    expect((await a.call({ op: "evict", victim: victim(e), evidence: "operator" })).rc).toBe(OK);
    const { seq, epoch, state } = await a.call({ op: "renew", counter: 2 });
    expect(state).toBe("run");
    const late = await master().call(lockspace, e.report([], { seen: seq + 1000 }));
    expect(late.rc).toBe(EFENCED);
    expect(await dump(lockspace)).toMatchObject({ epoch, state: "run" });
  });

  it("refuses a copy of a report that comes when its sender has renewed since", async () => {
    const lockspace = fresh();
    const [a, b] = (await join(lockspace, "a", "b")) as [BareMember, BareMember];
    const old = a.report([{ gr: 5, lvb: "old" }], later);
    await a.call({ op: "renew", counter: 2 });
    const fresher = await a.recover([{ gr: 0, lvb: "new" }], later);
    expect(fresher).toMatchObject({ rc: OK, state: "recover" });
    expect((await master().call(lockspace, { ...old, epoch: 1 })).rc).toBe(lockStatus.ESTALE);
    expect(await b.recover([], { epoch: 1 })).toMatchObject({ rc: OK, state: "run" });
    expect((await dump(lockspace)).resources?.[0]?.locks.map(({ gr }) => gr)).toEqual([0]);
  });

  it("answers a repeated report with what has become of it, and changes nothing", async () => {
    const lockspace = fresh();
    const [a, b] = (await join(lockspace, "a", "b")) as [BareMember, BareMember];
    await a.recover([{ gr: 5 }], later);
    const report = b.report([{ gr: 0 }], { epoch: 1 });
    const once = await master().call(lockspace, report);
    const state = await dump(lockspace);
    expect(await master().call(lockspace, report)).toEqual(once);
    expect(await dump(lockspace)).toEqual(state);
    // Nobody who did not report, or in an epoch in which nothing was lost.
    expect((await master().call(lockspace, { ...report, incarnation: "x" })).rc).toBe(EFENCED);
    expect((await master().call(lockspace, { ...report, lsid: "other" })).rc).toBe(EFENCED);
    expect(await dump(lockspace)).toEqual(state);
  });

  it("goes on with the request ids of its members, and keeps no older answers", async () => {
    const lockspace = fresh();
    const [a] = (await join(lockspace, "a")) as [BareMember];
    for (let n = 0; n < 3; n++) await a.call(nl);
    await a.recover([{ gr: 0 }], later);
    const { epoch } = a.header(0);
    expect((await master().call(lockspace, { ...a.header(2), ...nl })).rc).toBe(ESTALE);
    expect(await a.call(nl)).toMatchObject({ rc: OK, value: 101, epoch });
  });

  it("takes no report that contradicts itself, has other settings or is meant for another server", async () => {
    const lockspace = fresh();
    const [a, b] = (await join(lockspace, "a", "b")) as [BareMember, BareMember];
    const before = await dump(lockspace);
    const bad = [
      [{ gr: 6 }],
      [{ gr: -1 }],
      [{ gr: 0, rq: 3 }],
      [{ queue: "c", gr: 0 }],
      [{ queue: "w", gr: 0, rq: 3 }],
      [{ name: "" }],
      [{ name: "n".repeat(64), lvb: "A".repeat(100) }],
    ] as const;
    for (const locks of bad) expect((await a.recover(locks, later)).rc, JSON.stringify(locks)).toBe(EINVAL);
    const [first] = a.report().members;
    const twice = { ...later, members: first === undefined ? [] : [first, first] };
    expect((await a.recover([], twice)).rc).toBe(EINVAL);
    expect((await a.recover([], { ...later, server: "another" })).rc).toBe(EIDENT);
    expect(await dump(lockspace)).toEqual(before);
    await a.recover([], later);
    const settings = { ...b.report().settings, fencing: "agent" };
    expect((await b.recover([], { epoch: 1, settings })).rc).toBe(EPROTO);
  });

  it("lets a member that left 10,000 events unread report its locks anew", { timeout: 60_000 }, async () => {
    const lockspace = fresh();
    const [a, b] = (await join(lockspace, "a", "b")) as [BareMember, BareMember];
    const { value: held } = await a.call({ ...nl, mode: 3, flags: 0 });
    await a.call({ op: "poll" });
    // Each of them warns a: PR and CW hold each other up.
    const flags = lockFlag.NOQUEUE | lockFlag.NOQUEUEBAST;
    const warn = () => b.call({ ...nl, mode: 2, flags });
    for (let n = 0; n < 10_000; n += 50) await Promise.all(Array.from({ length: 50 }, warn));
    expect((await a.call({ op: "poll" })).events).toHaveLength(10_000);
    a.events.splice(0);
    await warn(); // one more, and not one of them is acknowledged
    expect(await a.call({ op: "poll" })).toMatchObject({ rc: lockStatus.ELOST, events: [] });
    expect((await b.call({ op: "poll" })).rc).toBe(OK);
    const lock = { lkid: held, gr: 3, rq: -1 };
    expect(await a.recover([lock])).toMatchObject({ rc: OK, state: "recover" });
    expect(await b.recover()).toMatchObject({ rc: OK, state: "run" });
    await a.call({ op: "poll" });
    expect(types(a)).toEqual(["prep", "done"]);
  });

  it("lets a joiner wait for the reports, or bring proof that nobody is left to report", async () => {
    const lockspace = fresh();
    const [a, b] = (await join(lockspace, "a", "b")) as [BareMember, BareMember];
    await a.recover([{ gr: 5 }], later);
    const { settings } = a.report();
    const call = { op: "join", node: "c", incarnation: "c1", ...settings } as const;
    expect(await master().call(lockspace, { ...call, gone: [] })).toMatchObject({ rc: ERECOVER, state: "recover" });
    expect((await master().call(lockspace, { ...call, gone: [victim(b)] })).rc).toBe(OK);
    await a.call({ op: "poll" });
    expect(types(a)).toEqual(["prep", "failed", "done", "prep", "joined", "done"]);
  });
}
