import { describe, expect, it } from "vitest";
import { readAllSlots } from "../../src/array/bitmap-store.ts";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import { MdError } from "../../src/base/md-error.ts";
import { sector, slotNumber } from "../../src/base/units.ts";
import type { GrowRequest } from "../../src/cluster/grow-command.ts";
import type { EngineCommand } from "../../src/engine/engine-protocol.ts";
import { CHUNK_SECTORS, ClusterWorld, LEASE_MS, type TestNode } from "./cluster-world.ts";

const OLD = 2048;
const NEW = 4096;

const wanted = (change: Partial<GrowRequest>): GrowRequest => ({
  size: null,
  raidDisks: null,
  chunkBytes: null,
  stripeSectors: null,
  assumeClean: false,
  ...change,
});
const toSize = (size: number | "max", more: Partial<GrowRequest> = {}): GrowRequest =>
  wanted({ size: size === "max" ? "max" : sector(size), ...more });

/** Nodes of these names over two disks of 8192 sectors, of which the array uses the first `OLD` for data. */
async function cluster(names: readonly string[], change: Parameters<typeof ClusterWorld.create>[0] = {}) {
  const world = await ClusterWorld.create({ memberSize: OLD, ...change });
  for (const path of world.members) world.disks.bytes(path).fill(path.charCodeAt(6), (world.dataOffset + OLD) * 512);
  const nodes: TestNode[] = [];
  for (const name of names) nodes.push(await world.start(name));
  await world.idle(...nodes);
  return { world, nodes };
}

const alive = (nodes: readonly TestNode[]): readonly TestNode[] => nodes.filter(({ dead }) => !dead);

/** What every member says that the array and each slot's bitmap have. */
async function onDisk(world: ClusterWorld) {
  const members = [];
  for (const path of world.members) {
    const device = world.disks.open(path, "observer");
    const superblock = await readSuperblock(device);
    const slots = await readAllSlots(device, superblock);
    members.push({
      size: superblock.size,
      raidDisks: superblock.raidDisks,
      slots: slots.map((slot) => `${slot.super.syncSize}/${slot.super.chunkBytes}`),
    });
  }
  return members;
}

const sizesOf = (nodes: readonly TestNode[]) =>
  nodes.map(({ node, engine }) => [node.status().size, node.status().memberSize, engine.capacity]);

/** Everything agrees that the array has `size` sectors: nodes, superblocks and all slots' bitmaps. */
async function expectSize(world: ClusterWorld, nodes: readonly TestNode[], size: number): Promise<void> {
  expect(sizesOf(nodes)).toEqual(nodes.map(() => [size, size, size]));
  for (const member of await onDisk(world)) {
    expect(member.size).toBe(size);
    expect(new Set(member.slots.map((slot) => slot.split("/")[0]))).toEqual(new Set([String(size)]));
  }
}

function expectEqualMirrors(world: ClusterWorld, size: number): void {
  const [first, ...others] = world.members.map((path) => world.disks.data(path, world.dataOffset, size));
  for (const other of others) expect(Buffer.compare(first ?? Buffer.alloc(0), other)).toBe(0);
}

const idleBitmaps = async (world: ClusterWorld, nodes: readonly TestNode[]): Promise<number> => {
  await world.idle(...nodes);
  for (const { node } of nodes) await world.wait(node.flushBitmap());
  const [first] = nodes;
  const slots = (await first?.node.bitmaps()) ?? [];
  return slots.reduce((sum, { dirty }) => sum + dirty, 0);
};

