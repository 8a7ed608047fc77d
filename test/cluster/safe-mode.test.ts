import { describe, expect, it } from "vitest";
import { type Examination, examine } from "../../src/array/examine.ts";
import type { BitmapKind } from "../../src/array/md-array.ts";
import type { ClusterNodeOptions } from "../../src/cluster/cluster-deps.ts";
import { IN_SYNC } from "../../src/superblock/superblock.ts";
import { ClusterWorld, LEASE_MS, type TestNode } from "./cluster-world.ts";

const SIZE = 2048;
const DELAY_MS = 200;

async function alone(
  change: Parameters<typeof ClusterWorld.create>[0] = {},
  options: Partial<ClusterNodeOptions> = {},
): Promise<{ readonly world: ClusterWorld; readonly a: TestNode }> {
  const world = await ClusterWorld.create({ memberSize: SIZE, bitmap: "internal", ...change });
  const a = await world.start("a", world.members, options);
  if (options.access === undefined) await world.idle(a);
  return { world, a };
}

const onDisk = (world: ClusterWorld): Promise<readonly Examination[]> =>
  Promise.all(world.members.map((path) => examine(world.disks.open(path, "observer"))));

/** What the superblocks say, by member. */
const claims = async (world: ClusterWorld): Promise<readonly string[]> =>
  (await onDisk(world)).map(({ superblock }) => (superblock.resyncOffset === IN_SYNC ? "clean" : "active"));

const events = async (world: ClusterWorld): Promise<readonly number[]> =>
  (await onDisk(world)).map(({ superblock }) => superblock.events);

const activity = ({ node }: TestNode): string => node.status().activity;

describe.each<BitmapKind>(["none", "internal"])("safe mode, bitmap %s", (bitmap) => {
  it("lets the first write in when all superblocks say active, and the next ones at once", async () => {
    const { world, a } = await alone({ bitmap });
    expect([activity(a), await claims(world)]).toEqual(["clean", ["clean", "clean"]]);
    const seen: unknown[] = [];
    a.engine.delay = ({ type }) =>
      type === "admitWrites"
        ? claims(world).then((said) => {
            seen.push([activity(a), said, world.copies(5)]);
          })
        : null;
    await world.wait(a.engine.write(5, 1, 0x55));
    expect(seen).toEqual([["write-pending", ["active", "active"], [0, 0]]]);
    expect(world.copies(5)).toEqual([0x55, 0x55]);
    expect(activity(a)).toBe("active");
    await world.wait(a.engine.write(6, 1, 0x66));
    expect(seen).toHaveLength(1);
  });

  it("is clean again when no write has come for the delay, not before, and not while one is under way", async () => {
    const { world, a } = await alone({ bitmap });
    await world.wait(a.engine.write(5, 1, 0x55));
    for (let i = 0; i < 4; i++) {
      await world.clock.advance(DELAY_MS / 2);
      await a.engine.write(5, 1, i);
      expect(activity(a)).toBe("active");
    }
    await a.engine.send({ type: "suspend", slot: 1 as never, range: { lo: 0 as never, hi: 64 as never } });
    const waiting = a.engine.write(5, 1, 0x77);
    await world.clock.advance(5 * DELAY_MS);
    expect([activity(a), await claims(world)]).toEqual(["active", ["active", "active"]]);
    await a.engine.send({ type: "resume", slot: 1 as never });
    await world.wait(waiting);
    await world.until(() => activity(a) === "clean");
    expect(await claims(world)).toEqual(["clean", "clean"]);
  });

  it("goes one number up and one down, and leaves spares alone; not while it is degraded", async () => {
    const { world, a } = await alone({ bitmap, mirrors: 2, spares: 1 });
    const [before = 0] = await events(world);
    for (let i = 0; i < 2; i++) {
      await world.wait(a.engine.write(5, 1, i));
      expect(await events(world)).toEqual([before + 1, before + 1, before]);
      await world.until(() => activity(a) === "clean");
      expect(await events(world)).toEqual([before, before, before]);
    }
    await world.wait(a.node.failMember(2));
    await world.wait(a.node.failMember(1));
    const [failed = 0] = await events(world);
    await world.wait(a.engine.write(5, 1, 9));
    await world.until(() => activity(a) === "clean");
    expect((await events(world))[0]).toBe(failed + 2);
  });

  it("takes a member out that cannot be told, and lets the write in", async () => {
    const { world, a } = await alone({ bitmap });
    world.disks.failWrites("/dev/d1", "a");
    await world.wait(a.engine.write(5, 1, 0x55));
    expect(a.node.status().health).toBe("U_");
    expect([(await claims(world))[0], world.copies(5)[0]]).toEqual(["active", 0x55]);
  });

  it("refuses the write when no superblock can say so; nothing is written, and the next one is tried anew", async () => {
    const { world, a } = await alone({ bitmap });
    for (const path of world.members) world.disks.failWrites(path, "a");
    await expect(world.wait(a.engine.write(5, 1, 0x55))).rejects.toThrow("errno 5");
    expect(world.copies(5)).toEqual([0, 0]);
    for (const path of world.members) world.disks.heal(path, "a");
    await world.wait(a.engine.write(5, 1, 0x66));
    expect(world.copies(5)[0]).toBe(0x66);
  });

  it("stays active until the end with a delay of 0, and leaves no more to do for the next", async () => {
    const { world, a } = await alone({ bitmap }, { safeModeDelayMs: 0 });
    await world.wait(a.engine.write(5, 1, 0x55));
    await world.clock.advance(10 * DELAY_MS);
    expect(activity(a)).toBe("active");
    a.node.setSafeModeDelay(500);
    await world.until(() => activity(a) === "clean");
    const [before] = await events(world);
    await world.wait(a.node.stop());
    expect([await events(world), await claims(world)]).toEqual([
      [before, before],
      ["clean", "clean"],
    ]);
  });

  it("a crash while it is clean costs no resync", async () => {
    const { world, a } = await alone({ bitmap });
    await world.wait(a.engine.write(5, 1, 0x55));
    await world.until(() => activity(a) === "clean");
    world.kill(a);
    // Nobody may look there: the mirrors are said to be equal.
    world.disks.poke("/dev/d1", world.dataOffset + 5, 0x99, 1);
    await world.clock.advance(3 * LEASE_MS);
    const b = await world.start("b");
    await world.idle(b);
    expect(world.copies(5)).toEqual([0x55, 0x99]);
  });
});

