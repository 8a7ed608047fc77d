import { describe, expect, it } from "vitest";
import { CHUNK_SECTORS, ClusterWorld, type TestNode } from "./cluster-world.ts";

/** Rules that md-cluster's own mistakes teach; the names carry the rows of its lists (26, 27: bugs and suspicions; F: faults). */

const dirtySlots = async ({ node }: TestNode): Promise<number[]> => (await node.bitmaps()).map(({ dirty }) => dirty);
const copies = (...nodes: TestNode[]): number =>
  nodes.flatMap(({ engine }) => engine.log).filter(({ type }) => type === "copy").length;

/** All windows that this node copies from now on stay open until `release`. */
function holdCopies(node: TestNode): { readonly reached: Promise<void>; release: () => void } {
  const hold = { reached: Promise.resolve(), release: () => {} };
  const open = new Promise<void>((release) => {
    hold.release = release;
  });
  hold.reached = new Promise((reached) => {
    node.engine.onCopy = () => {
      reached();
      return open;
    };
  });
  return hold;
}

async function started(names: readonly string[], change: Parameters<typeof ClusterWorld.create>[0] = {}) {
  const world = await ClusterWorld.create(change);
  const nodes: TestNode[] = [];
  for (const name of names) nodes.push(await world.start(name));
  await world.idle(...nodes);
  return { world, nodes };
}

const orders = [
  ["a", "b", "c"],
  ["a", "c", "b"],
  ["b", "a", "c"],
  ["b", "c", "a"],
  ["c", "a", "b"],
  ["c", "b", "a"],
];

describe("a crash of all nodes with dirty bitmaps in two slots", () => {
  it.each(orders)(
    "27.1, K2, F04: joined in the order %s %s %s, all chunks become equal, each copied once",
    async (...order) => {
      const { world, nodes } = await started(["a", "b", "c"]);
      const [a, b] = nodes as [TestNode, TestNode];
      // In one 4 KiB page of bits, where the one must not push the other out.
      await a.engine.write(0, 1, 1);
      await b.engine.write(20 * CHUNK_SECTORS, 1, 2);
      for (const node of nodes) world.kill(node);
      for (const at of [0, 20 * CHUNK_SECTORS]) world.disks.poke("/dev/d1", world.dataOffset + at, 8, 1);
      for (const path of world.disks.paths) for (const name of ["a", "b", "c"]) world.disks.heal(path, name);
      const back: TestNode[] = [];
      for (const name of order) back.push(await world.start(name));
      await world.idle(...back);
      expect(world.copies(0)).toEqual([1, 1]);
      expect(world.copies(20 * CHUNK_SECTORS)).toEqual([2, 2]);
      expect(await dirtySlots(back[0] as TestNode)).toEqual([0, 0, 0, 0]);
      expect(copies(...back)).toBe(2);
    },
  );
});