describe("the size of an array on three nodes", () => {
  it("grows on all of them, and only what is new is resynced", async () => {
    const { world, nodes } = await cluster(["a", "b", "c"]);
    const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
    await b.engine.write(2047, 1, 0x33);
    await world.wait(b.node.flushBitmap());
    const copied: number[] = [];
    for (const { engine } of nodes) {
      engine.onCopy = async ({ lo, hi }) => {
        copied.push(lo, hi);
      };
    }
    // The mirrors differ in the old area where no bit says so: a copy there would show.
    world.disks.poke("/dev/d1", world.dataOffset + 100, 0x77, 1);
    await expect(b.engine.write(OLD, 1, 1)).rejects.toThrow("EINVAL");
    await world.wait(a.node.grow(toSize(NEW)));
    for (const { engine } of nodes) expect(engine.capacity).toBe(NEW);
    await c.engine.write(NEW - 1, 1, 0x44);
    expect(await idleBitmaps(world, nodes)).toBe(0);
    await expectSize(world, nodes, NEW);
    expect([Math.min(...copied), Math.max(...copied)]).toEqual([OLD, NEW]);
    expect(world.copies(100)[1]).toBe(0x77);
    expect(world.copies(3000)).toEqual([0x30, 0x30]);
    for (const { node } of nodes) expect(node.status().readBalance).toBe("balanced");
  });

  it.each([
    ["a size that ends in a chunk", OLD, 2100],
    ["from one that does", 2090, 2600],
    ["all that there is", OLD, "max"],
    ["no more than it has", OLD, OLD],
  ] as const)("grows to %s", async (_, from, to) => {
    const { world, nodes } = await cluster(["a", "b"], { memberSize: from });
    const [a] = nodes as [TestNode, TestNode];
    const { after } = await world.wait(a.node.grow(toSize(to)));
    const size = to === "max" ? 8192 - world.dataOffset : to;
    expect(after.memberSize).toBe(size);
    expect(await idleBitmaps(world, nodes)).toBe(0);
    await expectSize(world, nodes, size);
    expectEqualMirrors(world, size);
    await world.wait(a.node.stop());
    const again = await world.start("d");
    expect(again.node.status().size).toBe(size);
  });

  it("reads what is new from one copy on every node until it is resynced", async () => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    const seen = new Set<number>();
    a.engine.onCopy = async () => {
      seen.add(b.engine.read(3000)).add(a.engine.read(3000));
    };
    await world.wait(a.node.grow(toSize(NEW)));
    for (const { engine } of nodes) seen.add(engine.read(3000));
    await world.idle(...nodes);
    expect([...seen]).toEqual([0x30]);
  });

  it("is not resynced when it is said to be equal", async () => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a] = nodes as [TestNode, TestNode];
    await world.wait(a.node.grow(toSize(NEW, { assumeClean: true })));
    await world.idle(...nodes);
    expect(nodes.flatMap(({ engine }) => engine.log).some(({ type }) => type === "copy")).toBe(false);
    for (const { node } of nodes) expect(node.status().readBalance).toBe("balanced");
  });

  it("shrinks, and grows again", async () => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    await world.wait(b.node.grow(toSize(1000)));
    await expectSize(world, nodes, 1000);
    await expect(a.engine.write(1000, 1, 1)).rejects.toThrow("EINVAL");
    await world.wait(a.node.grow(toSize(NEW)));
    expect(await idleBitmaps(world, nodes)).toBe(0);
    await expectSize(world, nodes, NEW);
    expectEqualMirrors(world, NEW);
  });

  it("does not shrink where what lies beyond the new end is still noted for a missing member", async () => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    await world.wait(a.node.failMember(1));
    await b.engine.write(OLD - 1, 1, 7);
    for (const [initiator, text] of [
      [a, "b refuses"],
      [b, '"any:md0" cannot become smaller while a member is missing'],
    ] as const) {
      await expect(world.wait(initiator.node.grow(toSize(1000)))).rejects.toMatchObject({
        code: "E_DIRTY_BITMAP",
        message: expect.stringContaining(text),
      });
      await world.until(() => sizesOf(nodes).every((sizes) => sizes.every((size) => size === OLD)));
    }
    // What was noted is still: the member comes back with it.
    await world.wait(a.node.removeMember(1));
    await world.wait(a.node.addMember("/dev/d1", "re-add"));
    await world.until(() => a.node.status().members.every(({ state }) => state === "in_sync"));
    await world.idle(...nodes);
    expect(world.copies(OLD - 1)).toEqual([7, 7]);
    await world.wait(b.node.grow(toSize(1000)));
    await expectSize(world, nodes, 1000);
  });

  it("does not shrink below clients that write, on whatever node", async () => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    const frontEnd = { type: "nbd", address: { type: "unix", path: "/s" }, exportName: "x", multiConn: true } as const;
    await world.wait(b.node.attach({ ...frontEnd, readOnly: false }));
    const before = await onDisk(world);
    for (const [initiator, text] of [
      [a, "b refuses"],
      [b, '"any:md0" is exported writable on b'],
    ] as const) {
      await expect(world.wait(initiator.node.grow(toSize(1000)))).rejects.toMatchObject({
        code: "E_HELD",
        message: expect.stringContaining(text),
      });
    }
    await world.idle(...nodes);
    expect(await onDisk(world)).toEqual(before);
    await b.engine.write(OLD - 1, 1, 5);
    await world.wait(b.node.detach());
    await world.wait(b.node.attach({ ...frontEnd, readOnly: true }));
    await world.wait(a.node.grow(toSize(1000)));
    await expectSize(world, nodes, 1000);
  });
});

