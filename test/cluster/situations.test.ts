import { describe, expect, it } from "vitest";
import { CHUNK_SECTORS, ClusterWorld, type TestNode } from "./cluster-world.ts";

const dirtySlots = async ({ node }: TestNode): Promise<number[]> => (await node.bitmaps()).map(({ dirty }) => dirty);

const codes = ({ node }: TestNode): string[] => node.events().map(({ code }) => code);

async function threeNodes(change: Parameters<typeof ClusterWorld.create>[0] = {}) {
  const world = await ClusterWorld.create(change);
  const a = await world.start("a");
  const b = await world.start("b");
  const c = await world.start("c");
  await world.idle(a, b, c);
  return { world, a, b, c };
}

/** The next window that this node copies stays open until `release` is called. */
function holdCopy(node: TestNode): { readonly reached: Promise<void>; release: () => void } {
  const hold = { reached: Promise.resolve(), release: () => {} };
  hold.reached = new Promise((reached) => {
    node.engine.onCopy = () => {
      node.engine.onCopy = async () => {};
      reached();
      return new Promise((release) => {
        hold.release = release;
      });
    };
  });
  return hold;
}

describe("windows", () => {
  it("27.4: of a node that dies are kept until its bits have an owner, then a waiting write goes on", async () => {
    const { world, a, b } = await threeNodes();
    // Something for a to copy: a dead node's chunk.
    const d = await world.start("d");
    await world.idle(a, b, d);
    await d.engine.write(0, 1, 1);
    const hold = holdCopy(a);
    // a is the first to hear of it or not; whoever it is, somebody copies chunk 0.
    const other = holdCopy(b);
    world.kill(d);
    const copier = await world.wait(Promise.race([hold.reached.then(() => a), other.reached.then(() => b)]));
    const writer = copier === a ? b : a;
    expect(writer.engine.suspended.blocks(0, 1)).toBe(true);
    let written = false;
    const write = writer.engine.write(0, 8, 6).then(() => {
      written = true;
    });
    world.kill(copier);
    await world.clock.advance(500);
    expect(written).toBe(false);
    writer.engine.onCopy = async () => {};
    await world.wait(write);
    await world.idle(writer);
    expect(world.copies(0)).toEqual([6, 6]);
  });

  it("27.4: of two nodes are apart: the takeover of one leaves the other's alone", async () => {
    const { world, a, b, c } = await threeNodes({ clean: true });
    await a.engine.write(0, 1, 1);
    const hold = holdCopy(b);
    const holdC = holdCopy(c);
    // Whoever copies may be the first to take over the next one's slot, and must not wait for its own copy with that.
    for (const { engine } of [b, c]) engine.copiesAside = true;
    world.kill(a);
    const copier = await world.wait(Promise.race([hold.reached.then(() => b), holdC.reached.then(() => c)]));
    const watcher = copier === b ? c : b;
    const d = await world.start("d");
    await world.wait(d.engine.write(30 * CHUNK_SECTORS, 1, 1));
    world.kill(d);
    await world.until(() =>
      watcher.node.events().some(({ code, text }) => code === "TAKEOVER" && text.includes("of d")),
    );
    expect(watcher.engine.suspended.blocks(0, 1)).toBe(true);
    hold.release();
    holdC.release();
    for (const { engine } of [b, c]) engine.onCopy = async () => {};
    await world.idle(b, c);
    expect(watcher.engine.suspended.isEmpty).toBe(true);
    expect(await dirtySlots(b)).toEqual([0, 0, 0, 0]);
  });
});

