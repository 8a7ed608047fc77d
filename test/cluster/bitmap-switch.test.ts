import { describe, expect, it, vi } from "vitest";
import { assembleArray } from "../../src/array/assemble-array.ts";
import type { BitmapWish } from "../../src/array/bitmap-kind.ts";
import { type Examination, examine } from "../../src/array/examine.ts";
import type { BitmapKind } from "../../src/array/md-array.ts";
import { bytesOf, sector } from "../../src/base/units.ts";
import { SlotLocks } from "../../src/cluster/slot-locks.ts";
import type { EngineCommand } from "../../src/engine/engine-protocol.ts";
import { readTakeover } from "../../src/fencing/takeover-store.ts";
import { IN_SYNC, ROLE_FAULTY } from "../../src/superblock/superblock.ts";
import { ClusterWorld, LEASE_MS, type TestNode } from "./cluster-world.ts";

const SIZE = 2048;
const toKind = (kind: BitmapKind, slots = 4): BitmapWish => ({ kind, slots, clusterName: "alpha" });

async function cluster(names: readonly string[], change: Parameters<typeof ClusterWorld.create>[0] = {}) {
  const world = await ClusterWorld.create({ memberSize: SIZE, ...change });
  const nodes: TestNode[] = [];
  for (const name of names) nodes.push(await world.start(name));
  await world.idle(...nodes);
  return { world, nodes };
}

const onDisk = (world: ClusterWorld): Promise<readonly Examination[]> =>
  Promise.all(world.members.map((path) => examine(world.disks.open(path, "observer"))));

/** What every member says: kind, nodes, dirty chunks of all slots, resync offset. */
async function forms(world: ClusterWorld): Promise<readonly string[]> {
  return (await onDisk(world)).map(({ superblock, bitmap, bitmapError }) => {
    expect(bitmapError).toBeNull();
    const kind = bitmap === null ? "none" : bitmap.super.version === 5 ? "clustered" : "internal";
    const nodes = bitmap?.slots.map((slot) => slot.super.nodes).join(" ") ?? "";
    return `${kind} ${nodes} dirty ${bitmap?.unionDirty ?? "-"} ${superblock.resyncOffset === IN_SYNC ? "clean" : "active"}`;
  });
}

function expectEqualMirrors(world: ClusterWorld): void {
  const [first, ...others] = world.members.map((path) => world.disks.data(path, world.dataOffset, SIZE));
  for (const other of others) expect(Buffer.compare(first ?? Buffer.alloc(0), other)).toBe(0);
}

