import { describe, expect, it } from "vitest";
import type { ArrayEvent } from "../../src/cluster/array-status.ts";
import { CHUNK_SECTORS, ClusterWorld, type TestNode } from "./cluster-world.ts";

const incomplete = ({ node }: TestNode): readonly ArrayEvent[] =>
  node.events().filter(({ severity, fields }) => severity === "warn" && fields["outcome"] === "incomplete");

/** A node that has taken over chunks 2, 5 and 8 of a dead one; what is in chunk 2 no member can read. */
async function takenOver() {
  const world = await ClusterWorld.create();
  const a = await world.start("a");
  const b = await world.start("b");
  await world.idle(a, b);
  b.engine.unreadable.add(2 * CHUNK_SECTORS + 3);
  for (const chunk of [2, 5, 8]) await a.engine.write(chunk * CHUNK_SECTORS, 1, 1);
  world.kill(a);
  for (const chunk of [2, 5, 8]) world.disks.poke("/dev/d1", world.dataOffset + chunk * CHUNK_SECTORS, 9, 1);
  await world.until(() => incomplete(b).length > 0);
  return { world, b };
}

describe("a sector that no copy can give", () => {
  it("does not keep what lies behind it from being resynced, and is told of", async () => {
    const { world, b } = await takenOver();
    expect(world.copies(5 * CHUNK_SECTORS)).toEqual([1, 1]);
    expect(world.copies(8 * CHUNK_SECTORS)).toEqual([1, 1]);
    expect([...b.engine.needed]).toEqual([2]);
    expect(incomplete(b)[0]?.text).toMatch(/finished with 1 chunks left.*\[256, 384\) cannot be read.*in 5 s/);
    // The others must not balance where it was not made equal.
    expect(b.node.status().slots[1]?.needsResync).toBe(true);
    expect(b.node.status().sync).toBeNull();
    await world.idle(b);
  });

  it("is what a check waits for, not other nodes", async () => {
    const { world, b } = await takenOver();
    b.node.scrub({ action: "check", from: null, to: null, source: null });
    await world.clock.advance(100);
    const waitsFor = "the resync of this node's own chunks, which is tried again later";
    expect(b.node.status().sync).toMatchObject({ action: "check", phase: "delayed", waitsFor });
  });

  it("is tried again more and more rarely, and is done when it can be read", async () => {
    const { world, b } = await takenOver();
    const from = world.clock.now();
    await world.wait(world.clock.advance(400_000));
    expect(incomplete(b).length).toBeGreaterThan(4);
    expect(incomplete(b).length).toBeLessThan(9);
    b.engine.unreadable.clear();
    await world.until(() => b.engine.needed.size === 0, 700_000);
    expect(world.clock.now() - from).toBeLessThan(1_300_000);
    expect(world.copies(2 * CHUNK_SECTORS)).toEqual([1, 1]);
    await world.until(() => b.node.status().slots[1]?.needsResync === false);
  });

  it("does not delay what comes to be resynced meanwhile", async () => {
    const { world, b } = await takenOver();
    await world.clock.advance(100_000);
    const c = await world.start("c");
    await c.engine.write(11 * CHUNK_SECTORS, 1, 4);
    world.kill(c);
    world.disks.poke("/dev/d1", world.dataOffset + 11 * CHUNK_SECTORS, 9, 1);
    await world.until(() => world.copies(11 * CHUNK_SECTORS)[1] === 4, 15_000);
    expect([...b.engine.needed]).toEqual([2]);
  });

  it("keeps a recovery from completing, which says so, and the member from being taken for whole", async () => {
    const world = await ClusterWorld.create({ mirrors: 2, spares: 1 });
    const a = await world.start("a");
    await world.idle(a);
    a.engine.unreadable.add(3 * CHUNK_SECTORS);
    await world.wait(a.node.failMember(1));
    await world.until(() => incomplete(a).length > 2);
    expect(incomplete(a)[0]?.text).toMatch(/recovery cannot complete.*cannot be read/);
    expect(a.node.status()).toMatchObject({ health: "U_" });
    const tries = incomplete(a).length;
    await world.clock.advance(1000);
    expect(incomplete(a).length).toBe(tries);
    a.engine.unreadable.clear();
    await world.until(() => a.node.status().health === "UU", 700_000);
  });
});