describe("a change that is refused", () => {
  it("27.16: by a node whose device is smaller is undone everywhere, and names the node and the device", async () => {
    const { world, nodes } = await cluster(["a", "b", "c"]);
    const [a] = nodes as [TestNode, TestNode, TestNode];
    world.disks.sizes.set("b /dev/d1", world.dataOffset + 3000);
    const before = await onDisk(world);
    await expect(world.wait(a.node.grow(toSize(NEW)))).rejects.toMatchObject({
      code: "E_DEVICE_SMALL",
      message: expect.stringMatching(/^b refuses .*\/dev\/d1 has 3000 sectors/),
    });
    await world.idle(...nodes);
    expect(await onDisk(world)).toEqual(before);
    await expectSize(world, nodes, OLD);
    // As if nothing had been: the same command works once the device is as large there.
    world.disks.sizes.clear();
    await world.wait(a.node.grow(toSize(NEW)));
    expect(await idleBitmaps(world, nodes)).toBe(0);
    await expectSize(world, nodes, NEW);
  });

  it.each(["a", "b"])("by the data plane of %s leaves no trace", async (who) => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a] = nodes as [TestNode, TestNode];
    const refuser = nodes.find(({ name }) => name === who);
    if (refuser === undefined) throw new Error("no such node");
    const before = await onDisk(world);
    refuser.engine.onCommand = ({ type }) => {
      if (type === "reshape") throw new MdError("E_VALUE", "no room");
    };
    await expect(world.wait(a.node.grow(toSize(NEW)))).rejects.toMatchObject({ code: "E_VALUE" });
    await world.idle(...nodes);
    expect(await onDisk(world)).toEqual(before);
    expect(nodes.map(({ node }) => node.status().state)).toEqual(["active", "active"]);
  });

  it("of a shrunk array gives the bits back that had no place meanwhile", async () => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    await a.engine.write(1900, 1, 9);
    b.engine.onCommand = ({ type }) => {
      if (type === "reshape") throw new MdError("E_VALUE", "no");
    };
    await expect(world.wait(a.node.grow(toSize(1000)))).rejects.toMatchObject({ code: "E_VALUE" });
    expect(a.engine.dirty.has(Math.floor(1900 / CHUNK_SECTORS))).toBe(true);
    await world.idle(...nodes);
    expect(world.copies(1900)).toEqual([9, 9]);
  });

  it("while any node has something to resync changes nothing (26.16)", async () => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    b.engine.onCopy = () => held;
    await b.engine.send({ type: "mergeBits", bits: Uint8Array.of(1, 0) });
    b.engine.notify({ type: "resyncNeeded" });
    await world.until(() => a.node.status().sync?.phase === "remote");
    const before = await onDisk(world);
    for (const request of [toSize(NEW), wanted({ raidDisks: 3 }), wanted({ chunkBytes: 8192 })]) {
      await expect(world.wait(a.node.grow(request))).rejects.toMatchObject({ code: "E_SYNC_RUNNING" });
      await expect(world.wait(b.node.grow(request))).rejects.toMatchObject({ code: "E_SYNC_RUNNING" });
    }
    expect(await onDisk(world)).toEqual(before);
    release();
    await world.idle(...nodes);
    await world.wait(a.node.grow(toSize(NEW)));
  });
});

