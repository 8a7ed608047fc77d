import { expect, it } from "vitest";
import type { LockspaceId } from "../../src/dlm/lock-call.ts";
import { lockFlag } from "../../src/dlm/lock-flags.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { BareMember } from "../support/lock-vector-runner.ts";

const { OK, EFENCED, EBUSY, EALIVE, ESTALE, ENOENT, EINVAL } = lockStatus;

/** Fencing in two phases: nobody gets a victim's locks before somebody says that it surely writes no more. */
export function lockFencing(master: () => LockMaster, fresh: () => LockspaceId): void {
  const three = async (lockspace: LockspaceId): Promise<[BareMember, BareMember, BareMember]> => {
    const join = (node: string): Promise<BareMember> => BareMember.join(master(), lockspace, node);
    const members: [BareMember, BareMember, BareMember] = [await join("a"), await join("b"), await join("c")];
    for (const member of members) {
      await member.call({ op: "poll" });
      member.events.splice(0);
    }
    return members;
  };
  const types = (member: BareMember): string[] => member.events.splice(0).map(({ type }) => type);
  const victim = ({ slot, incarnation }: BareMember, counter = 0) => ({ slot, incarnation, counter });
  const ex = { op: "lock", name: "r", mode: 5, flags: 0, bast: true } as const;
  const result = (of: BareMember, token: number, ok: boolean) =>
    ({ op: "fence_result", victim: victim(of), token, ok, evidence: "status off" }) as const;

  it("leaves a victim's locks alone until its fencing has succeeded", async () => {
    const [a, b, c] = await three(fresh());
    await c.call(ex);
    await a.call(ex);
    const { rc, value: token } = await b.call({ op: "fence_begin", victim: victim(c) });
    expect(rc).toBe(OK);
    await a.call({ op: "poll" });
    expect([types(a), types(b)]).toEqual([["prep"], ["prep"]]);
    for (const call of [{ op: "poll" }, { op: "renew", counter: 1 }, { op: "leave" }, ex] as const) {
      expect((await c.call(call)).rc).toBe(EFENCED);
    }
    expect((await b.call(result(c, token, false))).rc).toBe(OK);
    const { members } = await b.call({ op: "renew", counter: 1 });
    expect(members?.[2]).toMatchObject({ state: "fencing", fence: { token, owner: b.incarnation, tries: 1 } });
    expect(types(a)).toEqual([]);
    expect((await b.call(result(c, token, true))).rc).toBe(OK);
    await a.call({ op: "poll" });
    expect(types(a)).toEqual(["prep", "failed", "cast", "done"]);
    expect((await b.call(result(c, token, true))).rc).toBe(OK); // done already
  });

  it("fences only a member that stands where it was seen, and never the caller", async () => {
    const [a, b, c] = await three(fresh());
    await c.call({ op: "renew", counter: 4 });
    expect((await a.call({ op: "fence_begin", victim: victim(c, 3) })).rc).toBe(EALIVE);
    expect((await a.call({ op: "fence_begin", victim: victim(a) })).rc).toBe(EINVAL);
    expect((await a.call({ op: "fence_begin", victim: { ...victim(c), incarnation: "x" } })).rc).toBe(ENOENT);
    expect((await a.call({ op: "fence_begin", victim: victim(c, 4) })).rc).toBe(OK);
    types(b);
    expect((await b.call({ op: "poll" })).rc).toBe(OK);
  });

  it("has one owner, until that one is gone or somebody has seen it stand still", async () => {
    const [a, b, c] = await three(fresh());
    const begin = { op: "fence_begin", victim: victim(c) } as const;
    const { value: token } = await a.call(begin);
    expect(await a.call(begin)).toMatchObject({ rc: OK, value: token }); // asked again by its owner
    expect(await b.call(begin)).toMatchObject({ rc: EBUSY, value: token });
    expect((await b.call({ ...begin, takesOver: token + 1 })).rc).toBe(EBUSY);
    await a.call(result(c, token, false));
    const taken = await b.call({ ...begin, takesOver: token });
    expect(taken.rc).toBe(OK);
    expect(taken.value).toBeGreaterThan(token);
    expect((await a.call(result(c, token, true))).rc).toBe(ESTALE);
    await b.call({ op: "leave" });
    const { rc, value } = await a.call(begin);
    expect([rc, value > taken.value]).toEqual([OK, true]);
    const { members } = await a.call({ op: "renew", counter: 1 });
    expect(members?.at(-1)?.fence).toEqual({ token: value, owner: a.incarnation, tries: 1 });
  });

  it("lets nobody in while it lasts who cannot prove the victim's end", async () => {
    const lockspace = fresh();
    const [a, , c] = await three(lockspace);
    await a.call({ op: "fence_begin", victim: victim(c) });
    const settings = { slots: 8, leaseMs: 1000, lvbSize: 64, fencing: "lease only" } as const;
    const join = { op: "join", node: "d", incarnation: "d1", ...settings } as const;
    expect((await master().call(lockspace, { ...join, gone: [] })).rc).toBe(EBUSY);
    const again = { ...join, node: "c", incarnation: c.incarnation, gone: [] };
    expect((await master().call(lockspace, again)).rc).toBe(EFENCED);
    expect(await master().call(lockspace, { ...join, gone: [victim(c)] })).toMatchObject({ rc: OK, value: 3 });
  });

  it("ends by an eviction with better evidence than a lease", async () => {
    const [a, b, c] = await three(fresh());
    await c.call({ op: "renew", counter: 4 });
    const { value: token } = await a.call({ op: "fence_begin", victim: victim(c, 4) });
    const evict = { op: "evict", victim: victim(c, 4) } as const;
    expect((await b.call({ ...evict, evidence: "lease" })).rc).toBe(EBUSY);
    expect((await b.call({ ...evict, victim: victim(c, 1), evidence: "process" })).rc).toBe(EALIVE);
    expect((await b.call({ ...evict, victim: victim(c, 1), evidence: "operator" })).rc).toBe(OK);
    expect((await a.call(result(c, token, true))).rc).toBe(OK);
    const { members } = await a.call({ op: "renew", counter: 1 });
    expect(members?.map(({ node }) => node)).toEqual(["a", "b"]);
  });

  it("counts one that is being fenced as missing when the lockspace is rebuilt", async () => {
    const lockspace = fresh();
    const [a, b, c] = await three(lockspace);
    for (const member of [a, b, c]) await member.call({ op: "renew", counter: 1 });
    await a.recover([], { epoch: 5 });
    await b.recover([{ gr: 0, queue: "c", rq: 5 }], { epoch: 1 });
    const { value: token } = await a.call({ op: "fence_begin", victim: victim(c) });
    expect((await c.recover([{ gr: 5 }], { epoch: 1 })).rc).toBe(EFENCED);
    expect(await b.call({ op: "poll" })).toMatchObject({ state: "recover", events: [] });
    await a.call(result(c, token, true));
    expect(await b.call({ op: "poll" })).toMatchObject({ state: "run" });
    expect(types(b)).toEqual(["prep", "failed", "cast", "done"]);
  });

  it("goes on with the fencing of a member that was under way when the lockspace was lost", async () => {
    const lockspace = fresh();
    const [a, b, c] = await three(lockspace);
    for (const member of [a, b, c]) await member.call({ op: "renew", counter: 1 });
    const fenced = a
      .report()
      .members.map((record) =>
        record.node === "c"
          ? { ...record, state: "fencing" as const, fence: { token: 7, owner: b.incarnation, tries: 2 } }
          : record,
      );
    // The victim is there first, and even checked in.
    expect((await c.recover([{ gr: 5 }], { epoch: 5 })).rc).toBe(OK);
    const { members } = await a.recover([], { epoch: 1, members: fenced });
    expect(members?.map(({ state }) => state)).toEqual(["active", "absent", "fencing"]);
    expect(members?.[2]?.fence).toMatchObject({ owner: b.incarnation, tries: 2 });
    expect((await c.call({ op: "renew", counter: 2 })).rc).toBe(EFENCED);
    expect((await c.recover([{ gr: 5 }], { epoch: 1 })).rc).toBe(EFENCED);
    // One who has not heard of it does not end it.
    expect(await b.recover([{ gr: 0, queue: "c", rq: 5 }], { epoch: 1 })).toMatchObject({ rc: OK, state: "recover" });
    const { value: token } = await b.call({ op: "fence_begin", victim: victim(c, 1) });
    expect(token).toBe(members?.[2]?.fence?.token);
    expect((await b.call(result(c, token, true))).rc).toBe(OK);
    await b.call({ op: "poll" });
    expect(types(b)).toEqual(["prep", "failed", "cast", "done"]);
  });

  it("holds for invalid what the victim could have been writing", async () => {
    const lockspace = fresh();
    const [a, , c] = await three(lockspace);
    await a.call({ ...ex, mode: 0, flags: lockFlag.EXPEDITE | lockFlag.VALBLK, lvb: "" });
    const held = await c.call({ ...ex, flags: lockFlag.VALBLK, lvb: "" });
    const write = { op: "convert", name: "r", lkid: held.value, mode: 5, flags: lockFlag.VALBLK, lvb: "w" } as const;
    await c.call(write);
    const { value: token } = await a.call({ op: "fence_begin", victim: victim(c) });
    await a.call(result(c, token, true));
    const { resources } = await master().call(lockspace, { op: "dump" });
    expect(resources?.[0]).toMatchObject({ lvb: "w", lvbInvalid: true });
  });
}