describe("takeover", () => {
  it("of a node that died in the middle of a takeover: the third goes on (F03)", async () => {
    const { world, a, b, c } = await threeNodes();
    await a.engine.write(9 * CHUNK_SECTORS, 1, 5);
    const hold = [holdCopy(b), holdCopy(c)] as const;
    world.kill(a);
    world.disks.poke("/dev/d1", world.dataOffset + 9 * CHUNK_SECTORS, 1, 1);
    const copier = await world.wait(Promise.race([hold[0].reached.then(() => b), hold[1].reached.then(() => c)]));
    world.kill(copier);
    const third = copier === b ? c : b;
    third.engine.onCopy = async () => {};
    await world.until(() => codes(third).filter((code) => code === "TAKEOVER").length === 2);
    await world.idle(third);
    expect(world.copies(9 * CHUNK_SECTORS)).toEqual([5, 5]);
    expect(await dirtySlots(third)).toEqual([0, 0, 0, 0]);
    expect(third.node.status().readBalance).toBe("balanced");
  });

  it.each([
    ["chunk 0 alone", 0],
    ["the last chunk alone", -1],
  ])("27.3: finds %s", async (_, which) => {
    const world = await ClusterWorld.create({ sectors: 8192 });
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    const { size } = a.node.status();
    const at = which === 0 ? 0 : size - 1;
    await a.engine.write(at, 1, 3);
    world.kill(a);
    world.disks.poke("/dev/d1", world.dataOffset + at, 2, 1);
    await world.until(() => codes(b).includes("FINISH"));
    await world.idle(b);
    expect(world.copies(at)).toEqual([3, 3]);
    expect(await dirtySlots(b)).toEqual([0, 0, 0, 0]);
  });

  it("by a node that joins in the very slot of the dead one, while it is being recovered (F34)", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    await a.engine.write(4 * CHUNK_SECTORS, 1, 7);
    const release = world.disks.holdReads("b");
    world.kill(a);
    world.disks.poke("/dev/d1", world.dataOffset + 4 * CHUNK_SECTORS, 1, 1);
    await world.until(() => codes(b).includes("NODEDOWN"));
    const joining = world.begin("c", world.members);
    await world.clock.advance(300);
    release();
    const c = await world.wait(joining);
    expect(c.node.slot).toBe(0);
    await world.idle(b, c);
    expect(world.copies(4 * CHUNK_SECTORS)).toEqual([7, 7]);
    expect(await dirtySlots(b)).toEqual([0, 0, 0, 0]);
    for (const { node } of [b, c]) expect(node.status().readBalance).toBe("balanced");
  });

  it("of a node that left without being able to say that work is left", async () => {
    const world = await ClusterWorld.create({ clean: false });
    const a = await world.start("a");
    const hold = holdCopy(a);
    await world.wait(hold.reached);
    world.disks.poke("/dev/d1", world.dataOffset + 6000, 9, 1);
    // b does not listen yet, for longer than a wants to wait.
    let release: () => void = () => {};
    world.engineGate = new Promise((resolve) => {
      release = resolve;
    });
    const joining = world.begin("b", world.members);
    await world.until(() => a.node.status().slots[1]?.state === "up");
    const stopping = a.node.stop();
    hold.release();
    await world.wait(stopping);
    release();
    const b = await world.wait(joining);
    await world.idle(b);
    expect(world.copies(6000)).toEqual([0, 0]);
    expect(await dirtySlots(b)).toEqual([0, 0, 0, 0]);
  });

  it("leaves no bit behind while a member is missing, and loses none", async () => {
    const { world, a, b, c } = await threeNodes();
    await world.wait(a.node.failMember(1));
    await world.wait(a.engine.write(0, 1, 1));
    await world.wait(b.engine.write(3 * CHUNK_SECTORS, 1, 2));
    world.kill(a);
    await world.wait(b.node.stop());
    await world.idle(c);
    // What the missing member lacks is marked somewhere: now all of it by c.
    expect(await dirtySlots(c)).toEqual([0, 0, 2, 0]);
    await world.wait(c.node.removeMember(1));
    world.disks.add("/dev/new", 8192);
    await world.wait(c.node.addMember("/dev/new"));
    await world.idle(c);
    expect(world.copies(0, ["/dev/d0", "/dev/new"])).toEqual([1, 1]);
    expect(world.copies(3 * CHUNK_SECTORS, ["/dev/d0", "/dev/new"])).toEqual([2, 2]);
    expect(await dirtySlots(c)).toEqual([0, 0, 0, 0]);
  });
});