describe("switching the bitmap", () => {
  it.each<readonly [BitmapKind, BitmapKind]>([
    ["clustered", "none"],
    ["clustered", "internal"],
    ["internal", "none"],
    ["internal", "clustered"],
    ["none", "internal"],
    ["none", "clustered"],
  ])("%s to %s, while it is written, and another node takes over what it left", async (from, to) => {
    const { world, nodes } = await cluster(["a"], { bitmap: from });
    const [a] = nodes as [TestNode];
    await a.engine.write(100, 1, 0x11);
    const switched = await world.wait(a.node.switchBitmap(toKind(to)));
    expect(switched).toEqual({ before: from, after: to });
    await a.engine.write(700, 1, 0x22);
    const nodesField = to === "clustered" ? "4 4 4 4" : to === "internal" ? "0" : "";
    // Without a bitmap there was none that says how large a chunk is: the usual one covers it all.
    const marked = from === "none" ? 1 : 2;
    // A write is on its way: its bit stands on disk where there is a bitmap.
    expect(await forms(world)).toEqual(
      world.members.map(() => `${to} ${nodesField} dirty ${to === "none" ? "-" : marked} active`),
    );
    expect(a.node.status()).toMatchObject({ bitmap: { kind: to }, maxSlots: to === "clustered" ? 4 : null });
    world.kill(a);
    world.disks.poke("/dev/d1", world.dataOffset + 700, 0x77, 1);
    await world.clock.advance(3 * LEASE_MS);
    const b = await world.start("b");
    await world.idle(b);
    expect(b.node.status().bitmap.kind).toBe(to);
    expect([...world.copies(100), ...world.copies(700)]).toEqual([0x11, 0x11, 0x22, 0x22]);
    await world.wait(b.node.stop());
    const clean = to === "clustered" ? "active" : "clean";
    expect((await forms(world))[0]).toMatch(new RegExp(`${clean}$`));
  });

  it("is refused by name while another node uses the array, and all is as it was (26.12)", async () => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    const before = await forms(world);
    for (const kind of ["none", "internal"] as const) {
      await expect(world.wait(a.node.switchBitmap(toKind(kind)))).rejects.toMatchObject({
        code: "E_HELD",
        message: "the bitmap of md0 cannot change: b uses it, too",
        hint: expect.stringContaining("on b: mdctl stop md0"),
      });
    }
    expect(await forms(world)).toEqual(before);
    const { resources } = await world.wait(a.node.locks());
    for (const { name, granted } of resources.filter((each) => each.name.startsWith("bitmap"))) {
      const owners = granted.filter(({ mode }) => mode !== "NL").map(({ slot }) => slot);
      expect({ name, owners: owners.length }).toEqual({ name, owners: /000[01]/.test(name) ? 1 : 0 });
    }
    await b.engine.write(5, 1, 9);
    await world.wait(b.node.stop());
    await world.wait(a.node.stop());
    const c = await world.start("c");
    await world.wait(c.node.switchBitmap(toKind("none")));
  });

  it("blames nobody while this node itself is taking a slot over", async () => {
    const { world, nodes } = await cluster(["a"]);
    const [a] = nodes as [TestNode];
    const busy = vi.spyOn(SlotLocks.prototype, "tryTake").mockResolvedValueOnce(false);
    await expect(world.wait(a.node.switchBitmap(toKind("none")))).rejects.toMatchObject({
      code: "E_SYNC_RUNNING",
      message: "a takeover of slot 1 is under way",
      hint: "try again",
    });
    busy.mockRestore();
    await world.wait(a.node.switchBitmap(toKind("none")));
  });

  it("is refused while a node joins that has its slot already", async () => {
    const { world, nodes } = await cluster(["a"]);
    const [a] = nodes as [TestNode];
    let open: () => void = () => {};
    world.engineGate = new Promise((resolve) => {
      open = resolve;
    });
    const joining = world.begin("b", world.members);
    await world.until(() => a.node.status().slots[1]?.state === "up");
    await world.clock.advance(100);
    await expect(world.wait(a.node.switchBitmap(toKind("none")))).rejects.toMatchObject({ code: "E_HELD" });
    open();
    const b = await world.wait(joining);
    await world.idle(a, b);
    expect(b.node.status().bitmap.kind).toBe("clustered");
  });

  it("takes what a dead node left along", async () => {
    const { world, nodes } = await cluster(["a", "b"]);
    const [a, b] = nodes as [TestNode, TestNode];
    await b.engine.write(300, 1, 0x31);
    world.kill(b);
    world.disks.poke("/dev/d1", world.dataOffset + 300, 0x32, 1);
    await world.until(() => a.node.status().slots[1]?.state === "free");
    await world.idle(a);
    await world.wait(a.node.switchBitmap(toKind("internal")));
    expect(world.copies(300)).toEqual([0x31, 0x31]);
  });

  it("to fewer nodes than its own slot, or more than there is room for, is refused with the number", async () => {
    const { world, nodes } = await cluster(["a", "b", "c"]);
    const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
    await world.wait(a.node.stop());
    await world.wait(b.node.stop());
    await world.idle(c);
    await world.wait(c.node.switchBitmap(toKind("none")));
    await expect(world.wait(c.node.switchBitmap(toKind("clustered", 2)))).rejects.toMatchObject({
      code: "E_VALUE",
      hint: "--nodes=3",
    });
    await expect(world.wait(c.node.switchBitmap(toKind("clustered", 1000)))).rejects.toMatchObject({
      code: "E_VALUE",
      message: expect.stringMatching(/the maximum number of nodes is \d+$/),
    });
    await world.wait(c.node.switchBitmap(toKind("clustered", 3)));
    const d = await world.start("d");
    expect([c.node.slot, d.node.slot]).toEqual([2, 0]);
    await d.engine.write(1, 1, 1);
    await world.idle(c, d);
  });
});

