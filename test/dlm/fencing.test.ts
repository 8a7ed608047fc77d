import { beforeEach, describe, expect, it } from "vitest";
import type { FenceOutcome } from "../../src/dlm/fencer.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { Cable } from "../support/cable.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { FakeFencer } from "../support/fake-fencer.ts";
import { envOf, joinRecorded, type RecordedNode } from "../support/lockspace-node.ts";

interface Node extends RecordedNode {
  readonly cable: Cable;
  readonly fencer: FakeFencer;
}

describe("members that are fenced", () => {
  let clock: FakeClock;
  let server: MemoryLockMaster;
  let joins = 0;

  beforeEach(() => {
    clock = new FakeClock();
    server = new MemoryLockMaster();
  });

  const join = async (name: string, more: Parameters<typeof joinRecorded>[3] = {}): Promise<Node> => {
    const cable = new Cable(server);
    const fencer = new FakeFencer();
    let done = false;
    const joining = joinRecorded(cable, envOf(clock, ++joins), name, { fencer, ...more });
    joining.then(
      () => {
        done = true;
      },
      () => {
        done = true;
      },
    );
    for (let turn = 0; turn < 120 && !done; turn++) await clock.advance(50);
    const node = await joining;
    await clock.advance(1);
    return Object.assign(node, { cable, fencer });
  };

  const held = async ({ lockspace }: Node) => (await lockspace.dump()).resources.flatMap(({ granted }) => granted);

  it("keep their locks until it has succeeded, however long that takes; the victim's calls are refused at once", async () => {
    const [a, b] = [await join("n1"), await join("n2")];
    const lock = await a.lockspace.open("token", { lvb: false });
    await lock.convert("EX");
    const theirs = await b.lockspace.open("token", { lvb: false });
    const waiting = theirs.convert("EX");
    b.fencer.answers = ["reject", { ok: false, evidence: "the switch does not answer" }, "hang"];
    a.cable.state = "silent";
    b.log.length = 0;
    await clock.advance(1200);
    expect(b.fencer.victims[0]).toMatchObject({
      node: "n1",
      slot: 0,
      generation: 2,
      incarnation: a.lockspace.incarnation,
    });
    expect(b.log).toEqual(["prep"]);
    expect(b.lockspace.status().members.find(({ node }) => node === "n1")?.fencing).toMatchObject({ by: "n2" });
    a.cable.state = "up";
    await clock.advance(600);
    expect(a.log.at(-1)).toMatch(/^fenced/);
    expect((await held(b)).map(({ mode }) => mode)).toEqual(["EX"]);
    // Tried again after pauses that grow; what hangs is given up.
    await clock.advance(6000);
    expect(b.fencer.victims.length).toBe(4);
    expect((await waiting).status).toBe("granted");
    expect(b.log).toEqual(["prep", "prep", "slot 0 n1", "done 4: 1=n2, own 1"]);
  });

  it("are not fenced when their process has surely ended, or when an operator vouches for it", async () => {
    let gone = false;
    const isProcessGone = (): boolean => gone;
    const a = await join("n1", { process: { host: "h", pid: 7, started: "1" } });
    const b = await join("n2", { isProcessGone });
    const c = await join("n3", { isProcessGone });
    gone = true;
    a.cable.state = "silent";
    await clock.advance(400);
    expect(b.log).toContain("slot 0 n1");
    b.fencer.answers = Array<FenceOutcome>(50).fill({ ok: false, evidence: "no" });
    c.cable.state = "silent";
    await clock.advance(1500);
    expect([b.fencer.victims.length > 0, b.log.includes("slot 2 n3")]).toEqual([true, false]);
    await b.lockspace.evict({ node: "n3", slot: c.lockspace.slot });
    await clock.advance(100);
    expect(b.log).toContain("slot 2 n3");
  });

  it("are never the machine itself: its own former life ended with the boot before", async () => {
    const process = { host: "m/boot1/ns", pid: 7, started: "1" };
    const [a, b] = [await join("n1", { process }), await join("n2", { process })];
    for (const { cable } of [a, b]) cable.state = "silent";
    const again = await join("n1", { process: { ...process, host: "m/boot2/ns" }, isRebooted: () => true });
    expect(again.fencer.victims.map(({ node }) => node)).toEqual(["n2"]);
    expect(again.lockspace.members.map(({ node }) => node)).toEqual(["n1"]);
  });

  it("are fenced by one of the others at a time; another takes over when that one stands still or dies", async () => {
    const nodes = [await join("n1"), await join("n2"), await join("n3"), await join("n4")] as const;
    const [a, ...others] = nodes;
    for (const { fencer } of others) fencer.answers = Array<"hang">(50).fill("hang");
    a.cable.state = "silent";
    await clock.advance(1300);
    const first = others.filter(({ fencer }) => fencer.victims.length > 0);
    expect(first).toHaveLength(1);
    // It runs no attempt to its end, and tells of none: cut off, it is silent itself.
    for (const node of first) node.cable.state = "silent";
    const rest = others.filter((node) => !first.includes(node));
    for (const { fencer } of rest) fencer.answers = [];
    await clock.advance(1500);
    const done = rest.flatMap(({ fencer }) => fencer.victims.map(({ node }) => node)).sort();
    expect(new Set(done)).toEqual(new Set(["n1", first[0]?.lockspace.status().members[first[0].lockspace.slot]?.node]));
    for (const { log } of rest) expect(log.filter((line) => line.startsWith("slot"))).toHaveLength(2);
  });

  it("are taken over from a living member that does not get on with it", async () => {
    const [a, b, c] = [await join("n1"), await join("n2"), await join("n3")];
    for (const { fencer } of [b, c]) fencer.answers = [];
    const stuck = Array<"hang">(50).fill("hang");
    // Whoever begins never comes to an end: its clock stands still for the fencer, not for its renewals.
    Object.assign(b.fencer, { timeoutMs: 1e9, answers: [...stuck] });
    c.cable.state = "no request";
    a.cable.state = "silent";
    await clock.advance(900);
    c.cable.state = "up";
    await clock.advance(500);
    expect([b.fencer.victims.length, c.fencer.victims.length]).toEqual([1, 0]);
    await clock.advance(8500);
    expect(c.fencer.victims.length).toBe(1);
    expect(c.log.filter((line) => line.startsWith("slot"))).toEqual(["slot 0 n1"]);
    expect(b.log.filter((line) => line.startsWith("slot"))).toEqual(["slot 0 n1"]);
  });

  it("that all died are fenced by whoever joins first, all of them before it may begin", async () => {
    const [a, b] = [await join("n1"), await join("n2")];
    await (await a.lockspace.open("token", { lvb: false })).convert("EX");
    a.cable.state = "silent";
    b.cable.state = "silent";
    const fencer = new FakeFencer();
    fencer.answers = [
      { ok: false, evidence: "not yet" },
      { ok: true, evidence: "off" },
    ];
    const c = await join("n3", { fencer });
    expect(fencer.victims.map(({ node }) => node)).toEqual(["n1", "n2", "n1"]);
    expect(c.lockspace.members.map(({ node }) => node)).toEqual(["n3"]);
  });

  it("cannot be joined by a member that fences otherwise", async () => {
    await join("n1");
    const other = Object.assign(new FakeFencer(), { about: "pill" });
    await expect(join("n2", { fencer: other })).rejects.toMatchObject({ code: "E_PROTOCOL_VERSION" });
  });
});
