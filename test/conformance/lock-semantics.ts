import { describe, expect, it } from "vitest";
import type { LockEvent, LockReply, LockspaceId } from "../../src/dlm/lock-call.ts";
import { lockFlag } from "../../src/dlm/lock-flags.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockModes } from "../../src/dlm/lock-mode.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { BareMember } from "../support/lock-vector-runner.ts";

const { OK, EINVAL, EAGAIN, EDEADLK, EBUSY, ENOENT, ERANGE } = lockStatus;
const { VALBLK, EXPEDITE, NOQUEUE, NODLCKWT, HEADQUE, NOORDER, IVVALBLK, CONVERT } = lockFlag;

/** Granted (first column) to requested: R the caller reads, W it writes, - neither. */
const transfer = {
  new: "RRRRRR",
  NL: "RRRRRR",
  CR: "-RRRRR",
  CW: "--RRRR",
  PR: "---RRR",
  PW: "WWWWWR",
  EX: "WWWWWW",
} as const;

/** What the vectors leave out: value blocks cell by cell, flags on every call, bounds, batches. */
export function lockSemantics(master: () => LockMaster, fresh: () => LockspaceId): void {
  const join = (lockspace: LockspaceId, node: string): Promise<BareMember> =>
    BareMember.join(master(), lockspace, node);
  const lock = { op: "lock", name: "r", mode: 0, flags: EXPEDITE, bast: true } as const;
  const convert = (lkid: number, mode: number, flags = 0, lvb?: string) =>
    ({ op: "convert", name: "r", lkid, mode, flags, ...(lvb === undefined ? {} : { lvb }) }) as const;
  const last = (member: BareMember): LockEvent | undefined => member.events.at(-1);
  const resource = async (lockspace: LockspaceId) => {
    const { resources }: LockReply = await master().call(lockspace, { op: "dump" });
    return resources?.[0];
  };

  describe.each(Object.entries(transfer))("value block, granted %s", (granted, row) => {
    it.each(lockModes.map((mode, at) => [mode, row[at], at] as const))("to %s: %s", async (_, direction, requested) => {
      for (const flags of [VALBLK, 0]) {
        const lockspace = fresh();
        const keeper = await join(lockspace, "k");
        const { value: kept } = await keeper.call({ ...lock, mode: 5, flags: VALBLK, lvb: "" });
        await keeper.call(convert(kept, 0, VALBLK, "old"));
        const a = await join(lockspace, "a");
        if (granted === "new") {
          await a.call({ ...lock, mode: requested, flags, lvb: "mine" });
        } else {
          const { value } = await a.call({ ...lock, mode: lockModes.indexOf(granted as "NL"), flags: 0 });
          await a.call(convert(value, requested, flags, "mine"));
        }
        expect(last(a)).toMatchObject({ type: "cast", status: OK, mode: requested, flags: 0 });
        const read = flags === VALBLK && direction === "R" ? "old" : undefined;
        expect((last(a) as { lvb?: string }).lvb).toBe(read);
        const written = flags === VALBLK && direction === "W";
        expect(await resource(lockspace)).toMatchObject({ lvb: written ? "mine" : "old", lvbSeq: written ? 2 : 1 });
      }
    });
  });

  it("refuses what no call may ask for, and changes nothing", async () => {
    const lockspace = fresh();
    const a = await join(lockspace, "a");
    const { value } = await a.call(lock);
    const { seq } = await a.call({ op: "poll" });
    const bad = [
      { ...lock, mode: 6 },
      { ...lock, mode: -1 },
      { ...lock, flags: 0x80 },
      { ...lock, flags: 0x40000 },
      { ...lock, flags: CONVERT },
      { ...lock, flags: IVVALBLK },
      { ...lock, flags: VALBLK },
      { ...lock, name: "" },
      { ...lock, name: "n".repeat(65) },
      { ...lock, name: "\u00e9" },
      { ...lock, flags: VALBLK, lvb: "A".repeat(89) },
      { ...convert(value, 6), flags: 0 },
      { ...convert(value, 5), flags: EXPEDITE },
      { ...convert(value, 5), flags: VALBLK },
      { op: "unlock", name: "r", lkid: value, flags: NOQUEUE },
      { op: "unlock", name: "r", lkid: value, flags: VALBLK },
    ] as const;
    for (const call of bad) expect((await a.call(call)).rc, JSON.stringify(call)).toBe(EINVAL);
    expect((await a.call({ op: "poll" })).seq).toBe(seq);
  });

  it("knows a lock by its owner and its resource only", async () => {
    const lockspace = fresh();
    const [a, b] = [await join(lockspace, "a"), await join(lockspace, "b")];
    const { value } = await a.call(lock);
    await b.call({ ...lock, name: "s" });
    expect((await b.call(convert(value, 5))).rc).toBe(ENOENT);
    expect((await a.call({ ...convert(value, 5), name: "s" })).rc).toBe(ENOENT);
    expect((await b.call({ op: "unlock", name: "r", lkid: value, flags: 0 })).rc).toBe(ENOENT);
  });

  it("queues conversions at the head with HEADQUE, and lets one with NOORDER pass", async () => {
    const lockspace = fresh();
    const a = await join(lockspace, "a");
    const ids: number[] = [];
    for (let n = 0; n < 4; n++) ids.push((await a.call({ ...lock, mode: n === 0 ? 5 : 0, flags: 0 })).value);
    const [held = 0, one = 0, two = 0, three = 0] = ids;
    await a.call(convert(one, 5));
    await a.call(convert(two, 5, HEADQUE));
    await a.call(convert(three, 1, NOORDER));
    a.events.splice(0);
    await a.call(convert(held, 4));
    const granted = a.events.flatMap((event) => (event.type === "cast" ? event.lkid : []));
    expect(granted).toEqual([held, three]);
    a.events.splice(0);
    await a.call({ op: "unlock", name: "r", lkid: held, flags: 0 });
    await a.call({ op: "unlock", name: "r", lkid: three, flags: 0 });
    expect(a.events.flatMap((event) => (event.type === "cast" && event.mode === 5 ? event.lkid : []))).toEqual([two]);
  });

  it("warns one that queued in spite of a deadlock when it blocks others", async () => {
    const lockspace = fresh();
    const [a, b] = [await join(lockspace, "a"), await join(lockspace, "b")];
    const one = await a.call({ ...lock, mode: 3, flags: 0 });
    const two = await b.call({ ...lock, mode: 3, flags: 0 });
    await a.call(convert(one.value, 4));
    await b.call(convert(two.value, 5, NODLCKWT));
    expect(b.events.flatMap((event) => (event.type === "bast" ? event.mode : []))).toEqual([4]);
    const third = await b.call({ ...lock, mode: 0, flags: 0 });
    await b.call({ op: "unlock", name: "r", lkid: third.value, flags: lockFlag.FORCEUNLOCK });
    expect(b.events.filter(({ type }) => type === "bast").at(-1)).toMatchObject({ lkid: two.value, mode: 5 });
  });

  it("keeps a bounded number of locks on one resource", { timeout: 60_000 }, async () => {
    const lockspace = fresh();
    const a = await join(lockspace, "a");
    for (let n = 0; n < 1000; n++) expect((await a.call({ ...lock, bast: false })).rc).toBe(OK);
    expect((await a.call(lock)).rc).toBe(ERANGE);
    expect((await a.call({ ...lock, name: "s" })).rc).toBe(OK);
    expect((await resource(lockspace))?.locks).toHaveLength(1000);
    await a.call({ op: "leave" });
    expect(await resource(lockspace)).toBeUndefined();
  });

  it("executes a batch as its conversions one by one", async () => {
    const states = [];
    for (const together of [true, false]) {
      const lockspace = fresh();
      const [a, b] = [await join(lockspace, "a"), await join(lockspace, "b")];
      const { value: token } = await a.call({ ...lock, name: "token" });
      const { value: message } = await a.call({ ...lock, name: "message", flags: EXPEDITE | VALBLK, lvb: "" });
      const { value: ack } = await a.call({ ...lock, name: "ack", mode: 1, flags: 0 });
      await b.call({ ...lock, name: "ack", mode: 1, flags: 0 });
      const steps = [
        { name: "token", lkid: token, mode: 5, flags: 0 },
        { name: "message", lkid: message, mode: 5, flags: VALBLK, lvb: "" },
        { name: "message", lkid: message, mode: 2, flags: VALBLK, lvb: "text" },
        { name: "ack", lkid: ack, mode: 5, flags: 0 },
      ];
      if (together) {
        // Stops after the one that is queued.
        const after = [...steps, { name: "token", lkid: token, mode: 0, flags: 0 }];
        expect(await a.call({ op: "batch", steps: after }, 2)).toMatchObject({ rc: OK, value: 4 });
      } else {
        for (const step of steps) await a.call({ op: "convert", ...step });
      }
      await b.call({ op: "poll" });
      const { resources, seq } = await master().call(lockspace, { op: "dump" });
      states.push({ resources, seq, events: [a.events, b.events] });
    }
    expect(states[0]).toEqual(states[1]);
  });

  it("stops a batch at what is refused or fails, and says how far it came", async () => {
    const lockspace = fresh();
    const [a, b] = [await join(lockspace, "a"), await join(lockspace, "b")];
    const { value: mine } = await a.call({ ...lock, mode: 3, flags: 0 });
    const { value: theirs } = await b.call({ ...lock, mode: 3, flags: 0 });
    const step = (mode: number, flags = 0, lkid = mine) => ({ name: "r", lkid, mode, flags });
    const batch = (...steps: ReturnType<typeof step>[]) => a.call({ op: "batch", steps });
    expect(await batch(step(1), step(0, 0, theirs), step(5))).toMatchObject({ rc: ENOENT, value: 1 });
    expect(await batch(step(3), step(5, NOQUEUE), step(0))).toMatchObject({ rc: OK, value: 2 });
    expect(last(a)).toMatchObject({ status: EAGAIN, mode: 3 });
    await b.call(convert(theirs, 5));
    expect(await batch(step(5), step(0))).toMatchObject({ rc: OK, value: 1 });
    expect(last(a)).toMatchObject({ status: EDEADLK, mode: 3 });
    expect(await batch(step(6))).toMatchObject({ rc: EINVAL, value: 0 });
    expect(await batch()).toMatchObject({ rc: EINVAL, value: 0 });
    const { value: other } = await a.call({ ...lock, name: "s", mode: 3, flags: 0 });
    await b.call({ ...lock, name: "s", mode: 3, flags: 0 });
    const queued = { name: "s", lkid: other, mode: 5, flags: 0 };
    expect(await a.call({ op: "batch", steps: [queued, queued] })).toMatchObject({ rc: OK, value: 1 });
    expect(await a.call({ op: "batch", steps: [queued] })).toMatchObject({ rc: EBUSY, value: 0 });
  });
}