describe.each<BitmapKind>(["none", "internal"])("an array with bitmap %s", (bitmap) => {
  it("is used by one node alone: a second one is refused by name", async () => {
    const { world, nodes } = await cluster(["a"], { bitmap });
    const [a] = nodes as [TestNode];
    await expect(world.start("b")).rejects.toMatchObject({
      code: "E_HELD",
      message: "md0 is in use on a",
      hint: "on a: mdctl grow md0 --bitmap=clustered, or mdctl stop md0",
    });
    await a.engine.write(1, 1, 1);
    await world.idle(a);
    await world.wait(a.node.switchBitmap(toKind("clustered")));
    const b = await world.start("b");
    await world.idle(a, b);
    await b.engine.write(2, 1, 2);
    expect(world.copies(2)).toEqual([2, 2]);
  });

  it("is not resynced after it was stopped in order; and then all, or what is marked", async () => {
    const { world, nodes } = await cluster(["a"], { bitmap });
    const [a] = nodes as [TestNode];
    await a.engine.write(500, 1, 0x51);
    await world.wait(a.node.stop());
    expect(await forms(world)).toEqual(world.members.map(() => expect.stringMatching(/clean$/)));
    // Nobody may look there: the mirrors are said to be equal.
    world.disks.poke("/dev/d1", world.dataOffset + 1500, 0x99, 1);
    const b = await world.start("b");
    await world.idle(b);
    expect(world.copies(1500)[1]).toBe(0x99);
    await b.engine.write(501, 1, 0x52);
    world.kill(b);
    await world.clock.advance(3 * LEASE_MS);
    const c = await world.start("c");
    await world.idle(c);
    const left = bitmap === "none" ? world.copies(1500)[0] : 0x99;
    expect(world.copies(1500)[1]).toBe(left);
  });

  it("is stopped with a copy to be made: that goes on where it was", async () => {
    const { world, nodes } = await cluster(["a"], { bitmap });
    const [a] = nodes as [TestNode];
    a.engine.onCopy = () => new Promise(() => {});
    a.engine.copiesAside = true;
    await a.engine.send({ type: "mergeBits", bits: bitmap === "none" ? Uint8Array.of(1) : Uint8Array.of(0x10, 0) });
    world.disks.poke("/dev/d1", world.dataOffset + 4 * 128, 0x44, 1);
    await world.wait(a.node.stop());
    expect((await onDisk(world))[0]?.superblock.resyncOffset).toBe(bitmap === "none" ? 0n : BigInt(4 * 128));
    const b = await world.start("b");
    await world.idle(b);
    expectEqualMirrors(world);
  });

  it("of which a member fails while it is stopped is not called clean", async () => {
    const { world, nodes } = await cluster(["a"], { bitmap });
    const [a] = nodes as [TestNode];
    let failing: Promise<unknown> = Promise.resolve();
    const [, d1] = world.members;
    await a.engine.write(1, 1, 1);
    a.engine.onCommand = ({ type }) => {
      if (type === "setEvents" && a.node.status().state === "leaving") {
        a.engine.onCommand = () => {};
        failing = a.node.failMember(1);
      }
    };
    // The data plane takes so long to stop that the failure is recorded meanwhile.
    const send = a.engine.send.bind(a.engine);
    a.engine.send = (async (command) => {
      if (command.type === "stop") await failing;
      return send(command);
    }) as typeof send;
    await world.wait(a.node.stop());
    const [first] = await onDisk(world);
    expect([d1, first?.superblock.devRoles[1]]).toEqual(["/dev/d1", ROLE_FAULTY]);
    expect(first?.superblock.resyncOffset).toBe(0n);
  });

  it("of which a member failed does not take it back unless the bitmap knows what it missed", async () => {
    const { world, nodes } = await cluster(["a"], { bitmap });
    const [a] = nodes as [TestNode];
    await world.wait(a.node.failMember(1));
    await a.engine.write(900, 1, 0x91);
    await world.wait(a.node.removeMember(1));
    if (bitmap === "none") {
      await expect(world.wait(a.node.addMember("/dev/d1", "re-add"))).rejects.toThrow("nobody kept a bitmap");
    } else await world.wait(a.node.addMember("/dev/d1", "re-add"));
    if (bitmap === "none") await world.wait(a.node.addMember("/dev/d1"));
    await world.until(() => a.node.status().health === "UU");
    await world.idle(a);
    expectEqualMirrors(world);
  });
});

