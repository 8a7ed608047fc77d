import { describe, expect, it } from "vitest";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import type { MdError } from "../../src/base/md-error.ts";
import { Feature, hasFeature, roleOf } from "../../src/superblock/superblock.ts";
import { CHUNK_SECTORS, ClusterWorld, type TestNode } from "./cluster-world.ts";

const SECTORS = 65536;
const at = 5 * CHUNK_SECTORS;
const NEW = "/dev/d2";

async function twoNodes(change: Parameters<typeof ClusterWorld.create>[0] = {}) {
  const world = await ClusterWorld.create({ spares: 1, sectors: SECTORS, ...change });
  const a = await world.start("a");
  const b = await world.start("b");
  await world.idle(a, b);
  await world.wait(b.engine.write(at, 1, 0x5b));
  return { world, a, b };
}

/** Whoever fills waits before the window that begins at or beyond `from`, until the returned function is called. */
function holdFilling(from: number, ...nodes: TestNode[]): { readonly reached: () => boolean; readonly go: () => void } {
  let go = (): void => {};
  let reached = false;
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  for (const { engine } of nodes) {
    engine.copiesAside = true;
    engine.onCopy = ({ lo }) => {
      if (lo < from) return Promise.resolve();
      reached = true;
      return gate;
    };
  }
  return { reached: () => reached, go };
}

const membersOf = ({ node }: TestNode): string[] =>
  node
    .status()
    .members.filter(({ state }) => state !== "missing")
    .map(({ path, raidDisk, state }) => `${path} ${raidDisk} ${state}`);
const before = ["/dev/d0 0 in_sync", "/dev/d1 1 in_sync", `${NEW} null spare`];
const during = ["/dev/d0 0 in_sync", "/dev/d1 1 in_sync", `${NEW} 1 rebuilding`];
const after = ["/dev/d0 0 in_sync", "/dev/d1 null faulty", `${NEW} 1 in_sync`];

const isOver = ({ node }: TestNode): boolean =>
  node.status().members.some(({ path, state }) => path === NEW && state === "in_sync");

async function over(world: ClusterWorld, ...nodes: TestNode[]): Promise<void> {
  await world.until(() => nodes.every(isOver));
  await world.idle(...nodes);
}

