import { describe, expect, it } from "vitest";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import { CHUNK_SECTORS, ClusterWorld, type TestNode } from "./cluster-world.ts";

async function twoNodes(change: Parameters<typeof ClusterWorld.create>[0] = {}) {
  const world = await ClusterWorld.create(change);
  const a = await world.start("a");
  const b = await world.start("b");
  await world.idle(a, b);
  return { world, a, b };
}

const codes = ({ node }: TestNode): string[] => node.events().map(({ code }) => code);
const chunk = (n: number): number => n * CHUNK_SECTORS;

/** Ranges that the nodes copied, as [first chunk, chunks]. */
const copied = (...nodes: TestNode[]): number[][] =>
  nodes
    .flatMap(({ engine }) => engine.log)
    .flatMap((command) => (command.type === "copy" ? [command.range] : []))
    .map(({ lo, hi }) => [lo / CHUNK_SECTORS, (hi - lo) / CHUNK_SECTORS]);

/** Fails member 1, which then misses a write of each node. */
async function leftBehind(world: ClusterWorld, a: TestNode, b: TestNode): Promise<void> {
  await world.wait(a.engine.write(chunk(2), 1, 1));
  await world.wait(b.engine.write(chunk(3), 1, 1));
  await world.wait(a.node.flushBitmap());
  await world.wait(b.node.flushBitmap());
  await world.wait(a.node.failMember(1));
  await world.wait(a.engine.write(chunk(5), 1, 0x55));
  await world.wait(b.engine.write(chunk(9), 1, 0x99));
  for (const { engine } of [a, b]) engine.log.length = 0;
}

async function expectWhole(world: ClusterWorld, a: TestNode, b: TestNode): Promise<void> {
  await world.until(() => a.node.status().health === "UU" && b.node.status().health === "UU");
  await world.idle(a, b);
  expect([chunk(2), chunk(3), chunk(5), chunk(9)].map((at) => world.copies(at))).toEqual([
    [1, 1],
    [1, 1],
    [0x55, 0x55],
    [0x99, 0x99],
  ]);
  expect(a.node.status().members).toEqual(b.node.status().members);
}