it("who takes an array over that was used alone leaves word for its former node, whatever slot that had", async () => {
  const { world, nodes } = await cluster(["x", "a"]);
  const [x, a] = nodes as [TestNode, TestNode];
  await world.wait(x.node.stop());
  await world.idle(a);
  await world.wait(a.node.switchBitmap(toKind("none")));
  expect(a.node.slot).toBe(1);
  world.kill(a);
  for (const path of world.members) world.disks.heal(path, "a");
  // It proves its own former life gone as it joins: nobody is there who would hear of a death.
  const b = await world.start("a");
  expect(b.node.slot).toBe(0);
  const opened = world.members.map((path) => world.disks.open(path, "observer"));
  const { array, devices } = await assembleArray(opened);
  const { members } = await readTakeover(array, devices);
  for (const { pills, nodes: records } of members) {
    expect(pills[1]).toMatchObject({ type: "record", record: { node: "a", by: "a" } });
    expect(records[0]).toMatchObject({ type: "record", record: { node: "a", state: "joined" } });
  }
});

it("an internal bitmap that is older than its array counts for nothing", async () => {
  const { world, nodes } = await cluster(["a"], { bitmap: "internal" });
  const [a] = nodes as [TestNode];
  world.kill(a);
  await world.clock.advance(3 * LEASE_MS);
  world.disks.poke("/dev/d1", world.dataOffset + 1500, 0x99, 1);
  for (const path of world.members) {
    const bytes = world.disks.bytes(path);
    new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(bytesOf(sector(16)) + 24, 1n, true);
  }
  const found = (await onDisk(world)).map(({ bitmap, clean }) => [bitmap?.super.events, bitmap?.unionDirty, clean]);
  expect(found).toEqual(world.members.map(() => [1, 0, true]));
  const b = await world.start("b");
  await world.idle(b);
  expectEqualMirrors(world);
});

describe("the number of nodes", () => {
  it("goes up and down while one node uses the array, and each finds it so", async () => {
    const { world, nodes } = await cluster(["a"], { slots: 2 });
    const [a] = nodes as [TestNode];
    await a.engine.write(10, 1, 0x10);
    expect(await world.wait(a.node.changeSlots(5))).toEqual({ before: 2, after: 5 });
    expect(await forms(world)).toEqual(world.members.map(() => "clustered 5 5 5 5 5 dirty 1 active"));
    const others: TestNode[] = [];
    for (const name of ["b", "c", "d", "e"]) others.push(await world.start(name));
    await expect(world.start("f")).rejects.toMatchObject({ code: "E_NODES_FULL" });
    for (const { engine, node } of others) await engine.write(20 + node.slot, 1, node.slot);
    await world.idle(a, ...others);
    await expect(world.wait(a.node.changeSlots(4))).rejects.toMatchObject({
      code: "E_HELD",
      message: expect.stringMatching(/^the number of nodes of md0 cannot change: b uses it/),
    });
    const [last] = others.slice(-1) as [TestNode];
    // It dies with a bit in a slot that is to vanish.
    world.kill(last);
    world.disks.poke("/dev/d1", world.dataOffset + 24, 0x77, 1);
    for (const { node } of others.slice(0, -1)) await world.wait(node.stop());
    await world.until(() => a.node.status().slots[4]?.state === "free");
    await world.idle(a);
    await world.wait(a.node.changeSlots(2));
    await world.wait(a.node.flushBitmap());
    expect(await forms(world)).toEqual(world.members.map(() => "clustered 2 2 dirty 0 active"));
    expect(world.copies(24)).toEqual([4, 4]);
    await world.start("g");
    await expect(world.start("h")).rejects.toMatchObject({ code: "E_NODES_FULL" });
  });

  it("is refused where a slot is in use that would vanish, and with the most that fit", async () => {
    const { world, nodes } = await cluster(["a", "b", "c"]);
    const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
    await world.wait(a.node.stop());
    await world.wait(b.node.stop());
    await world.idle(c);
    await expect(world.wait(c.node.changeSlots(2))).rejects.toMatchObject({
      code: "E_HELD",
      message: "with 2 nodes there is no slot 2, which c has",
    });
    for (const [slots, text] of [
      [1, "needs at least 2 nodes"],
      [5000, "the maximum number of nodes is"],
    ] as const) {
      const refused = expect.objectContaining({ code: "E_VALUE", message: expect.stringContaining(text) });
      await expect(world.wait(c.node.changeSlots(slots))).rejects.toEqual(refused);
    }
    expect(await forms(world)).toEqual(world.members.map(() => "clustered 4 4 4 4 dirty 0 active"));
  });
});