/**
 * Counts what the nodes and the disks do from now on; `act` happens in the middle of the n-th of it. Ends with a call of
 * what it returns: whether it came so far.
 */
function atStep(world: ClusterWorld, nodes: readonly TestNode[], n: number, act: () => void): () => boolean {
  let steps = 0;
  const tick = (): void => {
    if (++steps === n) act();
  };
  for (const { engine } of nodes) {
    engine.onCommand = (command: EngineCommand) => {
      if (command.type !== "scan" && command.type !== "queryBitmap") tick();
    };
  }
  world.disks.onFlush = tick;
  return () => {
    for (const { engine } of nodes) engine.onCommand = () => {};
    world.disks.onFlush = () => {};
    return steps >= n;
  };
}

/** Milliseconds: a cluster is made anew for each step, which takes its time on a busy machine. */
const EVERY_STEP_MS = 300_000;

const changes: readonly (readonly [string, GrowRequest])[] = [
  ["growing", toSize(NEW)],
  ["shrinking", toSize(1000)],
  ["more raid disks", wanted({ raidDisks: 3 })],
  ["a larger bitmap chunk", wanted({ chunkBytes: CHUNK_SECTORS * 1024 })],
];

const kinds = [
  ...changes.map(([title, request]) => [title, request, {}] as const),
  ["another chunk of a RAID10", wanted({ stripeSectors: 64 }), { level: 10 }] as const,
];

describe.each(kinds)("a node that dies at any step of %s", (_, request, kind) => {
  it.each([
    ["a", 1],
    // Of one that only follows, some are enough: most steps are not its own.
    ["b", 7],
  ])(
    "%s: the others agree on the one shape or the other",
    async (victim, stride) => {
      let finished = false;
      for (let n = 1; !finished; n += stride) {
        const { world, nodes } = await cluster(["a", "b", "c"], kind);
        const [a] = nodes as [TestNode, TestNode, TestNode];
        const target = nodes.find(({ name }) => name === victim) as TestNode;
        const cameTo = atStep(world, nodes, n, () => world.kill(target));
        const growing = a.node.grow(request).then(
          () => true,
          () => false,
        );
        if (victim === "a") growing.catch(() => {});
        else await world.wait(growing);
        await world.clock.advance(50);
        finished = !cameTo();
        const left = alive(nodes);
        if (!finished) {
          await world.until(() => left.every(({ node }) => node.status().slots[target.node.slot]?.state === "free"));
        }
        await world.idle(...left);
        const [shape] = await onDisk(world);
        for (const member of await onDisk(world)) expect({ n, ...member }).toEqual({ n, ...shape });
        expect({ n, sizes: sizesOf(left) }).toEqual({
          n,
          sizes: left.map(() => [shape?.size, shape?.size, shape?.size]),
        });
        expect(new Set(left.map(({ node }) => node.status().chunkSectors)).size).toBe(1);
        expect(left.map(({ node }) => node.status().raidDisks)).toEqual(left.map(() => shape?.raidDisks));
        expectEqualMirrors(world, shape?.size ?? 0);
        // Whoever comes now can work with them.
        const d = await world.start("d");
        await d.engine.write((shape?.size ?? 0) - 1, 1, 0x66);
        await world.idle(...left, d);
        expect(world.copies((shape?.size ?? 0) - 1)).toEqual([0x66, 0x66]);
      }
    },
    EVERY_STEP_MS,
  );
});