describe("access", () => {
  it("readonly: a write is refused, nothing is copied, and a clean superblock stays so", async () => {
    const { world, a } = await alone({}, { access: "readonly" });
    await expect(world.wait(a.engine.write(5, 1, 0x55))).rejects.toThrow("errno 30");
    await a.engine.send({ type: "mergeBits", bits: Uint8Array.of(1, 0) });
    world.disks.poke("/dev/d1", world.dataOffset + 3, 0x99, 1);
    a.engine.notify({ type: "resyncNeeded" });
    await world.clock.advance(3000);
    expect(a.node.status()).toMatchObject({ access: "readonly", sync: { action: "resync", phase: "pending" } });
    expect(world.copies(3)).toEqual([0, 0x99]);
    expect(() => a.node.scrub({ action: "check", from: null, to: null, source: null })).toThrow("is readonly here");
    await world.wait(a.node.setAccess("read-write"));
    await world.wait(a.engine.write(5, 1, 0x55));
    await world.idle(a);
    expect(world.copies(3)).toEqual([0, 0]);
  });

  it("read-auto: the first write makes it read-write, and what is to be copied is", async () => {
    const { world, a } = await alone({ clean: false, bitmap: "none" }, { access: "read-auto" });
    world.disks.poke("/dev/d1", world.dataOffset + 3, 0x99, 1);
    await world.clock.advance(3000);
    expect(a.node.status()).toMatchObject({ access: "read-auto", sync: { phase: "pending" } });
    expect(world.copies(3)).toEqual([0, 0x99]);
    await world.wait(a.engine.write(5, 1, 0x55));
    expect(a.node.status().access).toBe("read-write");
    await world.idle(a);
    expect(world.copies(3)).toEqual([0, 0]);
  });

  it("goes to readonly and back while it runs, but not under a writer", async () => {
    const { world, a } = await alone();
    await world.wait(a.engine.write(5, 1, 0x55));
    await a.engine.send({ type: "suspend", slot: 1 as never, range: { lo: 0 as never, hi: 64 as never } });
    const waiting = a.engine.write(5, 1, 0x77);
    await expect(world.wait(a.node.setAccess("readonly"))).rejects.toMatchObject({ code: "E_HELD" });
    await a.engine.send({ type: "resume", slot: 1 as never });
    await world.wait(waiting);
    await world.wait(a.node.setAccess("readonly"));
    expect(await claims(world)).toEqual(["clean", "clean"]);
    await expect(world.wait(a.engine.write(5, 1, 1))).rejects.toThrow("errno 30");
    await world.wait(a.node.setAccess("read-auto"));
    await world.wait(a.engine.write(5, 1, 2));
    expect([a.node.status().access, world.copies(5)]).toEqual(["read-write", [2, 2]]);
  });

  it("in a cluster read-auto is a local matter: takeovers are not held up, and superblocks stay active (K3)", async () => {
    const world = await ClusterWorld.create({ memberSize: SIZE });
    const a = await world.start("a", world.members, { access: "read-auto" });
    const b = await world.start("b");
    await world.idle(a, b);
    await world.wait(b.engine.write(700, 1, 0x22));
    world.disks.poke("/dev/d1", world.dataOffset + 700, 0x77, 1);
    world.kill(b);
    await world.until(() => a.node.status().slots[1]?.state === "free");
    await world.idle(a);
    expect(world.copies(700)).toEqual([0x22, 0x22]);
    expect(a.node.status().access).toBe("read-auto");
    await world.wait(a.engine.write(1, 1, 1));
    expect(a.node.status().access).toBe("read-write");
    await world.clock.advance(5 * DELAY_MS);
    await world.wait(a.node.stop());
    expect(await claims(world)).toEqual(["active", "active"]);
  });
});
