import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LockEvent, LockspaceId } from "../../src/dlm/lock-call.ts";
import { lockFlag, statusFlag } from "../../src/dlm/lock-flags.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { BareMember, VectorRunner } from "../support/lock-vector-runner.ts";
import { lockVectors } from "../support/lock-vectors.ts";
import { lockFencing } from "./lock-fencing.ts";
import { lockRecovery } from "./lock-recovery.ts";
import { lockSemantics } from "./lock-semantics.ts";

/** What every lock server must do. `open` gives a server that no other test uses. */
export function lockMasterConformance(
  kind: string,
  open: () => Promise<{ master: LockMaster; close: () => Promise<void> }>,
): void {
  describe(`lock master: ${kind}`, () => {
    let master: LockMaster;
    let close: () => Promise<void>;
    beforeAll(async () => {
      ({ master, close } = await open());
    });
    afterAll(() => close());

    let count = 0;
    const fresh = (): LockspaceId => {
      count += 1;
      return { cluster: "alpha", name: `space-${count}` };
    };
    const nl = { op: "lock", name: "r", mode: 0, flags: lockFlag.EXPEDITE, bast: true } as const;
    const convert = (lkid: number, mode: number) => ({ op: "convert", name: "r", lkid, mode, flags: 0 }) as const;
    const victim = ({ slot, incarnation }: BareMember, counter = 0) => ({ slot, incarnation, counter });
    const types = (member: BareMember): string[] => member.events.splice(0).map(({ type }) => type);

    it.each(lockVectors)("answers vector %s", async (id, steps) => {
      const runner = new VectorRunner(master, { cluster: "alpha", name: `vector-${id}` });
      const answers: string[] = [];
      for (const step of steps) answers.push(await runner.run(step));
      expect(answers).toEqual(steps);
    });

    describe("locks", () => lockSemantics(() => master, fresh));
    describe("fencing", () => lockFencing(() => master, fresh));
    describe("re-mastering", () => lockRecovery(() => master, fresh));

    it("knows nothing of a lockspace before it is formatted, and formats it once", async () => {
      const lockspace = fresh();
      expect((await master.call(lockspace, { op: "hello" })).rc).toBe(lockStatus.ENOLS);
      const format = { op: "format", lsid: "one", epoch: 0 } as const;
      expect((await master.call(lockspace, format)).rc).toBe(lockStatus.OK);
      expect((await master.call(lockspace, format)).rc).toBe(lockStatus.EEXIST);
      expect(await master.call(lockspace, { op: "hello" })).toMatchObject({ rc: 0, members: [], lsid: "one" });
    });

    it("keeps lockspaces of the same name in two clusters apart", async () => {
      const { name } = fresh();
      const a = await BareMember.join(master, { cluster: "alpha", name }, "a");
      const b = await BareMember.join(master, { cluster: "beta", name }, "b");
      const one = await a.call({ ...nl, mode: 5, flags: 0 });
      const two = await b.call({ ...nl, mode: 5, flags: 0 });
      expect([a.slot, b.slot, one.rc, two.rc]).toEqual([1, 1, 0, 0]);
      expect(types(b)).toEqual(["done", "cast"]);
    });

    it("gives the lowest free slot and keeps it while its owner is a member", async () => {
      const lockspace = fresh();
      const [a, b, c] = [
        await BareMember.join(master, lockspace, "a"),
        await BareMember.join(master, lockspace, "b"),
        await BareMember.join(master, lockspace, "c"),
      ];
      await b.call({ op: "leave" });
      const d = await BareMember.join(master, lockspace, "d");
      expect([a.slot, b.slot, c.slot, d.slot]).toEqual([1, 2, 3, 2]);
      await expect(BareMember.join(master, lockspace, "a")).resolves.toMatchObject({ slot: 1 }); // the same incarnation
    });

    it("refuses a member too many, a node name in use, and settings that differ", async () => {
      const lockspace = fresh();
      await BareMember.join(master, lockspace, "a", 1);
      const join = {
        op: "join",
        node: "b",
        incarnation: "x",
        slots: 1,
        leaseMs: 1000,
        lvbSize: 64,
        fencing: "lease only",
        gone: [],
      } as const;
      expect((await master.call(lockspace, join)).rc).toBe(lockStatus.ERANGE);
      expect((await master.call(lockspace, { ...join, node: "a" })).rc).toBe(lockStatus.EBUSY);
      // How far up a member may go is its own affair.
      const wide = fresh();
      await BareMember.join(master, wide, "a", 3);
      expect((await master.call(wide, { ...join, slots: 3, limit: 1 })).rc).toBe(lockStatus.ERANGE);
      expect(await master.call(wide, { ...join, slots: 3, limit: 2 })).toMatchObject({ rc: lockStatus.OK, value: 2 });
      expect((await master.call(lockspace, { ...join, leaseMs: 2000 })).rc).toBe(lockStatus.EPROTO);
      expect((await master.call(lockspace, { ...join, slots: 2 })).rc).toBe(lockStatus.EPROTO);
      expect((await master.call(lockspace, { ...join, fencing: "agent" })).rc).toBe(lockStatus.EPROTO);
    });

    it("executes a repeated call once and gives the same answer", async () => {
      const lockspace = fresh();
      const a = await BareMember.join(master, lockspace, "a");
      const first = await a.call(nl, 3);
      const second = await a.call(nl);
      expect(second.value).toBe(first.value + 1);
      const { resources } = await master.call(lockspace, { op: "dump" });
      expect(resources?.[0]?.locks.map(({ lkid }) => lkid)).toEqual([first.value, second.value]);
      // A repeat of what was refused is refused again, and changes nothing.
      const refused = await a.call(convert(999, 5), 2);
      expect(refused.rc).toBe(lockStatus.ENOENT);
    });

    it("refuses a call after a missing one, and one whose answer is not kept any more", async () => {
      const lockspace = fresh();
      const a = await BareMember.join(master, lockspace, "a");
      const raw = (rid: number) => master.call(lockspace, { ...a.header(rid), ...nl });
      expect((await raw(2)).rc).toBe(lockStatus.EGAP);
      for (let n = 0; n < 70; n++) await a.call(convert(999, 0));
      expect((await raw(1)).rc).toBe(lockStatus.ESTALE);
      expect((await raw(10)).rc).toBe(lockStatus.ENOENT);
    });

    it("keeps events until they are acknowledged, and numbers them without gaps", async () => {
      const lockspace = fresh();
      const a = await BareMember.join(master, lockspace, "a");
      const raw = (ack: number) => master.call(lockspace, { ...a.header(0), op: "poll", ack });
      await a.call(nl);
      await a.call(nl);
      expect((await raw(1)).events.map(({ n }) => n)).toEqual([3]);
      expect((await raw(1)).events.map(({ n }) => n)).toEqual([3]);
      expect((await raw(3)).events).toEqual([]);
      // Older acknowledgements that come late bring nothing back.
      expect((await raw(1)).events).toEqual([]);
      expect((await raw(9)).rc).toBe(lockStatus.ELOST);
    });

    it("evicts only a member whose counter stands where it was seen", async () => {
      const lockspace = fresh();
      const a = await BareMember.join(master, lockspace, "a");
      const b = await BareMember.join(master, lockspace, "b");
      await b.call({ op: "renew", counter: 7 });
      expect((await a.call({ op: "evict", victim: victim(b), evidence: "lease" })).rc).toBe(lockStatus.EALIVE);
      types(a);
      expect((await a.call({ op: "evict", victim: victim(b, 7), evidence: "lease" })).rc).toBe(lockStatus.OK);
      expect(types(a)).toEqual(["prep", "failed", "done"]);
      expect((await b.call({ op: "renew", counter: 8 })).rc).toBe(lockStatus.EFENCED);
      expect((await a.call({ op: "evict", victim: victim(b, 7), evidence: "lease" })).rc).toBe(lockStatus.OK); // done already
      expect(types(a)).toEqual([]);
    });

    it("tells of a death before its locks go to others, and of a clean leave without a failure", async () => {
      const lockspace = fresh();
      const a = await BareMember.join(master, lockspace, "a");
      const b = await BareMember.join(master, lockspace, "b");
      const c = await BareMember.join(master, lockspace, "c");
      const held = await b.call({ ...nl, mode: 5, flags: lockFlag.VALBLK, lvb: "x" });
      await b.call({ ...convert(held.value, 5), flags: lockFlag.VALBLK, lvb: "x" });
      await a.call({ ...nl, mode: 3, flags: lockFlag.VALBLK, lvb: "" });
      types(a);
      await c.call({ op: "evict", victim: victim(b), evidence: "lease" });
      await a.call({ op: "poll" });
      const events = a.events.splice(0);
      expect(events.map(({ type }) => type)).toEqual(["prep", "failed", "cast", "done"]);
      expect(events[2]).toMatchObject({ status: 0, mode: 3, flags: statusFlag.VALNOTVALID, lvb: "x" });
      await a.call({ op: "leave" });
      types(c);
      await c.call({ op: "poll" });
      expect(types(c)).toEqual(["prep", "left", "done"]);
      expect((await master.call(lockspace, { op: "dump" })).resources).toEqual([]);
    });

    it("evicts several dead members for one that joins, at one stroke", async () => {
      const lockspace = fresh();
      const a = await BareMember.join(master, lockspace, "a");
      const b = await BareMember.join(master, lockspace, "b");
      for (const member of [a, b]) await member.call({ ...nl, mode: 1, flags: 0 });
      const reply = await master.call(lockspace, {
        op: "join",
        node: "c",
        incarnation: "c1",
        slots: 8,
        leaseMs: 5000,
        lvbSize: 64,
        fencing: "lease only",
        gone: [victim(a), victim(b)],
      });
      expect(reply).toMatchObject({ rc: 0, value: 1, generation: 5 });
      const { members, resources } = await master.call(lockspace, { op: "dump" });
      expect([members?.map(({ node }) => node), resources]).toEqual([["c"], []]);
    });

    it("pushes events to a watching member without being asked", async () => {
      const lockspace = fresh();
      const a = await BareMember.join(master, lockspace, "a");
      const b = await BareMember.join(master, lockspace, "b");
      const held = await a.call({ ...nl, mode: 5, flags: 0 });
      const bast = new Promise<void>((resolve) => {
        const { slot, incarnation } = a;
        const { epoch } = a.header(0);
        const look = (events: readonly LockEvent[]): void => {
          if (!events.some((event) => event.type === "bast" && event.lkid === held.value)) return;
          watch.stop();
          resolve();
        };
        // What comes may only say that there is something.
        const watch = master.watch(lockspace, { slot, incarnation, epoch }, (events) => {
          if (events.length > 0) look(events);
          else void a.call({ op: "poll" }).then((reply) => look(reply.events));
        });
      });
      await b.call({ ...nl, mode: 3, flags: 0 });
      await bast;
    });

    it("runs many calls at once, each of them whole", async () => {
      const lockspace = fresh();
      const members = await Promise.all(["a", "b", "c", "d"].map((node) => BareMember.join(master, lockspace, node)));
      expect(members.map(({ slot }) => slot).sort()).toEqual([1, 2, 3, 4]);
      const locks = await Promise.all(members.map((member) => member.call(nl)));
      for (let round = 0; round < 20; round++) {
        await Promise.all(members.map((member, at) => member.call({ ...convert(locks[at]?.value ?? 0, 5), flags: 1 })));
        const { resources } = await master.call(lockspace, { op: "dump" });
        expect(resources?.[0]?.locks.filter(({ gr }) => gr === 5)).toHaveLength(1);
        await Promise.all(members.map((member, at) => member.call(convert(locks[at]?.value ?? 0, 0))));
      }
    });
  });
}