it.each([
  ["growing", toSize(NEW), {}],
  ["another chunk of a RAID10", wanted({ stripeSectors: 64 }), { level: 10 }],
] as const)(
  "a whole cluster that dies at any step of %s finds one shape when it comes back",
  async (_, request, kind) => {
    let finished = false;
    for (let n = 1; !finished; n++) {
      const { world, nodes } = await cluster(["a", "b"], kind);
      const [a] = nodes as [TestNode];
      const cameTo = atStep(world, nodes, n, () => {
        for (const each of nodes) world.kill(each);
      });
      a.node.grow(request).catch(() => {});
      await world.clock.advance(50);
      finished = !cameTo();
      if (finished) break;
      await world.clock.advance(3 * LEASE_MS);
      for (const path of world.members) for (const name of ["a", "b"]) world.disks.heal(path, name);
      const [c, d] = [await world.start("c"), await world.start("d")];
      await world.idle(c, d);
      const { size, chunkSectors } = c.node.status();
      expect([OLD, NEW]).toContain(size);
      expect(d.node.status().chunkSectors).toBe(chunkSectors);
      await expectSize(world, [c, d], size);
      expectEqualMirrors(world, size);
    }
  },
  EVERY_STEP_MS,
);

it(
  "a node that joins at any step of growing has the size that the others have",
  async () => {
    let finished = false;
    for (let n = 1; !finished; n++) {
      const { world, nodes } = await cluster(["a", "b"]);
      const [a] = nodes as [TestNode, TestNode];
      const joining: Promise<TestNode>[] = [];
      const cameTo = atStep(world, nodes, n, () => joining.push(world.begin("c", world.members)));
      const grown = await world.wait(
        a.node.grow(toSize(NEW)).then(
          () => true,
          // Somebody about to join cannot be asked yet.
          (error: MdError) => error.code !== "E_SYNC_RUNNING",
        ),
      );
      finished = !cameTo();
      const all = [...nodes, ...(await world.wait(Promise.all(joining)))];
      await world.idle(...all);
      await expectSize(world, all, grown ? NEW : OLD);
      expectEqualMirrors(world, grown ? NEW : OLD);
    }
  },
  EVERY_STEP_MS,
);

describe("raid disks", () => {
  const health = (nodes: readonly TestNode[]) => nodes.map(({ node }) => node.status().health);

  it("one more takes a spare at once, on all nodes", async () => {
    const { world, nodes } = await cluster(["a", "b"], { spares: 1 });
    const [a, b] = nodes as [TestNode, TestNode];
    await a.engine.write(7, 1, 0x21);
    await world.wait(b.node.grow(wanted({ raidDisks: 3 })));
    await world.until(() => health(nodes).every((each) => each === "UUU"));
    await world.idle(...nodes);
    expect(world.copies(7)).toEqual([0x21, 0x21, 0x21]);
    await b.engine.write(8, 1, 0x22);
    expect(world.copies(8)).toEqual([0x22, 0x22, 0x22]);
    expect((await onDisk(world)).map(({ raidDisks }) => raidDisks)).toEqual([3, 3, 3]);
  });

  it("one more without a spare is degraded until a device is added; and back when that is gone", async () => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    await world.wait(a.node.grow(wanted({ raidDisks: 3 })));
    await world.idle(...nodes);
    expect(health(nodes)).toEqual(["UU_", "UU_"]);
    world.disks.add("/dev/d2", 8192);
    await world.wait(b.node.addMember("/dev/d2"));
    await world.until(() => health(nodes).every((each) => each === "UUU"));
    await world.idle(...nodes);
    await expect(world.wait(a.node.grow(wanted({ raidDisks: 2 })))).rejects.toMatchObject({ code: "E_MEMBER_ACTIVE" });
    await world.wait(a.node.failMember(3));
    await expect(world.wait(a.node.grow(wanted({ raidDisks: 2 })))).rejects.toMatchObject({ code: "E_MEMBER_ACTIVE" });
    await world.wait(a.node.removeMember(3));
    await world.wait(a.node.grow(wanted({ raidDisks: 2 })));
    await world.idle(...nodes);
    expect(health(nodes)).toEqual(["UU", "UU"]);
    const c = await world.start("c");
    expect(c.node.status().health).toBe("UU");
  });

  it("refused by one node stay as they were on all, and a stop works (26.16)", async () => {
    const { world, nodes } = await cluster(["a", "b"], { spares: 1 });
    const [a, b] = nodes as [TestNode, TestNode];
    b.engine.onCommand = ({ type }) => {
      if (type === "reshape") throw new MdError("E_VALUE", "too many");
    };
    await expect(world.wait(a.node.grow(wanted({ raidDisks: 3 })))).rejects.toMatchObject({
      code: "E_VALUE",
      message: expect.stringContaining("too many"),
    });
    await world.idle(...nodes);
    expect(health(nodes)).toEqual(["UU", "UU"]);
    expect(a.engine.log.filter(({ type }) => type === "reshape")).toHaveLength(2);
    await world.wait(a.node.stop());
    await world.wait(b.node.stop());
    expect((await world.start("c")).node.status().health).toBe("UU");
  });
});