describe("a member that is replaced", () => {
  it("serves until the new one is whole, every node writes to both, and then it is faulty everywhere", async () => {
    const { world, a, b } = await twoNodes();
    const hold = holdFilling(8192, a, b);
    expect(await world.wait(a.node.replaceMember(1, null))).toEqual({ number: 1, by: 2, raidDisk: 1 });
    await world.until(hold.reached);
    for (const each of [a, b]) {
      expect(membersOf(each)).toEqual(during);
      expect(each.node.status()).toMatchObject({ health: "UU", state: "active" });
    }
    const superblock = await readSuperblock(world.disks.open(NEW, "test"));
    expect(hasFeature(superblock, Feature.replacement)).toBe(true);
    expect([0, 1, 2].map((number) => roleOf(superblock, number))).toEqual([0, 1, 1]);
    // Where nothing was copied yet, and where it was.
    for (const [i, each] of [a, b].entries()) {
      for (const place of [20_000, 64]) await world.wait(each.engine.write(place + i, 1, 0x10 + i));
      for (const place of [20_000, 64]) {
        expect(world.copies(place + i, ["/dev/d0", "/dev/d1", NEW])).toEqual(new Array(3).fill(0x10 + i));
      }
    }
    hold.go();
    await over(world, a, b);
    for (const each of [a, b]) expect(membersOf(each)).toEqual(after);
    expect(world.copies(at, ["/dev/d0", NEW])).toEqual([0x5b, 0x5b]);
    // It takes nothing any more, and may go.
    const old = Buffer.from(world.disks.bytes("/dev/d1"));
    for (const each of [a, b]) await world.wait(each.engine.write(at, 1, 0x77));
    expect(Buffer.compare(world.disks.bytes("/dev/d1"), old)).toBe(0);
    expect(world.copies(at, ["/dev/d0", NEW])).toEqual([0x77, 0x77]);
    await world.wait(b.node.removeMember(1));
    expect(membersOf(a)).toEqual([after[0], after[2]]);
    // Its place in the data planes is free for the next one.
    await world.wait(a.node.addMember("/dev/d1"));
    await world.wait(a.node.replaceMember(2, null));
    await world.until(() => [a, b].every(({ node }) => node.status().members.some(({ number }) => number === 3)));
    await world.until(() => [a, b].every((each) => membersOf(each).some((text) => text === "/dev/d1 1 in_sync")));
    expect(world.copies(at, ["/dev/d0", "/dev/d1"])).toEqual([0x77, 0x77]);
  });

  it("is filled from as any member: by another node when the one that fills dies, from where that was", async () => {
    const { world, a, b } = await twoNodes();
    const hold = holdFilling(SECTORS / 2, a, b);
    await world.wait(a.node.replaceMember(0, 2));
    await world.until(hold.reached);
    const dies = a.node.status().sync?.phase === "running" ? a : b;
    const left = dies === a ? b : a;
    const starts: number[] = [];
    left.engine.onCopy = async ({ lo }) => {
      starts.push(lo);
    };
    world.kill(dies);
    for (const path of world.disks.paths) world.disks.heal(path, dies.name);
    await over(world, left);
    expect(membersOf(left)).toEqual(["/dev/d0 null faulty", "/dev/d1 1 in_sync", `${NEW} 0 in_sync`]);
    expect(Math.min(...starts)).toBeGreaterThan(0);
    expect(world.copies(at, ["/dev/d1", NEW])).toEqual([0x5b, 0x5b]);
  });

  it("is filled on by another node when the one that fills leaves", async () => {
    const { world, a, b } = await twoNodes();
    const hold = holdFilling(SECTORS / 2, a, b);
    await world.wait(a.node.replaceMember(0, 2));
    await world.until(hold.reached);
    const leaves = a.node.status().sync?.phase === "running" ? a : b;
    const left = leaves === a ? b : a;
    const stopped = leaves.node.stop();
    hold.go();
    await world.wait(stopped);
    await over(world, left);
    expect(world.copies(at, ["/dev/d1", NEW])).toEqual([0x5b, 0x5b]);
  });

  it("is found half-filled by a node that joins, and by one that assembles when all had stopped", async () => {
    const { world, a, b } = await twoNodes();
    const hold = holdFilling(SECTORS / 2, a, b);
    await world.wait(a.node.replaceMember(1, 2));
    await world.until(hold.reached);
    const c = await world.start("c");
    expect(membersOf(c)).toEqual(during);
    await world.wait(c.engine.write(40_000, 1, 0x33));
    expect(world.copies(40_000, ["/dev/d0", "/dev/d1", NEW])).toEqual([0x33, 0x33, 0x33]);
    const stopped = Promise.all([a, b, c].map(({ node }) => node.stop()));
    hold.go();
    await world.wait(stopped);
    const d = await world.start("d");
    expect(membersOf(d)).toEqual(isOver(d) ? [after[0], after[2]] : during);
    await over(world, d);
    for (const [place, fill] of [[at, 0x5b] as const, [40_000, 0x33] as const]) {
      expect(world.copies(place, ["/dev/d0", NEW])).toEqual([fill, fill]);
    }
  });

  it("fails while the new one is filled: that goes on as the plain member of the raid disk", async () => {
    const { world, a, b } = await twoNodes();
    const hold = holdFilling(SECTORS / 2, a, b);
    await world.wait(a.node.replaceMember(1, 2));
    await world.until(hold.reached);
    world.disks.failWrites("/dev/d1", "b");
    await world.wait(b.engine.write(at, 1, 0x66));
    for (const each of [a, b]) expect(membersOf(each)).toEqual([before[0], "/dev/d1 null faulty", during[2]]);
    expect(world.copies(at, ["/dev/d0", NEW])).toEqual([0x66, 0x66]);
    const superblock = await readSuperblock(world.disks.open(NEW, "test"));
    expect(superblock.featureMap & (Feature.replacement | Feature.recoveryOffset)).toBe(Feature.recoveryOffset);
    // The other copy is the last one now.
    await expect(world.wait(a.node.failMember(0))).rejects.toMatchObject({ code: "E_LAST_COPY" });
    hold.go();
    await over(world, a, b);
    for (const each of [a, b]) expect(membersOf(each)).toEqual(after);
    expect(world.copies(at, ["/dev/d0", NEW])).toEqual([0x66, 0x66]);
  });

  it("goes on when the new one fails", async () => {
    const { world, a, b } = await twoNodes();
    const hold = holdFilling(SECTORS / 2, a, b);
    await world.wait(a.node.replaceMember(1, 2));
    await world.until(hold.reached);
    world.disks.failWrites(NEW, "b");
    await world.wait(b.engine.write(at, 1, 0x66));
    for (const each of [a, b]) expect(membersOf(each)).toEqual([before[0], before[1], `${NEW} null faulty`]);
    expect(world.copies(at)).toEqual([0x66, 0x66, 0x5b]);
    hold.go();
    await world.idle(a, b);
    expect(a.node.status()).toMatchObject({ health: "UU", state: "active", sync: null });
  });

  it("is replaced though it is the last copy", async () => {
    const { world, a, b } = await twoNodes();
    const hold = holdFilling(8192, a, b);
    await world.wait(a.node.replaceMember(1, 2));
    await world.until(hold.reached);
    await world.wait(b.node.failMember(0));
    await expect(world.wait(b.node.failMember(1))).rejects.toMatchObject({ code: "E_LAST_COPY" });
    hold.go();
    await over(world, a, b);
    for (const each of [a, b]) expect(membersOf(each)).toEqual(["/dev/d0 null faulty", after[1], after[2]]);
    expect(world.copies(at, [NEW])).toEqual([0x5b]);
  });

  it("and is the last copy stays, whichever of the last superblocks the new one does not take", async () => {
    let n = 0;
    for (let failed = true; failed; n++) {
      const { world, a, b } = await twoNodes({ sectors: 8192 });
      const hold = holdFilling(0, a, b);
      await world.wait(a.node.replaceMember(1, 2));
      await world.until(hold.reached);
      await world.wait(a.node.failMember(0));
      let writes = 0;
      failed = false;
      world.disks.onWrite = (path, host) => {
        if (path !== NEW || writes++ !== n) return;
        failed = true;
        world.disks.failWrites(NEW, host);
      };
      hold.go();
      await world.until(() => [a, b].every((each) => membersOf(each)[2] !== during[2]));
      await world.idle(a, b);
      const left = failed ? ["/dev/d0 null faulty", "/dev/d1 1 in_sync", `${NEW} null faulty`] : null;
      for (const each of [a, b]) expect(membersOf(each)).toEqual(left ?? ["/dev/d0 null faulty", after[1], after[2]]);
      expect(world.copies(at, [failed ? "/dev/d1" : NEW])).toEqual([0x5b]);
      // What is on disk says the same.
      world.disks.onWrite = () => {};
      await world.wait(Promise.all([a, b].map(({ node }) => node.stop())));
      world.disks.heal(NEW, "a");
      world.disks.heal(NEW, "b");
      const c = await world.start("c");
      expect(membersOf(c)[0]).toBe(failed ? "/dev/d1 1 in_sync" : after[2]);
    }
    expect(n).toBeGreaterThan(1);
  });
});

