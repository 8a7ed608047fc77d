import { beforeEach, describe, expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { LVB_SIZE } from "../../src/dlm/lockspace.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { Cable } from "../support/cable.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { envOf, joinRecorded, type RecordedNode } from "../support/lockspace-node.ts";

const block = (text: string): Uint8Array => {
  const lvb = new Uint8Array(LVB_SIZE);
  lvb.set(new TextEncoder().encode(text));
  return lvb;
};
const textOf = (lvb: Uint8Array | null): string | null =>
  lvb === null ? null : new TextDecoder().decode(lvb).replace(/\0+$/, "");

describe("a lockspace", () => {
  let clock: FakeClock;
  let server: MemoryLockMaster;
  let joins = 0;

  beforeEach(() => {
    clock = new FakeClock();
    server = new MemoryLockMaster();
  });

  const join = async (node: string, more: Parameters<typeof joinRecorded>[3] = {}, master: LockMaster = server) => {
    let joined: RecordedNode | null = null;
    let failure: unknown = null;
    joinRecorded(master, envOf(clock, ++joins), node, more).then(
      (value) => {
        joined = value;
      },
      (error: unknown) => {
        failure = error;
      },
    );
    for (let turn = 0; turn < 60 && joined === null && failure === null; turn++)
      await clock.advance(turn === 0 ? 0 : 50);
    if (failure !== null) throw failure;
    if (joined === null) throw new Error(`${node} could not join`);
    await clock.advance(1);
    return joined as RecordedNode;
  };

  it("gives the lowest free slot, 0-based, and tells the others of a join", async () => {
    const a = await join("n1");
    const b = await join("n2");
    await clock.advance(1);
    expect([a.lockspace.slot, b.lockspace.slot]).toEqual([0, 1]);
    expect(a.log).toEqual(["done 1: 0=n1, own 0", "prep", "done 2: 0=n1 1=n2, own 0"]);
    expect(b.log).toEqual(["done 2: 0=n1 1=n2, own 1"]);
    expect(b.lockspace.members).toEqual([
      { node: "n1", slot: 0 },
      { node: "n2", slot: 1 },
    ]);
  });

  it.each([
    [1000, 100],
    [1000, 200],
    [10_000, 1000],
    [100_000, 10_000],
  ])("finds a dead node within one ping of the lease: %i ms, a ping every %i ms", async (leaseMs, pingMs) => {
    const lease = { lease: { leaseMs, pingMs } };
    for (const phase of [0.01, 0.3, 0.6, 0.99]) {
      server = new MemoryLockMaster();
      const a = await join("n1", lease);
      const b = await join("n2", lease);
      await clock.advance(leaseMs + phase * pingMs);
      b.lockspace.abandon();
      const died = clock.now();
      while (!a.log.includes("slot 1 n2") && clock.now() < died + 3 * leaseMs) await clock.advance(pingMs / 20);
      const took = clock.now() - died;
      expect(took, `phase ${phase}`).toBeGreaterThan(leaseMs - 1.1 * pingMs);
      expect(took, `phase ${phase}`).toBeLessThan(leaseMs + 1.1 * pingMs);
      a.lockspace.abandon();
    }
  });

  it("shows people its lease, and when the others were last seen to renew", async () => {
    const a = await join("n1");
    const b = await join("n2");
    await clock.advance(350);
    const status = a.lockspace.status();
    expect(status).toMatchObject({ epoch: 1, generation: 2, leaseMs: 1000 });
    expect(status.writeUntil).toBe(a.deadline);
    expect(clock.now() - status.renewedAt).toBeLessThan(100);
    const [self, other] = status.members;
    expect(self).toEqual({ node: "n1", slot: 0, seenAt: null, deadAt: null, fencing: null });
    expect(other).toMatchObject({ node: "n2", slot: 1, fencing: null });
    expect(clock.now() - (other?.seenAt ?? 0)).toBeLessThanOrEqual(200);
    // It stops renewing: from then on the time that is left runs down.
    b.lockspace.abandon();
    await clock.advance(500);
    const later = a.lockspace.status().members[1];
    expect(later?.deadAt).toBe((later?.seenAt ?? 0) + 1000);
    expect(clock.now() - (later?.seenAt ?? 0)).toBeGreaterThanOrEqual(400);
  });

  it("evicts a member when an operator vouches for its end", async () => {
    const a = await join("n1");
    const b = await join("n2");
    const victim = { node: "n2", slot: b.lockspace.slot };
    await clock.advance(250);
    b.lockspace.abandon();
    await clock.advance(250);
    await a.lockspace.evict(victim);
    await clock.advance(1);
    expect(a.lockspace.members).toEqual([{ node: "n1", slot: 0 }]);
    expect(a.log).toContain("slot 1 n2");
    await a.lockspace.evict(victim); // not a member any more: fine
  });

  it("tells of a clean leave without recoverSlot and gives the slot to the next", async () => {
    const a = await join("n1");
    const b = await join("n2");
    b.log.length = 0;
    await a.lockspace.leave();
    await clock.advance(1);
    expect(b.log).toEqual(["prep", "done 3: 1=n2, own 1"]);
    expect(a.deadline).toBe(0);
    expect((await join("n3")).lockspace.slot).toBe(0);
  });

  it("is left once, though the answer to that is lost: it is not reported as being declared dead", async () => {
    const master: LockMaster = {
      about: "loses the answer to the first leave",
      call: (id, call) => {
        const reply = server.call(id, call);
        if (call.op !== "leave" || lost) return reply;
        lost = true;
        return new Promise(() => {});
      },
      watch: (...args) => server.watch(...args),
      onReachable: () => server.onReachable(),
      close: async () => {},
    };
    let lost = false;
    const a = await join("n1", {}, master);
    const b = await join("n2");
    a.log.length = 0;
    let left = false;
    void a.lockspace.leave().then(() => {
      left = true;
    });
    for (let turn = 0; turn < 40 && !left; turn++) await clock.advance(50);
    expect([left, lost]).toEqual([true, true]);
    expect(a.log.filter((line) => !/^(prep|done)/.test(line))).toEqual([]);
    expect(b.lockspace.members.map(({ node }) => node)).toEqual(["n2"]);
  });

  it("that is given up lets go of nothing: the others declare it dead when the lease has run out", async () => {
    const a = await join("n1");
    const b = await join("n2");
    const lock = await a.lockspace.open("message", { lvb: true });
    await lock.convert("EX");
    b.log.length = 0;
    a.lockspace.abandon();
    expect(a.deadline).toBe(0);
    await clock.advance(100);
    expect([a.deadline, b.log]).toEqual([0, []]);
    for (let turn = 0; turn < 60; turn++) await clock.advance(100);
    expect(b.log[0]).toBe("prep");
    expect(b.log).toContain("slot 0 n1");
  });

  it("carries a value from EX to CW to a reader, and warns the holder with the wanted mode", async () => {
    const a = await join("n1");
    const b = await join("n2");
    const basts: string[] = [];
    const ours = await a.lockspace.open("message", { lvb: true, onBast: (wanted) => basts.push(wanted) });
    const theirs = await b.lockspace.open("message", { lvb: true });
    expect(await ours.convert("EX")).toEqual({ status: "granted", mode: "EX", lvb: null, lvbValid: true });
    const waiting = theirs.convert("CR");
    await clock.advance(1);
    expect(basts).toEqual(["CR"]);
    await ours.convert("CW", { lvb: block("hello") });
    const grant = await waiting;
    expect([grant.status, grant.mode, textOf(grant.lvb)]).toEqual(["granted", "CR", "hello"]);
  });

  it("lets a caller see a grant before the notification that came with it", async () => {
    const a = await join("n1");
    const b = await join("n2");
    const order: string[] = [];
    const ours = await a.lockspace.open("ack", { lvb: false });
    const theirs = await b.lockspace.open("ack", { lvb: false, onBast: () => order.push(`bast in ${theirs.mode}`) });
    await ours.convert("EX");
    const granted = theirs.convert("EX").then(() => order.push("granted"));
    await clock.advance(1);
    const again = ours.convert("NL").then(() => ours.convert("PR"));
    await clock.advance(1);
    await granted;
    expect(order).toEqual(["granted", "bast in EX"]);
    await theirs.convert("NL");
    expect((await again).mode).toBe("PR");
  });

  it("carries out several conversions in order, waits where one must wait, and stops after one that is not granted", async () => {
    const a = await join("n1");
    const b = await join("n2");
    const open = (node: RecordedNode, resource: string, lvb = false) => node.lockspace.open(resource, { lvb });
    const [token, message, ack] = [await open(a, "token"), await open(a, "message", true), await open(a, "ack")];
    const [theirToken, theirAck] = [await open(b, "token"), await open(b, "ack")];
    await theirToken.convert("EX");
    await theirAck.convert("CR");
    const sending = a.lockspace.convertAll([
      { lock: token, mode: "EX" },
      { lock: message, mode: "EX" },
      { lock: message, mode: "CW", lvb: block("news") },
      { lock: ack, mode: "EX" },
    ]);
    await clock.advance(5);
    expect([token.mode, message.mode, ack.mode]).toEqual(["NL", "NL", "NL"]);
    await theirToken.convert("NL");
    await clock.advance(5);
    expect([token.mode, message.mode, ack.mode]).toEqual(["EX", "CW", "NL"]);
    await theirAck.convert("NL");
    const grants = await sending;
    expect(grants.map(({ status, mode }) => `${status} ${mode}`)).toEqual([
      "granted EX",
      "granted EX",
      "granted CW",
      "granted EX",
    ]);
    const refused = await b.lockspace.convertAll([
      { lock: theirToken, mode: "CR", noqueue: true },
      { lock: theirAck, mode: "CR" },
    ]);
    expect(refused.map(({ status }) => status)).toEqual(["eagain"]);
    await clock.advance(5);
    expect(theirAck.mode).toBe("NL");
  });

  it("cancels what waits of several conversions by their signal", async () => {
    const a = await join("n1");
    const b = await join("n2");
    const theirs = await b.lockspace.open("token", { lvb: false });
    await theirs.convert("EX");
    const [token, ack] = [
      await a.lockspace.open("token", { lvb: false }),
      await a.lockspace.open("ack", { lvb: false }),
    ];
    const abort = new AbortController();
    const asked = a.lockspace.convertAll(
      [
        { lock: ack, mode: "CR" },
        { lock: token, mode: "EX" },
        { lock: ack, mode: "NL" },
      ],
      abort.signal,
    );
    await clock.advance(5);
    abort.abort();
    expect((await asked).map(({ status, mode }) => `${status} ${mode}`)).toEqual(["granted CR", "ecancel NL"]);
    expect(ack.mode).toBe("CR");
  });

  it("tells since when locks of any node stand as they do; not of what was there before", async () => {
    const a = await join("n1");
    const b = await join("n2");
    const ours = await a.lockspace.open("token", { lvb: false });
    const theirs = await b.lockspace.open("token", { lvb: false });
    await clock.advance(500);
    const grantedAt = clock.now();
    await ours.convert("EX");
    await clock.advance(700);
    const askedAt = clock.now();
    void theirs.convert("PR").catch(() => {});
    await clock.advance(400);
    for (const { lockspace } of [a, b]) {
      const [token] = (await lockspace.dump()).resources;
      // Late by at most the time between two renewals.
      expect(token?.granted[0]?.since).toBeGreaterThanOrEqual(grantedAt);
      expect(token?.granted[0]?.since).toBeLessThanOrEqual(grantedAt + 100);
      expect(token?.converting).toMatchObject([{ slot: 1, from: "NL", to: "PR" }]);
      expect(token?.converting[0]?.since).toBeGreaterThanOrEqual(askedAt);
      expect(token?.converting[0]?.since).toBeLessThanOrEqual(askedAt + 100);
    }
    const c = await join("n3");
    const [token] = (await c.lockspace.dump()).resources;
    expect([token?.granted[0]?.since, token?.converting[0]?.since]).toEqual([null, null]);
  });

  it("answers noqueue with eagain and keeps the mode", async () => {
    const a = await join("n1");
    const b = await join("n2");
    const ours = await a.lockspace.open("bitmap0000", { lvb: true });
    await ours.convert("PW", { lvb: block("0:0") });
    const theirs = await b.lockspace.open("bitmap0000", { lvb: true });
    expect(await theirs.convert("PW", { noqueue: true })).toEqual({
      status: "eagain",
      mode: "NL",
      lvb: null,
      lvbValid: true,
    });
    expect(theirs.mode).toBe("NL");
  });

  it("cancels a waiting conversion by its signal, and close frees a waiting lock", async () => {
    const a = await join("n1");
    const b = await join("n2");
    const ours = await a.lockspace.open("resync", { lvb: false });
    await ours.convert("EX");
    const theirs = await b.lockspace.open("resync", { lvb: false });
    const abort = new AbortController();
    const waiting = theirs.convert("EX", { signal: abort.signal });
    await clock.advance(1);
    abort.abort();
    expect(await waiting).toEqual({ status: "ecancel", mode: "NL", lvb: null, lvbValid: true });
    const second = theirs.convert("EX");
    await theirs.close();
    expect((await second).status).toBe("ecancel");
    expect((await a.lockspace.dump()).resources).toEqual([
      {
        name: "resync",
        granted: [{ slot: 0, mode: "EX", since: expect.any(Number) }],
        converting: [],
        waiting: [],
        lvb: null,
        lvbValid: true,
      },
    ]);
  });

  it("pushes the deadline as the sending time of an acknowledged renewal plus 0.6 leases", async () => {
    const cable = new Cable(server);
    const a = await join("n1", {}, cable);
    await clock.advance(1000);
    const before = a.deadline;
    expect(before - clock.now()).toBeGreaterThan(500);
    cable.state = "no reply";
    await clock.advance(150);
    expect(a.deadline).toBeLessThanOrEqual(before + 100);
    expect(a.log).not.toContain("reachable false");
    await clock.advance(200);
    expect(a.log).toContain("reachable false");
    cable.state = "up";
    await clock.advance(200);
    expect(a.deadline).toBeGreaterThan(clock.now() + 400);
    expect(a.log.at(-1)).toBe("reachable true");
  });

  it("evicts a silent member after a lease, not before; its locks go, its value is invalid, it is fenced", async () => {
    const cable = new Cable(server);
    const a = await join("n1", {}, cable);
    const b = await join("n2");
    const ours = await a.lockspace.open("message", { lvb: true });
    const theirs = await b.lockspace.open("message", { lvb: true });
    await ours.convert("EX");
    await ours.convert("EX", { lvb: block("old") });
    const waiting = theirs.convert("PR");
    cable.state = "silent";
    const silentSince = clock.now();
    b.log.length = 0;
    await clock.advance(900);
    expect(b.log).toEqual([]);
    await clock.advance(400);
    expect(b.log).toEqual(["prep", "slot 0 n1", "done 3: 1=n2, own 1"]);
    const grant = await waiting;
    expect([grant.status, textOf(grant.lvb), grant.lvbValid]).toEqual(["granted", "old", false]);
    // It had stopped writing long before.
    expect(a.deadline).toBeLessThanOrEqual(silentSince + 600);
    cable.state = "up";
    await clock.advance(600);
    expect(a.deadline).toBe(0);
    expect(a.log.at(-1)).toMatch(/^fenced: .*declared dead/);
    await expect(ours.convert("NL")).rejects.toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
  });

  it("does not evict anybody when the server was away for all", async () => {
    const one = new Cable(server);
    const two = new Cable(server);
    const a = await join("n1", {}, one);
    const b = await join("n2", {}, two);
    one.state = "no request";
    two.state = "no request";
    await clock.advance(5000);
    two.state = "up";
    await clock.advance(300);
    one.state = "up";
    await clock.advance(2000);
    expect([...a.log, ...b.log].filter((line) => line.startsWith("slot") || line.startsWith("fenced"))).toEqual([]);
    expect(a.deadline).toBeGreaterThan(clock.now());
  });

  it("does not evict anybody when the watcher itself was stopped", async () => {
    await join("n1");
    const b = await join("n2");
    b.log.length = 0;
    clock.jump(5000);
    await clock.advance(3000);
    expect(b.log.filter((line) => line.startsWith("slot"))).toEqual([]);
  });

  it("evicts a process that is proved gone at once", async () => {
    const cable = new Cable(server);
    const self = { host: "h", pid: 7, started: "1" };
    await join("n1", { process: self }, cable);
    let gone = false;
    const b = await join("n2", { isProcessGone: ({ pid }) => gone && pid === 7 });
    cable.state = "silent";
    gone = true;
    b.log.length = 0;
    await clock.advance(320);
    expect(b.log).toEqual(["prep", "slot 0 n1", "done 3: 1=n2, own 1"]);
  });

  it("lets a node that was killed come back under its name after its lease", async () => {
    const cable = new Cable(server);
    const a = await join("n1", {}, cable);
    const held = await a.lockspace.open("bitmap0000", { lvb: true });
    await held.convert("PW");
    cable.state = "silent";
    const again = await join("n1");
    expect(again.lockspace.slot).toBe(0);
    const lock = await again.lockspace.open("bitmap0000", { lvb: true });
    expect((await lock.convert("PW", { noqueue: true })).status).toBe("granted");
  });

  it("refuses a second living node of the same name, a full lockspace and another lease length", async () => {
    await join("n1", { slots: 1 });
    await expect(join("n1", { slots: 1 })).rejects.toMatchObject({ code: "E_NODE_ALIVE" });
    await expect(join("n2", { slots: 1 })).rejects.toMatchObject({ code: "E_NODES_FULL" });
    await expect(join("n3", { slots: 1, lease: { leaseMs: 2000 } })).rejects.toMatchObject({
      code: "E_PROTOCOL_VERSION",
    });
  });

  it("gives up joining without an answer for a lease, and when told so", async () => {
    const cable = new Cable(server);
    cable.state = "no request";
    await expect(join("n1", {}, cable)).rejects.toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
    const abort = new AbortController();
    abort.abort();
    await expect(join("n1", { signal: abort.signal })).rejects.toMatchObject({ code: "E_CANCELLED" });
  });

  it("executes a call once however often its reply is lost, and parks calls while the server is away", async () => {
    const cable = new Cable(server);
    const a = await join("n1", {}, cable);
    cable.state = "no reply";
    let lock: Awaited<ReturnType<typeof a.lockspace.open>> | null = null;
    void a.lockspace.open("token", { lvb: false }).then((value) => {
      lock = value;
    });
    await clock.advance(300);
    expect(lock).toBeNull();
    expect(cable.calls.filter(({ op }) => op === "lock").length).toBeGreaterThan(2);
    cable.state = "up";
    await clock.advance(100);
    expect(lock).not.toBeNull();
    const { resources } = await a.lockspace.dump();
    expect(resources[0]?.granted).toMatchObject([{ slot: 0, mode: "NL" }]);
  });

  it("waits anew when the server is restarted again: somebody may have joined between two looks", async () => {
    const forgetful = (life: string): MemoryLockMaster => new MemoryLockMaster({ mayHaveForgotten: () => true, life });
    const cable = new Cable(forgetful("first"));
    let joined = false;
    const joining = joinRecorded(cable, envOf(clock, 7), "n1").then(() => {
      joined = true;
    });
    // Another node was faster by a little, and then the server lost its memory once more.
    await clock.advance(950);
    cable.server = forgetful("second");
    await clock.advance(900);
    expect(joined).toBe(false);
    await clock.advance(500);
    await joining;
  });
});