describe("a RAID10", () => {
  it("grows and shrinks in whole chunks, on all nodes", async () => {
    const { world, nodes } = await cluster(["a", "b"], { level: 10 });
    const [a, b] = nodes as [TestNode, TestNode];
    await world.wait(a.node.grow(toSize(NEW + 6)));
    expect(await idleBitmaps(world, nodes)).toBe(0);
    await expectSize(world, nodes, NEW);
    expectEqualMirrors(world, NEW);
    await world.wait(b.node.grow(toSize(OLD)));
    await expectSize(world, nodes, OLD);
  });

  it("has another chunk at once where every member has a copy of all, and grows by it", async () => {
    const { world, nodes } = await cluster(["a", "b"], { level: 10 });
    const [a, b] = nodes as [TestNode, TestNode];
    await world.wait(a.node.grow(wanted({ stripeSectors: 64 })));
    await world.idle(...nodes);
    expect(nodes.map(({ node }) => node.status().chunkSectors)).toEqual([64, 64]);
    await world.wait(b.node.grow(toSize(OLD + 100)));
    await expectSize(world, nodes, OLD + 64);
    const c = await world.start("c");
    await world.idle(...nodes, c);
    expect(c.node.status().chunkSectors).toBe(64);
    await expect(world.wait(a.node.grow(wanted({ stripeSectors: 128 })))).rejects.toMatchObject({
      code: "E_VALUE",
      message: expect.stringContaining("not a multiple of chunksize 64K"),
      hint: "mdctl grow md0 --size=1024",
    });
  });

  it("keeps its number of members: data would get another place", async () => {
    const { world, nodes } = await cluster(["a", "b"], { level: 10, spares: 1 });
    const [a] = nodes as [TestNode, TestNode];
    const before = await onDisk(world);
    await expect(world.wait(a.node.grow(wanted({ raidDisks: 3 })))).rejects.toMatchObject({
      code: "E_LEVEL_UNSUPPORTED",
      why: expect.stringContaining("another place"),
    });
    expect(await onDisk(world)).toEqual(before);
  });
});

describe("a bitmap chunk", () => {
  it("changes in all slots, and loses no bit of any node", async () => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    await b.engine.write(1500, 1, 7);
    await world.wait(a.node.grow(wanted({ chunkBytes: 8192 })));
    for (const { slots } of await onDisk(world)) expect(new Set(slots)).toEqual(new Set([`${OLD}/8192`]));
    world.kill(b);
    world.disks.poke("/dev/d1", world.dataOffset + 1500, 6, 1);
    await world.until(() => a.node.status().slots[slotNumber(1)]?.state === "free");
    await world.idle(a);
    expect(world.copies(1500)).toEqual([7, 7]);
  });
});