describe("a replacement is refused, and nothing has changed", () => {
  it("when a node cannot see the spare, which it names", async () => {
    const world = await ClusterWorld.create({ spares: 1, sectors: SECTORS });
    const a = await world.start("a");
    world.disks.hide(NEW, "b");
    const b = await world.start("b", ["/dev/d0", "/dev/d1"]);
    await world.idle(a, b);
    await expect(world.wait(a.node.replaceMember(1, 2))).rejects.toMatchObject({
      code: "E_NODE_CANNOT_SEE_DEVICE",
      message: "cannot replace d1[1] by d2[2] in md0: b cannot see it",
    });
    expect(membersOf(a)).toEqual(before);
    const superblock = await readSuperblock(world.disks.open(NEW, "test"));
    expect(hasFeature(superblock, Feature.replacement)).toBe(false);
    await world.wait(b.engine.write(at, 1, 0x11));
    await world.idle(a, b);
  });

  it("but not when a node has only not looked at it yet", async () => {
    const world = await ClusterWorld.create({ spares: 1, sectors: SECTORS });
    const a = await world.start("a");
    const b = await world.start("b", ["/dev/d0", "/dev/d1"]);
    await world.idle(a, b);
    const hold = holdFilling(0, a, b);
    await world.wait(a.node.replaceMember(1, 2));
    expect(membersOf(b)).toEqual(during);
    await world.wait(b.engine.write(at, 1, 0x11));
    expect(world.copies(at)).toEqual([0x11, 0x11, 0x11]);
    hold.go();
    await over(world, a, b);
  });

  it("when the nodes speak a version that knows none", async () => {
    const world = await ClusterWorld.create({ spares: 1 });
    const old = { protocol: { oldest: 1, newest: 1, features: 1 } };
    const b = await world.start("b", world.members, old);
    const a = await world.start("a");
    await world.idle(a, b);
    await expect(world.wait(a.node.replaceMember(1, null))).rejects.toMatchObject({ code: "E_PROTOCOL_VERSION" });
    expect(membersOf(b)).toEqual(before);
    // Who does not know them does not come to a cluster that does, either.
    for (const { node } of [a, b]) await world.wait(node.stop());
    await world.start("a");
    await expect(world.wait(world.begin("b", world.members, old))).rejects.toMatchObject({
      code: "E_PROTOCOL_VERSION",
    });
  });

  it("without a spare, with what is none, and of what is no full copy or is being replaced", async () => {
    const { world, a, b } = await twoNodes();
    const refused = (number: number, spare: number | null, code: string) =>
      expect(world.wait(b.node.replaceMember(number, spare))).rejects.toMatchObject({ code });
    await refused(7, null, "E_MEMBER_NOT_FOUND");
    await refused(0, 1, "E_VALUE");
    await refused(2, 2, "E_VALUE");
    expect(membersOf(a)).toEqual(before);
    const hold = holdFilling(0, a, b);
    await world.wait(a.node.replaceMember(1, null));
    await refused(0, null, "E_NO_DEVICE");
    await refused(1, 2, "E_MEMBER_ACTIVE");
    hold.go();
    await over(world, a, b);
  });
});

