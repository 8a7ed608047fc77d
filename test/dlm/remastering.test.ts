import { beforeEach, describe, expect, it } from "vitest";
import type { LockEvent } from "../../src/dlm/lock-call.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { type Frozen, type Lock, LVB_SIZE } from "../../src/dlm/lockspace.ts";
import { Cable } from "../support/cable.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { ForgetfulServer } from "../support/forgetful-server.ts";
import { envOf, joinRecorded, type RecordedNode } from "../support/lockspace-node.ts";

const LEASE = 1000;

const block = (text: string): Uint8Array => {
  const lvb = new Uint8Array(LVB_SIZE);
  lvb.set(new TextEncoder().encode(text));
  return lvb;
};
const textOf = (lvb: Uint8Array | null): string | null =>
  lvb === null ? null : new TextDecoder().decode(lvb).replace(/\0+$/, "");

interface Node extends RecordedNode {
  readonly cable: Cable;
}

describe("a lock server that loses its state", () => {
  let clock: FakeClock;
  let server: ForgetfulServer;
  let joins = 0;
  const frozen: Frozen[] = [];

  beforeEach(() => {
    clock = new FakeClock();
    server = new ForgetfulServer();
    frozen.length = 0;
  });

  const join = async (name: string, more: Parameters<typeof joinRecorded>[3] = {}): Promise<Node> => {
    const cable = new Cable(server);
    const joining = joinRecorded(cable, envOf(clock, ++joins), name, { onFrozen: (f) => frozen.push(f), ...more });
    let joined: RecordedNode | null = null;
    joining.then(
      (node) => {
        joined = node;
      },
      () => {},
    );
    for (let turn = 0; turn < 60 && joined === null; turn++) await clock.advance(50);
    const node = await joining;
    await clock.advance(1);
    return Object.assign(node, { cable });
  };

  const open = (node: Node, resource: string, onBast?: (mode: string) => void): Promise<Lock> =>
    node.lockspace.open(resource, { lvb: true, ...(onBast === undefined ? {} : { onBast }) });

  /** Its notifications come when `deliver` is called. */
  const openBy = async ({ lockspace }: RecordedNode, resource: string, deliver: () => void): Promise<Lock> => {
    const opening = lockspace.open(resource, { lvb: true });
    await clock.advance(1);
    deliver();
    return opening;
  };

  /** Of what a node was told: who is dead. */
  const deaths = ({ log }: Node): readonly string[] => log.filter((line) => /^(slot|fenced)/.test(line));

  const three = async (): Promise<readonly [Node, Node, Node]> => {
    const nodes = [await join("n1"), await join("n2"), await join("n3")] as const;
    for (const { log } of nodes) log.length = 0;
    return nodes;
  };

  const resource = async ({ lockspace }: Node, name: string) =>
    (await lockspace.dump()).resources.find((one) => one.name === name);

  it("gets it back from the members: modes, queues and values are as before, and nobody is declared dead", async () => {
    const [a, b, c] = await three();
    const [message, theirs] = [await open(a, "message"), await open(b, "message")];
    await message.convert("EX");
    await message.convert("PW", { lvb: block("before") });
    const waiting = theirs.convert("EX");
    await clock.advance(5);
    const last = (await open(c, "message")).convert("EX");
    await clock.advance(5);
    const before = await resource(a, "message");

    server.lose();
    await clock.advance(400);
    expect(await resource(a, "message")).toEqual(before);
    for (const node of [a, b, c]) {
      const told = node.log.filter((line) => line !== "thawed");
      expect(told).toEqual(["frozen", "prep", `done 4: 0=n1 1=n2 2=n3, own ${node.lockspace.slot}`]);
      expect(node.log.indexOf("thawed")).toBeGreaterThan(0);
      expect(node.deadline).toBeGreaterThan(clock.now() + 0.4 * LEASE);
    }
    await message.convert("NL");
    expect((await waiting).mode).toBe("EX");
    expect(textOf((await waiting).lvb)).toBe("before");
    await theirs.convert("NL", { lvb: block("after") });
    expect(textOf((await last).lvb)).toBe("after");
  });

  it("grants nothing new before all have reported or a lease is over; those who hold go on meanwhile", async () => {
    const [a, b, c] = await three();
    const [held, theirs] = [await open(a, "held"), await open(c, "theirs")];
    await held.convert("EX");
    await theirs.convert("PW");
    const wanted = await open(b, "theirs");
    c.cable.state = "silent";
    server.lose();
    const lostAt = clock.now();
    let granted: number | null = null;
    void wanted.convert("PW").then(() => {
      granted = clock.now();
    });
    let down: number | null = null;
    while (clock.now() < lostAt + LEASE - 50) {
      await clock.advance(50);
      expect(a.lockspace.frozen).toMatchObject({ reported: ["n1", "n2"], missing: ["n3"], conflicts: [] });
      if (clock.now() >= a.deadline) down ??= clock.now();
    }
    expect([granted, down]).toEqual([null, null]);
    expect(a.lockspace.frozen?.deadline).toBeGreaterThan(lostAt + LEASE);
    expect(a.lockspace.frozen?.deadline).toBeLessThanOrEqual(lostAt + LEASE + 200);
    await clock.advance(500);
    expect(granted).not.toBeNull();
    expect([a, b].map(deaths)).toEqual([["slot 2 n3"], ["slot 2 n3"]]);
    expect(a.lockspace.frozen).toBeNull();
    expect(held.mode).toBe("EX");
    // The one that was away had stopped writing long before, and hears that it is out.
    expect(c.deadline).toBeLessThan(lostAt + LEASE);
    c.cable.state = "up";
    await clock.advance(600);
    expect(deaths(c)).toEqual([expect.stringMatching(/^fenced: .*declared dead/)]);
  });

  it("takes a down-conversion without an answer for done, with the value that it wrote", async () => {
    const [a, b] = await three();
    const [ours, theirs] = [await open(a, "message"), await open(b, "message")];
    await ours.convert("EX");
    const reading = theirs.convert("CR");
    a.cable.state = "no reply";
    const writing = ours.convert("CW", { lvb: block("news") });
    await clock.advance(20);
    expect(textOf((await reading).lvb)).toBe("news");
    server.lose();
    a.cable.state = "up";
    await clock.advance(400);
    expect((await writing).mode).toBe("CW");
    const { granted, lvb, lvbValid } = (await resource(b, "message")) ?? {};
    expect([granted?.map(({ mode }) => mode).sort(), textOf(lvb ?? null), lvbValid]).toEqual([
      ["CR", "CW"],
      "news",
      true,
    ]);
    // And what comes after it is executed.
    expect((await ours.convert("NL")).status).toBe("granted");
  });

  it("takes a close without an answer for done", async () => {
    const [a, b] = await three();
    const [ours, theirs] = [await open(a, "token"), await open(b, "token")];
    await ours.convert("EX");
    a.cable.state = "no request";
    const closing = ours.close();
    await clock.advance(20);
    server.lose();
    a.cable.state = "up";
    const taking = theirs.convert("EX");
    await clock.advance(400);
    expect((await taking).mode).toBe("EX");
    await closing;
  });

  it.each(["no request", "no reply"] as const)("repeats what was not answered (%s), once", async (how) => {
    const [a, b] = await three();
    const [ours, theirs] = [await open(a, "token"), await open(b, "token")];
    a.cable.state = how;
    let grants = 0;
    void ours.convert("EX").then(() => {
      grants += 1;
    });
    const opening = a.lockspace.open("second", { lvb: false });
    await clock.advance(20);
    server.lose();
    a.cable.state = "up";
    await clock.advance(400);
    expect([grants, ours.mode, (await opening).mode]).toEqual([1, "EX", "NL"]);
    expect((await resource(a, "token"))?.granted.map(({ mode }) => mode).sort()).toEqual(["EX", "NL"]);
    expect((await theirs.convert("EX", { noqueue: true })).status).toBe("eagain");
  });

  it.each(["no request", "no reply"] as const)("finishes a batch that was not answered (%s)", async (how) => {
    const [a, b] = await three();
    const [ack, message, token] = [await open(a, "ack"), await open(a, "message"), await open(a, "token")];
    const [theirAck, theirMessage] = [await open(b, "ack"), await open(b, "message")];
    await theirAck.convert("CR");
    const sent = await a.lockspace.convertAll([
      { lock: token, mode: "EX" },
      { lock: message, mode: "EX" },
    ]);
    expect(sent.map(({ mode }) => mode)).toEqual(["EX", "EX"]);
    a.cable.state = how;
    const sending = a.lockspace.convertAll([
      { lock: message, mode: "CW", lvb: block("m") },
      { lock: ack, mode: "EX" },
      { lock: ack, mode: "CR" },
      { lock: token, mode: "NL" },
    ]);
    await clock.advance(20);
    server.lose();
    a.cable.state = "up";
    await clock.advance(400);
    // All of it may have been executed, and the token be another's: it is not claimed any more.
    expect([message.mode, ack.mode, token.mode]).toEqual(["CW", "NL", "NL"]);
    expect(textOf((await theirMessage.convert("CR")).lvb)).toBe("m");
    await theirAck.convert("NL");
    expect((await sending).map(({ status, mode }) => `${status} ${mode}`)).toEqual([
      "granted CW",
      "granted EX",
      "granted CR",
      "granted NL",
    ]);
  });

  it("claims neither of two modes that exclude each other when a change between them may have been granted", async () => {
    const [a, b, c] = await three();
    const locks = [await open(a, "r"), await open(b, "r"), await open(c, "r")] as const;
    for (const lock of locks.slice(0, 2)) await lock.convert("CW");
    const changing = locks[0].convert("PR");
    await clock.advance(5);
    // The lock server grants it, and then another reader, but the first one never hears of it.
    a.cable.state = "no reply";
    await locks[1].convert("NL");
    expect((await locks[2].convert("PR")).status).toBe("granted");
    server.lose();
    a.cable.state = "up";
    await clock.advance(400);
    expect((await changing).mode).toBe("PR");
    expect(a.lockspace.frozen).toBeNull();
    expect(locks[2].mode).toBe("PR");
  });

  it("does not make a value valid that was not", async () => {
    const [a, b, c] = await three();
    const [first, second, third] = [await open(a, "r"), await open(b, "r"), await open(c, "r")];
    await first.convert("EX");
    await first.convert("EX", { lvb: block("old") });
    const reading = second.convert("PW");
    a.lockspace.abandon();
    await clock.advance(LEASE * 2);
    expect((await reading).lvbValid).toBe(false);
    server.lose();
    await clock.advance(400);
    const { lvb, lvbValid } = await third.convert("CR");
    expect(lvb === null || !lvbValid).toBe(true);
  });

  it("survives losing it again while it is rebuilt, and answers that are lost or come late", async () => {
    const [a, b, c] = await three();
    const token = await open(a, "token");
    await token.convert("EX");
    for (const state of ["no reply", "no request", "silent"] as const) {
      c.cable.state = state;
      server.lose();
      await clock.advance(130);
      b.cable.state = "no reply";
      await clock.advance(60);
      server.lose();
      b.cable.state = "up";
      await clock.advance(90);
      c.cable.state = "up";
      await clock.advance(600);
      expect([a, b, c].flatMap(deaths)).toEqual([]);
      expect(a.lockspace.frozen).toBeNull();
    }
    expect((await (await open(b, "token")).convert("CR", { noqueue: true })).status).toBe("eagain");
    expect(token.mode).toBe("EX");
  });

  it.each([1, 2, 3, 5, 8])("is rebuilt after it went back by %i calls", async (calls) => {
    const [a, b] = await three();
    const [ours, theirs] = [await open(a, "token"), await open(b, "token")];
    await ours.convert("EX");
    const waiting = theirs.convert("EX");
    await clock.advance(5);
    await ours.convert("PR");
    await ours.convert("NL");
    await waiting;
    await server.rollBack(calls);
    await clock.advance(400);
    expect([ours.mode, theirs.mode]).toEqual(["NL", "EX"]);
    expect((await resource(a, "token"))?.granted.map(({ mode }) => mode).sort()).toEqual(["EX", "NL"]);
    expect(deaths(a)).toEqual([]);
  });

  it("names two that hold what cannot be held together, and goes on when one of them is evicted", async () => {
    const [a, b, c] = await three();
    const [ours, theirs] = [await open(a, "token"), await open(b, "token")];
    await ours.convert("PR");
    await theirs.convert("PR");
    // Another server grants one of them more, as after a failover that only one has seen.
    a.cable.state = "no request";
    b.cable.state = "no request";
    const forged = b.cable.server;
    b.cable.server = {
      ...forged,
      about: "forged",
      call: (lockspace, call) => {
        const forge = call.op === "recover";
        const locks = forge ? call.locks.map((lock) => ({ ...lock, gr: 5 })) : [];
        return server.call(lockspace, forge ? { ...call, locks } : call);
      },
      watch: (...args) => server.watch(...args),
    };
    server.lose();
    a.cable.state = "up";
    b.cable.state = "up";
    await clock.advance(500);
    for (const node of [a, b, c]) {
      expect(node.lockspace.frozen?.conflicts).toEqual([
        {
          resource: "token",
          locks: [
            { slot: 0, node: "n1", mode: "PR" },
            { slot: 1, node: "n2", mode: "EX" },
          ],
        },
      ]);
    }
    // It lasts as long as it lasts: their leases run, and nothing is granted.
    await clock.advance(3 * LEASE);
    expect(a.lockspace.frozen?.conflicts).toHaveLength(1);
    expect(a.deadline).toBeGreaterThan(clock.now());
    await a.lockspace.evict({ node: "n2", slot: theirs === undefined ? a.lockspace.slot : b.lockspace.slot });
    await clock.advance(500);
    expect(a.lockspace.frozen).toBeNull();
    expect([deaths(a), deaths(c)]).toEqual([["slot 1 n2"], ["slot 1 n2"]]);
    expect((await ours.convert("EX")).status).toBe("granted");
  });

  it("is told of what was granted before the loss and is still being handled", async () => {
    // Notifications wait for whoever acts on the one before: many of them take longer than it takes to hear of the loss.
    const names = Array.from({ length: 40 }, (_, n) => `r${n}`);
    let delivered: () => void = () => {};
    let reachable: (reachable: boolean) => void = () => {};
    const heldBack: LockMaster = {
      about: "held back",
      call: (lockspace, call) => server.call(lockspace, call),
      watch: (lockspace, member, deliver) => {
        let waiting: (readonly LockEvent[])[] = [];
        delivered = () => {
          for (const events of waiting.splice(0)) deliver(events);
        };
        return server.watch(lockspace, member, (events) => {
          waiting = [events];
        });
      },
      onReachable: (listener) => {
        reachable = listener;
        return { stop: () => {} };
      },
      close: () => Promise.resolve(),
    };
    const b = await join("n1");
    const a = await joinRecorded(heldBack, envOf(clock, 77), "n2");
    await clock.advance(1);
    delivered();
    const ours = await Promise.all(names.map((name) => openBy(a, name, () => delivered())));
    const theirs = await Promise.all(names.map((name) => open(b, name)));
    for (const lock of theirs) await lock.convert("EX");
    const outcomes: string[] = [];
    for (const lock of ours) {
      void lock.convert("EX").then(async (taken) => {
        const given = await lock.convert("NL");
        outcomes.push(`${taken.mode} ${given.mode}`);
      });
    }
    // Until all of them wait.
    for (const _ of names) await clock.advance(1);
    for (const lock of theirs) await lock.convert("NL");
    expect(new Set(ours.map(({ mode }) => mode))).toEqual(new Set(["NL"]));
    server.lose();
    delivered();
    reachable(true);
    for (let turn = 0; turn < 10; turn++) {
      await clock.advance(100);
      delivered();
    }
    expect(outcomes).toEqual(names.map(() => "EX NL"));
    const modes = (await a.lockspace.dump()).resources.flatMap(({ granted }) => granted.map(({ mode }) => mode));
    expect(new Set(modes)).toEqual(new Set(["NL"]));
  });

  it("lets a node that leaves meanwhile leave", async () => {
    const [a, b] = await three();
    await (await open(b, "token")).convert("EX");
    server.lose();
    const leaving = b.lockspace.leave();
    await clock.advance(500);
    await leaving;
    await clock.advance(200);
    expect(deaths(a)).toEqual([]);
    expect(a.lockspace.members.map(({ node }) => node)).toEqual(["n1", "n3"]);
  });

  it("lets a newcomer begin only when nobody would rebuild the lockspace without it", async () => {
    const a = await join("n1");
    a.cable.state = "silent";
    let joined = false;
    const joining = join("n2").then((node) => {
      joined = true;
      return node;
    });
    await clock.advance(700);
    expect(joined).toBe(false);
    // One that never hears of it is declared dead.
    await clock.advance(600);
    expect((await joining).lockspace.members.map(({ node }) => node)).toEqual(["n2"]);

    const c = join("n3");
    await clock.advance(60);
    server.lose();
    await clock.advance(600);
    expect((await c).lockspace.members.map(({ node }) => node)).toEqual(["n3", "n2"]);
  });

  it("does not let a newcomer begin anew before the members have had their time", async () => {
    const [a] = await three();
    for (const node of ["n2", "n3"]) expect(a.lockspace.members.some((member) => member.node === node)).toBe(true);
    a.cable.state = "silent";
    server.lose();
    const d = await join("n4");
    expect(d.lockspace.slot).toBe(0);
    expect(d.log.at(0)).toMatch(/1=n2 2=n3/);
  });
});
