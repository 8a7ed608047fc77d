import { beforeEach, describe, expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { Cable } from "../support/cable.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { FakeFencer } from "../support/fake-fencer.ts";
import { ForgetfulServer } from "../support/forgetful-server.ts";
import { envOf, joinRecorded, type RecordedNode } from "../support/lockspace-node.ts";

interface Node extends RecordedNode {
  readonly cable: Cable;
  readonly fencer: FakeFencer;
}

let clock: FakeClock;
let server: LockMaster;
let joins = 0;

async function join(name: string, more: Parameters<typeof joinRecorded>[3] = {}): Promise<Node> {
  const cable = new Cable(server);
  const fencer = new FakeFencer();
  const joining = joinRecorded(cable, envOf(clock, ++joins), name, { fencer, ...more });
  let done = false;
  const settle = (): void => {
    done = true;
  };
  joining.then(settle, settle);
  for (let turn = 0; turn < 120 && !done; turn++) await clock.advance(50);
  const node = await joining;
  await clock.advance(1);
  return Object.assign(node, { cable, fencer });
}

const process = { host: "m/boot1/ns", pid: 7, started: "1" };
const deaths = ({ log }: Node): readonly string[] => log.filter((line) => line.startsWith("slot"));

/** Three members; n1 is silent, and n2 or n3 has begun to fence it and does not come to an end. */
async function begun(): Promise<{ readonly victim: Node; readonly owner: Node; readonly other: Node }> {
  const [victim, b, c] = [await join("n1", { process }), await join("n2"), await join("n3")];
  for (const { fencer } of [b, c]) fencer.answers = Array<"hang">(50).fill("hang");
  victim.cable.state = "silent";
  for (let turn = 0; turn < 40 && b.fencer.running + c.fencer.running === 0; turn++) await clock.advance(50);
  const [owner, other] = b.fencer.running > 0 ? [b, c] : [c, b];
  expect([owner.fencer.running, other.fencer.running]).toEqual([1, 0]);
  return { victim, owner, other };
}

describe("an attempt to fence", () => {
  beforeEach(() => {
    clock = new FakeClock();
    server = new MemoryLockMaster();
  });

  it("is given up when it takes too long, and has ended before the next one begins", async () => {
    const { owner } = await begun();
    await clock.advance(2500);
    expect([owner.fencer.victims.length, owner.fencer.most]).toEqual([2, 1]);
    expect(owner.fencer.attempts.map(({ signal }) => signal.aborted)).toEqual([true, false]);
  });

  it("that does not end even then fails, after a while", async () => {
    const { owner } = await begun();
    owner.fencer.answers = ["deaf", "deaf"];
    const tries = () => owner.lockspace.status().members.find(({ node }) => node === "n1")?.fencing?.tries;
    await clock.advance(2000 + 500 + 2000);
    expect(tries()).toBe(1);
    await clock.advance(5000);
    expect(tries()).toBe(2);
  });

  it("is wanted as long as the victim has not proved that its former life is over, and is given up then", async () => {
    const { owner, other } = await begun();
    const [attempt] = owner.fencer.attempts;
    expect(await attempt?.isWanted()).toBe(true);
    const again = join("n1", { process: { ...process, host: "m/boot2/ns" }, isRebooted: () => true });
    await clock.advance(0);
    // Its successor does not wait for a lease; right before the agent is called the lock server knows better already.
    expect(await attempt?.isWanted()).toBe(false);
    expect((await again).lockspace.members.map(({ node }) => node)).toContain("n1");
    expect([owner.fencer.running, attempt?.signal.aborted]).toEqual([0, true]);
    await clock.advance(3000);
    for (const node of [owner, other]) {
      expect(deaths(node)).toEqual(["slot 0 n1"]);
      expect(node.fencer.running).toBe(0);
    }
    expect(owner.fencer.victims.length + other.fencer.victims.length).toBe(1);
  });

  it("is not wanted where the lock server cannot be asked", async () => {
    const { owner } = await begun();
    owner.cable.state = "no request";
    expect(await owner.fencer.attempts[0]?.isWanted()).toBe(false);
  });

  it("is given up when an operator vouches for the victim's end", async () => {
    const { owner, other, victim } = await begun();
    await other.lockspace.evict({ node: "n1", slot: victim.lockspace.slot });
    await clock.advance(200);
    expect(owner.fencer.running).toBe(0);
    expect(deaths(owner)).toEqual(["slot 0 n1"]);
  });

  it("is given up when another member has taken it over", async () => {
    const { owner, other } = await begun();
    // It stands still as others see it: its timer does not come.
    Object.assign(owner.fencer, { timeoutMs: 1e9 });
    expect(owner.fencer.running).toBe(1);
    const { incarnation, slot } = { incarnation: other.lockspace.incarnation, slot: other.lockspace.slot + 1 };
    const id = { cluster: "alpha", name: "array" };
    const { members = [], epoch, seq } = await server.call(id, { op: "hello" });
    const victim = members.find(({ node }) => node === "n1");
    const token = victim?.fence?.token ?? 0;
    const header = { slot, incarnation, epoch, rid: 0, ack: 0, seen: seq };
    const sighting = { slot: 1, incarnation: victim?.incarnation ?? "", counter: victim?.counter ?? 0 };
    await server.call(id, { op: "fence_begin", ...header, victim: sighting, takesOver: token });
    await clock.advance(200);
    expect([owner.fencer.running, owner.fencer.victims.length]).toEqual([0, 1]);
    expect([other.fencer.running, other.fencer.victims.length]).toEqual([1, 1]);
  });

  it("is given up with the lease of whoever makes it, and when that one leaves", async () => {
    const { owner } = await begun();
    owner.cable.state = "silent";
    await clock.advance(700);
    expect(owner.fencer.running).toBe(0);
    const next = await (async () => {
      clock = new FakeClock();
      server = new MemoryLockMaster();
      return begun();
    })();
    await next.owner.lockspace.leave();
    expect(next.owner.fencer.running).toBe(0);
  });

  it("that was only announced renews nothing for a member that has given up meanwhile", async () => {
    const [victim, b] = [await join("n1"), await join("n2")];
    victim.cable.state = "silent";
    const begins = () => b.cable.calls.some(({ op }) => op === "fence_begin");
    for (let turn = 0; turn < 400 && !begins(); turn++) await clock.advance(5);
    expect(begins()).toBe(true);
    b.lockspace.abandon();
    const before = b.cable.calls.length;
    await clock.advance(2000);
    expect(b.cable.calls.length).toBe(before);
  });
});

describe("fencing that is under way when the lock server forgets", () => {
  let forgetful: ForgetfulServer;
  beforeEach(() => {
    clock = new FakeClock();
    forgetful = new ForgetfulServer();
    server = forgetful;
  });

  it("is begun anew by the survivors, and the victim is not let in meanwhile", async () => {
    const { victim, owner, other } = await begun();
    const lock = await other.lockspace.open("token", { lvb: false });
    owner.cable.state = "no request";
    other.cable.state = "no request";
    forgetful.lose();
    // The victim is the first to report, before anybody can say what is known of it.
    victim.cable.state = "up";
    await clock.advance(200);
    owner.cable.state = "up";
    other.cable.state = "up";
    for (let turn = 0; turn < 20 && owner.fencer.victims.length < 2; turn++) await clock.advance(50);
    expect(victim.log.at(-1)).toMatch(/^fenced/);
    expect([owner.fencer.most, owner.fencer.running, owner.fencer.victims.length]).toEqual([1, 1, 2]);
    expect([deaths(owner), deaths(other)]).toEqual([[], []]);
    const waiting = lock.convert("EX");
    owner.fencer.answers = [];
    await clock.advance(3000);
    expect((await waiting).status).toBe("granted");
    expect([deaths(owner), deaths(other)]).toEqual([["slot 0 n1"], ["slot 0 n1"]]);
  });

  it("is carried on by another when the one that did it is lost as well", async () => {
    const { victim, owner, other } = await begun();
    owner.cable.state = "silent";
    forgetful.lose();
    victim.cable.state = "up";
    other.fencer.answers = [];
    await clock.advance(4000);
    expect(victim.log.at(-1)).toMatch(/^fenced/);
    expect(new Set(other.fencer.victims.map(({ node }) => node))).toEqual(
      new Set(["n1", owner.lockspace.members[owner.lockspace.slot]?.node]),
    );
    expect(deaths(other)).toHaveLength(2);
  });

  it("is remembered also when it was begun while the members were reporting, and they must report once more", async () => {
    const [a, b] = [await join("n1"), await join("n2")];
    b.fencer.answers = Array<"hang">(50).fill("hang");
    a.cable.state = "silent";
    forgetful.lose();
    for (let turn = 0; turn < 60 && b.fencer.running === 0; turn++) await clock.advance(50);
    expect(b.fencer.running).toBe(1);
    b.cable.state = "no request";
    forgetful.lose();
    a.cable.state = "up";
    await clock.advance(200);
    b.cable.state = "up";
    b.fencer.answers = [];
    await clock.advance(400);
    expect(a.log.at(-1)).toMatch(/^fenced/);
    expect(deaths(b)).toEqual(["slot 0 n1"]);
  });
});