describe("a node that joins", () => {
  it("learns the window of a running resync from the value block alone, and that it may not balance", async () => {
    const world = await ClusterWorld.create({ clean: false });
    const a = await world.start("a");
    const hold = holdCopies(a);
    await world.wait(hold.reached);
    const window = a.node.status().sync?.window;
    const said = a.node.status().messages.sent.resyncing ?? 0;
    const b = await world.start("b");
    expect(a.node.status().messages.sent.resyncing ?? 0).toBe(said);
    expect(window).not.toBe(null);
    expect(b.engine.suspended.rangeOf(a.node.slot)).toEqual(window);
    expect(b.node.status()).toMatchObject({ readBalance: "first", sync: { phase: "remote", slot: 0, window } });
    hold.release();
    a.engine.onCopy = async () => {};
    await world.idle(a, b);
    expect(b.engine.suspended.isEmpty).toBe(true);
  });

  it("comes in under a second after another one has left", async () => {
    const { world, nodes } = await started(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    await a.engine.write(0, 1, 1);
    await world.wait(a.node.stop());
    const left = world.clock.now();
    const c = await world.start("c");
    expect(world.clock.now() - left).toBeLessThan(1000);
    await world.idle(b, c);
    expect(world.copies(0)).toEqual([1, 1]);
  });

  it("26.5, 26.10: shows its own chunks as delayed while another node copies, and copies them by itself afterwards", async () => {
    const { world, nodes } = await started(["a", "b", "c", "d"]);
    const [a, b, c, d] = nodes as [TestNode, TestNode, TestNode, TestNode];
    await c.engine.write(0, 1, 1);
    await d.engine.write(9 * CHUNK_SECTORS, 1, 2);
    const holds = [holdCopies(a), holdCopies(b)];
    // Each of the two is taken over by one of the others, perhaps both by the same.
    world.kill(c);
    await world.wait(Promise.race(holds.map(({ reached }) => reached)));
    const copier = a.node.status().sync?.phase === "running" ? a : b;
    const other = copier === a ? b : a;
    // Whatever took it over: the other one has work of its own now.
    await world.wait(other.engine.send({ type: "mergeBits", bits: Uint8Array.of(0, 0, 4) }));
    other.engine.notify({ type: "resyncNeeded" });
    await world.until(() => other.node.status().sync?.phase === "delayed");
    expect(other.node.status().sync).toMatchObject({ action: "resync", slot: copier.node.slot });
    for (const node of [a, b]) node.engine.onCopy = async () => {};
    for (const { release } of holds) release();
    world.kill(d);
    await world.until(() => other.node.events().some(({ code }) => code === "FINISH"));
    await world.idle(a, b);
    expect(await dirtySlots(a)).toEqual([0, 0, 0, 0]);
  });
});

describe("two nodes that stop at the same time", () => {
  it("26.9: one of them in the middle of a resync: the third goes on, no bit is lost", async () => {
    const world = await ClusterWorld.create({ clean: false });
    const [a, b, c] = [await world.start("a"), await world.start("b"), await world.start("c")];
    world.disks.poke("/dev/d1", world.dataOffset + 6000, 9, 1);
    const hold = holdCopies(a);
    await world.wait(hold.reached);
    const stopping = [a.node.stop(), b.node.stop()];
    hold.release();
    await world.wait(Promise.all(stopping));
    await world.idle(c);
    expect(world.copies(6000)).toEqual([0, 0]);
    expect(await dirtySlots(c)).toEqual([0, 0, 0, 0]);
  });

  it("26.9: and nobody is left: who comes next, in whatever slot, does what is left", async () => {
    const world = await ClusterWorld.create({ clean: false });
    const [a, b] = [await world.start("a"), await world.start("b")];
    world.disks.poke("/dev/d1", world.dataOffset + 6000, 9, 1);
    const hold = holdCopies(a);
    await world.wait(hold.reached);
    const stopping = [b.node.stop(), a.node.stop()];
    hold.release();
    await world.wait(Promise.all(stopping));
    const again = await world.start("b");
    await world.idle(again);
    expect(world.copies(6000)).toEqual([0, 0]);
    expect(await dirtySlots(again)).toEqual([0, 0, 0, 0]);
  });
});

describe("several nodes that die at once", () => {
  it("F02: their chunks are copied, and nothing else", async () => {
    const { world, nodes } = await started(["a", "b", "c", "d"]);
    const [a, b, c, d] = nodes as [TestNode, TestNode, TestNode, TestNode];
    await a.engine.write(3 * CHUNK_SECTORS, 1, 1);
    await b.engine.write(3 * CHUNK_SECTORS + 8, 1, 2);
    await b.engine.write(30 * CHUNK_SECTORS, 1, 3);
    world.kill(a);
    world.kill(b);
    for (const at of [3 * CHUNK_SECTORS, 30 * CHUNK_SECTORS]) world.disks.poke("/dev/d1", world.dataOffset + at, 9, 1);
    const copied = new Set<number>();
    for (const { engine } of [c, d]) {
      engine.onCopy = async ({ lo }) => {
        copied.add(Math.floor(lo / CHUNK_SECTORS));
      };
    }
    await world.until(() => [0, 1].every((slot) => c.node.status().slots[slot]?.state === "free"));
    await world.idle(c, d);
    expect([...copied].sort((x, y) => x - y)).toEqual([3, 30]);
    expect(world.copies(3 * CHUNK_SECTORS)).toEqual([1, 1]);
    expect(world.copies(30 * CHUNK_SECTORS)).toEqual([3, 3]);
    expect(await dirtySlots(c)).toEqual([0, 0, 0, 0]);
  });

  it("27.2: bits are in the heir's bitmap on disk before they go from the dead node's", async () => {
    const { world, nodes } = await started(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    await a.engine.write(7 * CHUNK_SECTORS, 1, 1);
    world.kill(a);
    const bitOf = (slot: number): boolean => {
      const at = 16 + slot * 8;
      return world.disks
        .data("/dev/d0", at, 1)
        .subarray(256)
        .some((byte) => byte !== 0);
    };
    expect([bitOf(0), bitOf(1)]).toEqual([true, false]);
    const hold = holdCopies(b);
    let lost = false;
    world.disks.onFlush = () => {
      if (!bitOf(0) && !bitOf(1)) lost = true;
    };
    await world.wait(hold.reached);
    expect([bitOf(0), bitOf(1), lost]).toEqual([false, true, false]);
    hold.release();
    b.engine.onCopy = async () => {};
    await world.idle(b);
  });
});