/** `a` has a member replaced, and dies when it is about to write for the `n`th time since. False: it came to its end before. */
async function dies(n: number, world: ClusterWorld, a: TestNode): Promise<boolean> {
  await world.wait(a.engine.write(at, 1, 0x5b));
  let writes = 0;
  world.disks.onWrite = (_, host) => {
    if (host === "a" && !a.dead && writes++ === n) world.kill(a);
  };
  let error: MdError | null = null;
  a.node.replaceMember(1, 2).catch((failed) => {
    error = failed;
  });
  await world.until(() => a.dead || error !== null || isOver(a));
  if (!a.dead) expect(error).toBeNull();
  world.disks.onWrite = () => {};
  for (const path of world.disks.paths) world.disks.heal(path, "a");
  return a.dead;
}

describe("who replaces a member and dies at any of its writes", () => {
  it("leaves all of it or nothing to the survivors, who bring it to its end", async () => {
    let n = 0;
    for (let died = true; died; n++) {
      const world = await ClusterWorld.create({ spares: 1 });
      const a = await world.start("a");
      const b = await world.start("b");
      await world.idle(a, b);
      died = await dies(n, world, a);
      if (!died) break;
      await world.until(() => b.node.events().some(({ code }) => code === "TAKEOVER"));
      await world.idle(b);
      expect([before, after]).toContainEqual(membersOf(b));
      if (!isOver(b)) await world.wait(b.node.replaceMember(1, 2));
      await over(world, b);
      expect(membersOf(b)).toEqual(after);
      expect(world.copies(at, ["/dev/d0", NEW])).toEqual([0x5b, 0x5b]);
    }
    expect(n).toBeGreaterThan(8);
  });

  it("leaves an array that can be assembled, with nobody left", async () => {
    let n = 0;
    for (let died = true; died; n++) {
      const world = await ClusterWorld.create({ spares: 1 });
      const a = await world.start("a");
      await world.idle(a);
      died = await dies(n, world, a);
      if (!died) break;
      const c = await world.start("c");
      await world.idle(c);
      if (!isOver(c)) await world.wait(c.node.replaceMember(1, 2));
      await over(world, c);
      expect(membersOf(c).filter((text) => text.endsWith("in_sync"))).toEqual([after[0], after[2]]);
      expect(world.copies(at, ["/dev/d0", NEW])).toEqual([0x5b, 0x5b]);
    }
    expect(n).toBeGreaterThan(8);
  });

  it("leaves a full copy of everything, where the replaced ones are the last of their pairs", async () => {
    let n = 0;
    for (let died = true; died; n++) {
      const world = await ClusterWorld.create({ level: 10, near: 2, mirrors: 4, spares: 2 });
      const a = await world.start("a");
      await world.idle(a);
      const hold = holdFilling(0, a);
      const whole = ["/dev/d4 0 in_sync", "/dev/d5 2 in_sync"];
      const isWhole = (node: TestNode): boolean => whole.every((text) => membersOf(node).includes(text));
      await world.wait(Promise.all([a.node.replaceMember(0, 4), a.node.replaceMember(2, 5)]));
      await world.until(hold.reached);
      for (const number of [1, 3]) await world.wait(a.node.failMember(number));
      let writes = 0;
      world.disks.onWrite = (_, host) => {
        if (host === "a" && !a.dead && writes++ === n) world.kill(a);
      };
      hold.go();
      await world.until(() => a.dead || isWhole(a));
      died = a.dead;
      world.disks.onWrite = () => {};
      for (const path of world.disks.paths) world.disks.heal(path, "a");
      if (!died) break;
      const c = await world.start("c");
      await world.until(() => isWhole(c));
    }
    expect(n).toBeGreaterThan(4);
  });
});