describe("the superblocks", () => {
  it("27.24: of a member that fails while a node joins are known to it before it serves", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    await world.idle(a);
    const release = world.disks.holdReads("b");
    const joining = world.begin("b", world.members);
    await world.clock.advance(100);
    world.disks.failWrites("/dev/d1");
    const write = a.engine.write(0, 1, 1);
    await world.clock.advance(50);
    release();
    const b = await world.wait(joining);
    await world.wait(write);
    await world.idle(a, b);
    expect(b.node.status().health).toBe("U_");
    expect(b.engine.stateOf(1)).not.toBe("in_sync");
    expect(b.engine.read(0)).toBe(1);
  });

  it("27.20: of a node that died between writing and announcing are announced by the survivors", async () => {
    const { world, a, b, c } = await threeNodes();
    const release = world.disks.holdReads("b");
    const releaseC = world.disks.holdReads("c");
    // The others have heard of it and cannot read yet when it dies.
    const failing = a.node.failMember(1);
    failing.catch(() => {});
    await world.clock.advance(100);
    world.kill(a);
    await world.clock.advance(100);
    release();
    await world.until(() => codes(b).includes("NODEDOWN"));
    releaseC();
    await world.idle(b, c);
    for (const { node, engine } of [b, c]) {
      expect(node.status().health).toBe("U_");
      expect(engine.stateOf(1)).toBe("faulty");
    }
    expect(b.node.status().events).toBe(c.node.status().events);
  });

  it("no node leaves a failed member out of its writes before every node has stopped reading from it", async () => {
    const { world, a, b, c } = await threeNodes();
    const release = world.disks.holdReads("c");
    const failing = world.wait(a.node.failMember(1));
    await world.clock.advance(200);
    expect(b.node.status().health).toBe("U_");
    expect([a.engine.stateOf(1), b.engine.stateOf(1), c.engine.stateOf(1)]).toEqual([
      "rebuilding",
      "rebuilding",
      "in_sync",
    ]);
    await world.wait(b.engine.write(0, 1, 9));
    // c may still read from it: and finds what was acknowledged.
    expect(c.engine.read(0)).toBe(9);
    release();
    await failing;
    await world.clock.advance(100);
    expect([a.engine.stateOf(1), b.engine.stateOf(1), c.engine.stateOf(1)]).toEqual(["faulty", "faulty", "faulty"]);
  });
});

describe("a node without a lease", () => {
  it("27.18: writes no superblock, though it still believes that it holds the token", async () => {
    const { world, a, b, c } = await threeNodes();
    const release = world.disks.holdReads("a");
    const failing = a.node.failMember(1);
    failing.catch(() => {});
    await world.clock.advance(50);
    expect(a.node.status().events).toBe(b.node.status().events);
    a.link.cut = true;
    await world.until(() => codes(b).includes("TAKEOVER") && codes(c).includes("TAKEOVER"));
    await world.idle(b, c);
    const before = world.disks.bytes("/dev/d0").slice(0, 16 * 512);
    release();
    await world.clock.advance(500);
    expect(Buffer.compare(world.disks.bytes("/dev/d0").subarray(0, 16 * 512), before)).toBe(0);
    a.link.cut = false;
    await world.wait(a.node.ended);
    await expect(world.wait(failing)).rejects.toMatchObject({ code: "E_NOT_JOINED" });
    expect(Buffer.compare(world.disks.bytes("/dev/d0").subarray(0, 16 * 512), before)).toBe(0);
    expect(b.node.status().health).toBe("UU");
  });
});