/** `act` happens in the middle of the n-th thing that the data plane or a disk is asked for; says whether it came so far. */
function atStep(world: ClusterWorld, { engine }: TestNode, n: number, act: () => void): () => boolean {
  let steps = 0;
  const tick = (): void => {
    if (++steps === n) act();
  };
  engine.onCommand = (command: EngineCommand) => {
    if (command.type !== "scan" && command.type !== "queryBitmap") tick();
  };
  world.disks.onFlush = tick;
  return () => {
    engine.onCommand = () => {};
    world.disks.onFlush = () => {};
    return steps >= n;
  };
}

const changes: readonly (readonly [string, BitmapKind, (node: TestNode["node"]) => Promise<unknown>])[] = [
  ["clustered to none", "clustered", (node) => node.switchBitmap(toKind("none"))],
  ["clustered to internal", "clustered", (node) => node.switchBitmap(toKind("internal"))],
  ["internal to clustered", "internal", (node) => node.switchBitmap(toKind("clustered"))],
  ["none to internal", "none", (node) => node.switchBitmap(toKind("internal"))],
  ["none to clustered", "none", (node) => node.switchBitmap(toKind("clustered"))],
  ["more nodes", "clustered", (node) => node.changeSlots(6)],
  ["fewer nodes", "clustered", (node) => node.changeSlots(2)],
];

describe.each(changes)("who dies at any step of %s", (_, bitmap, change) => {
  it("leaves an array in which nothing that was written is lost", async () => {
    for (let n = 1, finished = false; !finished; n++) {
      const { world, nodes } = await cluster(["a"], { bitmap });
      const [a] = nodes as [TestNode];
      // Something is under way all the time: one copy has it, the other one has not.
      await a.engine.write(200, 1, 0x21);
      const cameTo = atStep(world, a, n, () => {
        // And a write in this very moment, which the second copy misses.
        void a.engine.write(1500, 1, 0x15);
        world.kill(a);
        world.disks.poke("/dev/d1", world.dataOffset + 200, 0x99, 1);
        world.disks.poke("/dev/d1", world.dataOffset + 1500, 0x99, 1);
      });
      change(a.node).catch(() => {});
      await world.clock.advance(200);
      finished = !cameTo();
      if (finished) break;
      await world.clock.advance(3 * LEASE_MS);
      const b = await world.start("b");
      await world.idle(b);
      const copies = [...world.copies(200), ...world.copies(1500)];
      expect({ n, copies }).toEqual({ n, copies: [0x21, 0x21, 0x15, 0x15] });
      expectEqualMirrors(world);
      const [first] = await forms(world);
      const kind = (text: string | undefined): string => (text ?? "").split(" dirty")[0] ?? "";
      expect({ n, kinds: (await forms(world)).map(kind) }).toEqual({ n, kinds: world.members.map(() => kind(first)) });
      await world.wait(b.node.switchBitmap(toKind(b.node.status().bitmap.kind)));
      await world.wait(b.node.stop());
    }
  });
});