it("members that are filled, one of which fails at any update, leave good copies that an assembly believes", async () => {
  let n = 0;
  for (let died = true; died; n++) {
    const world = await ClusterWorld.create({ mirrors: 3, spares: 2, sectors: 16_384 });
    const a = await world.start("a");
    await world.idle(a);
    await world.wait(a.engine.write(at, 1, 0x5b));
    const hold = holdFilling(0, a);
    await world.wait(Promise.all([a.node.replaceMember(1, 3), a.node.replaceMember(2, 4)]));
    for (const number of [1, 2]) await world.wait(a.node.failMember(number));
    await world.until(hold.reached);
    // From the moment when one of them fails `a` has `n` writes left.
    let left = n;
    let failed = false;
    world.disks.onWrite = (path, host) => {
      if (host !== "a" || a.dead) return;
      if (path === "/dev/d4" && !failed) {
        failed = true;
        world.disks.failWrites("/dev/d4");
      } else if (failed && left-- === 0) world.kill(a);
    };
    hold.go();
    await world.until(() => a.dead || membersOf(a).includes("/dev/d3 1 in_sync"));
    died = a.dead;
    world.disks.onWrite = () => {};
    for (const path of world.disks.paths) world.disks.heal(path, "a");
    if (!died) break;
    const c = await world.start("c");
    expect(membersOf(c)[0]).toBe("/dev/d0 0 in_sync");
    expect(world.copies(at, ["/dev/d0"])).toEqual([0x5b]);
  }
  expect(n).toBeGreaterThan(1);
});