describe("a member that comes back (K1, 26.11)", () => {
  it.each(["re-add", "add"] as const)(
    "after it was removed: %s copies what both nodes wrote, and no more",
    async (how) => {
      const { world, a, b } = await twoNodes();
      await leftBehind(world, a, b);
      await world.wait(a.node.removeMember(1));
      expect(await world.wait(a.node.addMember("/dev/d1", how))).toEqual({ number: 1, raidDisk: 1, as: "re-add" });
      await expectWhole(world, a, b);
      expect(copied(a, b)).toEqual([
        [5, 1],
        [9, 1],
      ]);
    },
  );

  it("while it is still bound as faulty (RE_ADD)", async () => {
    const { world, a, b } = await twoNodes();
    await leftBehind(world, a, b);
    await world.wait(b.node.addMember("/dev/d1", "re-add"));
    await expectWhole(world, a, b);
    // By who added it (26.21).
    expect(copied(a)).toEqual([]);
    expect(copied(b)).toEqual([
      [5, 1],
      [9, 1],
    ]);
    // And it takes writes of both from then on.
    await world.wait(a.engine.write(chunk(11), 1, 7));
    expect(world.copies(chunk(11))).toEqual([7, 7]);
  });

  it("with nothing missed: nothing is copied", async () => {
    const { world, a, b } = await twoNodes();
    await world.wait(Promise.all([a.node.failMember(1), a.node.removeMember(1)]));
    await world.wait(a.node.addMember("/dev/d1", "re-add"));
    await world.until(() => a.node.status().health === "UU" && b.node.status().health === "UU");
    expect(copied(a, b)).toEqual([]);
  });

  it("takes the bits of nodes that have died or left meanwhile along", async () => {
    const { world, a, b } = await twoNodes();
    const c = await world.start("c");
    await leftBehind(world, a, b);
    await world.wait(c.engine.write(chunk(20), 1, 0x20));
    world.kill(c);
    await world.until(() => codes(a).includes("TAKEOVER") && codes(b).includes("TAKEOVER"));
    await world.wait(b.node.stop());
    await world.wait(a.node.addMember("/dev/d1", "re-add"));
    await world.until(() => a.node.status().health === "UU");
    for (const at of [5, 9, 20]) expect(new Set(world.copies(chunk(at))).size).toBe(1);
    expect(world.copies(chunk(20))).toEqual([0x20, 0x20]);
  });

  it("goes on by the bitmaps when the whole cluster stops in the middle", async () => {
    const { world, a, b } = await twoNodes();
    await leftBehind(world, a, b);
    for (const each of [a, b]) each.engine.onCopy = () => new Promise(() => {});
    await world.wait(a.node.addMember("/dev/d1", "re-add"));
    await world.clock.advance(100);
    for (const each of [a, b]) world.kill(each);
    for (const path of world.disks.paths) for (const host of ["a", "b"]) world.disks.heal(path, host);
    const c = await world.start("c");
    await world.until(() => c.node.status().health === "UU");
    await world.idle(c);
    expect(world.copies(chunk(5))).toEqual([0x55, 0x55]);
    expect(world.copies(chunk(9))).toEqual([0x99, 0x99]);
    const first = copied(c).filter(([at]) => at === 0);
    expect(first).toEqual([]);
  });

  it("and fails again while it is filled inherits nothing of what was copied before", async () => {
    const { world, a, b } = await twoNodes();
    await leftBehind(world, a, b);
    let again: Promise<unknown> | null = null;
    for (const each of [a, b]) {
      each.engine.copiesAside = true;
      each.engine.onCopy = async () => {
        if (again !== null) return;
        again = (async () => {
          const other = each === a ? b : a;
          await other.node.failMember(1);
          // Behind where the pass has got to.
          await other.engine.write(chunk(1), 1, 0x11);
          await other.node.addMember("/dev/d1", "re-add");
        })();
        // The pass goes on when all of that is over: the member looks as it did before.
        await again;
      };
    }
    await world.wait(a.node.addMember("/dev/d1", "re-add"));
    await world.until(() => again !== null);
    await world.wait(again ?? Promise.resolve());
    await expectWhole(world, a, b);
    expect(world.copies(chunk(1))).toEqual([0x11, 0x11]);
  });

  it("is refused when bits were cleared since: another device was whole in its place", async () => {
    const { world, a, b } = await twoNodes();
    await leftBehind(world, a, b);
    await world.wait(a.node.removeMember(1));
    world.disks.add("/dev/new", 8192);
    const { number } = await world.wait(a.node.addMember("/dev/new"));
    await expect(world.wait(a.node.addMember("/dev/d1", "re-add"))).rejects.toMatchObject({
      code: "E_VALUE",
      message: expect.stringContaining(`raid disk 1 has member ${number} by now`),
    });
    await world.until(() => a.node.status().health === "UU" && b.node.status().health === "UU");
    await world.idle(a, b);
    await world.wait(Promise.all([a.node.failMember(number), a.node.removeMember(number)]));
    const before = Buffer.from(world.disks.bytes("/dev/d1"));
    await expect(world.wait(b.node.addMember("/dev/d1", "re-add"))).rejects.toThrow("do not reach back");
    expect(Buffer.compare(world.disks.bytes("/dev/d1"), before)).toBe(0);
    // `add` fills it from the start instead.
    expect(await world.wait(b.node.addMember("/dev/d1"))).toMatchObject({ as: "spare" });
    await world.until(() => a.node.status().health === "UU" && b.node.status().health === "UU");
    expect(world.copies(chunk(5))).toEqual([0x55, 0x55]);
  });

  it.each(["bound", "removed"])(
    "is refused, %s, when a node does not see it, with its superblock untouched",
    async (how) => {
      const { world, a, b } = await twoNodes();
      await leftBehind(world, a, b);
      if (how === "removed") await world.wait(a.node.removeMember(1));
      world.disks.hide("/dev/d1", "b");
      const before = await readSuperblock(world.disks.open("/dev/d1", "test"));
      await expect(world.wait(a.node.addMember("/dev/d1", "re-add"))).rejects.toMatchObject({
        code: "E_NODE_CANNOT_SEE_DEVICE",
        message: "cannot add /dev/d1 to md0: b cannot see it",
      });
      expect(await readSuperblock(world.disks.open("/dev/d1", "test"))).toEqual(before);
      for (const { node } of [a, b]) expect(node.status().health).toBe("U_");
      expect((await a.node.locks()).resources.find(({ name }) => name === "no-new-dev")?.granted).toHaveLength(2);
    },
  );

  it("is told to all before it is filled, although who added it died before all had heard", async () => {
    const { world, a, b } = await twoNodes();
    const c = await world.start("c");
    await leftBehind(world, a, b);
    const release = { now: () => {} };
    // The superblocks are written, b has heard of them, c not yet.
    const send = b.engine.send.bind(b.engine);
    b.engine.send = (command) => {
      if (!a.dead && command.type === "setMember" && command.member.state === "rebuilding") {
        release.now = world.disks.holdReads("c");
        world.kill(a);
      }
      return send(command);
    };
    a.node.addMember("/dev/d1", "re-add").catch(() => {});
    await world.until(() => a.dead);
    await world.clock.advance(200);
    release.now();
    for (const path of world.disks.paths) world.disks.heal(path, "a");
    await world.until(() => b.node.status().health === "UU" && c.node.status().health === "UU");
    await world.idle(b, c);
    expect(world.copies(chunk(5))).toEqual([0x55, 0x55]);
    await world.wait(c.engine.write(chunk(30), 1, 3));
    expect(world.copies(chunk(30))).toEqual([3, 3]);
  });
});
