import { describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { SlotLocks } from "../../src/cluster/slot-locks.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { envOf, joinRecorded } from "../support/lockspace-node.ts";
import { CHUNK_SECTORS, ClusterWorld, type TestNode } from "./cluster-world.ts";

/** What md-cluster got wrong, or is suspected to (md-cluster, 26 and 27), and no other file has as its subject. */

async function twoNodes(change: Parameters<typeof ClusterWorld.create>[0] = {}) {
  const world = await ClusterWorld.create(change);
  const a = await world.start("a");
  const b = await world.start("b");
  await world.idle(a, b);
  return { world, a, b };
}

const membersOf = ({ node }: TestNode): string[] =>
  node.status().members.map(({ number, state }) => `${number} ${state}`);

describe("an update of superblocks", () => {
  it("26.3: that cannot be read leaves what a node knew as it was, and the node drops out", async () => {
    const { world, a, b } = await twoNodes();
    for (const path of world.members) world.disks.unreadable.add(`b ${path}`);
    void a.node.failMember(1);
    expect(await world.wait(b.node.ended)).toMatchObject({ type: "failed" });
    expect(membersOf(b)).toEqual(["0 in_sync", "1 in_sync"]);
    await world.until(() => membersOf(a).includes("1 faulty"));
  });

  it("26.3: that can be read on one member is taken from there", async () => {
    const { world, a, b } = await twoNodes();
    world.disks.add("/dev/new", 8192);
    world.disks.unreadable.add("b /dev/d1");
    await world.wait(a.node.addMember("/dev/new"));
    expect(membersOf(b)).toEqual(["0 in_sync", "1 in_sync", "2 spare"]);
  });
});

describe("26.22: a member that is failed and removed at once, while another node is slow", () => {
  it("is let go of by that node too: REMOVE waits until the failure was heard", async () => {
    const { world, a, b } = await twoNodes();
    const release = world.disks.holdReads("b");
    let removed = false;
    const both = (async () => {
      await a.node.failMember(1);
      await a.node.removeMember(1);
      removed = true;
    })();
    await world.clock.advance(300);
    // b has not even read that the member failed: nobody goes on without it.
    expect([removed, membersOf(b)]).toEqual([false, ["0 in_sync", "1 in_sync"]]);
    release();
    await world.wait(both);
    await world.idle(a, b);
    for (const each of [a, b]) {
      expect(membersOf(each)).toEqual(["0 in_sync", "-1 missing"]);
      expect(each.engine.stateOf(1)).toBe("none");
    }
    const heard = b.engine.log.flatMap((command) =>
      command.type === "setMember" || command.type === "removeMember" ? [command.type] : [],
    );
    expect(heard.slice(-2)).toEqual(["setMember", "removeMember"]);
  });
});

describe("26.23: a dead node's bits", () => {
  it("are read from a member in sync, never from one that is being filled, though it comes first", async () => {
    const { world, a, b } = await twoNodes();
    let copying = false;
    for (const each of [a, b]) {
      each.engine.copiesAside = true;
      each.engine.onCopy = () => {
        copying = true;
        return new Promise(() => {});
      };
    }
    await world.wait(a.node.failMember(0));
    await world.wait(a.node.removeMember(0));
    await world.wait(a.engine.write(3 * CHUNK_SECTORS, 1, 3));
    await world.wait(a.node.addMember("/dev/d0"));
    await world.until(() => copying);
    expect(membersOf(b)).toEqual(["0 rebuilding", "1 in_sync"]);
    await b.engine.write(7 * CHUNK_SECTORS, 1, 7);
    // What stands in the dead node's slot there says nothing: the member took part in few writes so far.
    const at = (b.engine.members.get(0)?.member.bitmapAt ?? 0) * 512 + 256;
    expect(world.disks.bytes("/dev/d0")[at]).toBe(0x80);
    world.disks.bytes("/dev/d0").fill(0, at, at + 32);
    for (const each of [a, b]) each.engine.onCopy = async () => {};
    world.kill(b);
    await world.until(() => a.node.events().some(({ code }) => code === "TAKEOVER"));
    const [takeover] = a.node.events().filter(({ code }) => code === "TAKEOVER");
    expect(takeover?.fields).toMatchObject({ slot: 1, dirty: 1 });
  });
});

describe("after a device was added", () => {
  it("27.12: as a spare, a role that another node gives it is followed at once", async () => {
    const { world, a, b } = await twoNodes();
    world.disks.add("/dev/new", 8192);
    await world.wait(a.node.addMember("/dev/new"));
    expect(membersOf(b)).toContain("2 spare");
    const before = world.clock.now();
    await world.wait(b.node.failMember(1));
    await world.until(() => [a, b].every((each) => membersOf(each).includes("2 in_sync")));
    // Nobody leaves the filling to the adder, which has nothing to fill.
    expect(world.clock.now() - before).toBeLessThan(2000);
  });
});

describe("when a resync is over", () => {
  it("27.13: nothing of its windows is left at the others: no suspended range, reads balanced", async () => {
    const { world, a, b } = await twoNodes();
    const c = await world.start("c");
    await world.idle(a, b, c);
    for (const chunk of [1, 4, 9]) await c.engine.write(chunk * CHUNK_SECTORS, 1, chunk);
    world.kill(c);
    await world.until(() => a.node.events().some(({ code }) => code === "TAKEOVER"));
    await world.idle(a, b);
    for (const { engine, node } of [a, b]) {
      expect(engine.suspended.isEmpty).toBe(true);
      expect(engine.needed.size).toBe(0);
      expect(node.status()).toMatchObject({ sync: null, readBalance: "balanced" });
    }
  });
});

describe("27.14: the value block of a slot", () => {
  it("whose owner died while it could have been writing it counts as the worst", async () => {
    const clock = new FakeClock();
    const master = new MemoryLockMaster();
    const locksOf = async (node: string, seed: number) => {
      const joining = joinRecorded(master, envOf(clock, seed), node);
      for (let turn = 0; turn < 20; turn++) await clock.advance(turn);
      const { lockspace } = await joining;
      return { lockspace, locks: new SlotLocks(lockspace) };
    };
    const a = await locksOf("a", 1);
    const b = await locksOf("b", 2);
    const c = await locksOf("c", 3);
    await b.locks.takeOwn();
    await b.locks.publish({ range: null, needsResync: false });
    const slot = slotNumber(b.lockspace.slot);
    expect(await a.locks.read(slot)).toEqual({ range: null, needsResync: false });
    b.lockspace.abandon();
    for (let turn = 0; turn < 400; turn++) await clock.advance(10);
    expect(await c.locks.read(slot)).toEqual({ range: null, needsResync: true });
  });
});
