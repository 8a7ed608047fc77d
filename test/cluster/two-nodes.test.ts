import { describe, expect, it } from "vitest";
import { CHUNK_SECTORS, ClusterWorld } from "./cluster-world.ts";

const dirtySlots = async (node: Awaited<ReturnType<ClusterWorld["start"]>>): Promise<number[]> =>
  (await node.node.bitmaps()).map(({ dirty }) => dirty);

describe("two nodes", () => {
  it("assemble the same array in slots of their own and balance reads when nothing is left to resync", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    expect([a.node.slot, b.node.slot]).toEqual([0, 1]);
    await world.idle(a, b);
    expect(a.node.status()).toMatchObject({ state: "active", health: "UU", readBalance: "balanced" });
    expect(b.node.status()).toMatchObject({ state: "active", health: "UU", readBalance: "balanced" });
    expect(a.node.status().events).toBe(b.node.status().events);
    expect(a.node.status().slots.map(({ node }) => node)).toEqual(["a", "b", null, null]);
  });

  it("knows a failed member on the other node before the write that met it is acknowledged", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    world.disks.failWrites("/dev/d1");
    let atAcknowledgement = "";
    const write = a.engine.write(10, 8, 7).then(() => {
      atAcknowledgement = `${b.engine.stateOf(1)} ${b.node.status().health}`;
    });
    await world.wait(write);
    expect(atAcknowledgement).toMatch(/^(rebuilding|faulty) U_$/);
    expect(b.engine.read(10)).toBe(7);
    await world.idle(a, b);
    expect(b.engine.stateOf(1)).toBe("faulty");
    expect(a.node.status()).toMatchObject({ health: "U_", state: "degraded" });
    // What the faulty member missed stays marked.
    expect((await dirtySlots(a))[0]).toBe(1);
  });

  it("F02: takes over a killed node's chunks, and only those, and clears its slot", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    await a.engine.write(3 * CHUNK_SECTORS, 8, 1);
    world.kill(a);
    // It died between the two mirrors.
    world.disks.poke("/dev/d1", world.dataOffset + 3 * CHUNK_SECTORS, 9, 1);
    const copied: number[] = [];
    b.engine.onCopy = async ({ lo }) => {
      copied.push(lo);
    };
    await world.until(
      () => b.node.status().slots[0]?.state === "free" && b.node.events().some((e) => e.code === "FINISH"),
    );
    await world.idle(b);
    expect(copied).toEqual([3 * CHUNK_SECTORS]);
    expect(world.copies(3 * CHUNK_SECTORS)).toEqual([1, 1]);
    expect(await dirtySlots(b)).toEqual([0, 0, 0, 0]);
    expect(b.node.status().readBalance).toBe("balanced");
  });

  it("26.24, 27.11: does not balance reads from the first sign of a death until the chunks are equal", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    await a.engine.write(5 * CHUNK_SECTORS, 1, 4);
    world.kill(a);
    world.disks.poke("/dev/d1", world.dataOffset + 5 * CHUNK_SECTORS, 3, 1);
    let down = false;
    b.node.onEvent((event) => {
      if (event.code === "NODEDOWN") down = true;
    });
    const seen = new Set<number>();
    await world.until(() => {
      if (down) seen.add(b.engine.read(5 * CHUNK_SECTORS));
      return b.node.events().some((event) => event.code === "FINISH");
    });
    expect([...seen]).toEqual([4]);
  });

  it("F28: holds the other node's writes in the window that is being copied, and no longer", async () => {
    const world = await ClusterWorld.create({ clean: false });
    const a = await world.start("a");
    let release: () => void = () => {};
    const reached = new Promise<void>((resolve) => {
      a.engine.onCopy = () => {
        resolve();
        return new Promise((go) => {
          release = go;
        });
      };
    });
    await world.wait(reached);
    const b = await world.start("b");
    expect(b.engine.suspended.isEmpty).toBe(false);
    let written = false;
    const write = b.engine.write(0, 8, 5).then(() => {
      written = true;
    });
    await world.clock.advance(500);
    expect(written).toBe(false);
    a.engine.onCopy = async () => {};
    release();
    await world.wait(write);
    await world.idle(a, b);
    expect(world.copies(0)).toEqual([5, 5]);
    expect(b.engine.suspended.isEmpty).toBe(true);
  });

  it("F09: hands over what is left on a clean stop in the middle of a resync", async () => {
    const world = await ClusterWorld.create({ clean: false });
    const a = await world.start("a");
    const b = await world.start("b");
    world.disks.poke("/dev/d1", world.dataOffset + 6000, 9, 1);
    let copies = 0;
    const reached = new Promise<void>((resolve) => {
      a.engine.onCopy = async () => {
        if (++copies === 3) resolve();
      };
    });
    await world.wait(reached);
    await world.wait(a.node.stop());
    expect(await a.node.ended).toEqual({ type: "stopped" });
    await world.idle(b);
    expect(world.copies(6000)).toEqual([0, 0]);
    expect(await dirtySlots(b)).toEqual([0, 0, 0, 0]);
    expect(b.engine.suspended.isEmpty).toBe(true);
    expect(b.node.status().readBalance).toBe("balanced");
  });

  it("fences a node that lost the lock server, and the other goes on", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    a.link.cut = true;
    await world.until(() => b.node.status().slots[0]?.state === "free");
    expect(a.engine.shared.leaseHolds(world.clock.now())).toBe(false);
    await world.wait(b.engine.write(0, 1, 1));
    a.link.cut = false;
    const end = await world.wait(a.node.ended);
    expect(end.type).toBe("fenced");
    expect(a.node.status().state).toBe("fenced");
  });
});

describe("a crash of the whole cluster", () => {
  it.each([
    ["the first", "a"],
    ["the second", "b"],
  ])("loses no dirty slot, whoever returns: %s", async (_, name) => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    await a.engine.write(0, 1, 1);
    await b.engine.write(20 * CHUNK_SECTORS, 1, 2);
    world.kill(a);
    world.kill(b);
    world.disks.poke("/dev/d1", world.dataOffset, 8, 1);
    world.disks.poke("/dev/d1", world.dataOffset + 20 * CHUNK_SECTORS, 8, 1);
    for (const path of world.disks.paths) {
      world.disks.heal(path, "a");
      world.disks.heal(path, "b");
    }
    const c = await world.start(name);
    await world.idle(c);
    expect(world.copies(0)).toEqual([1, 1]);
    expect(world.copies(20 * CHUNK_SECTORS)).toEqual([2, 2]);
    expect(await dirtySlots(c)).toEqual([0, 0, 0, 0]);
  });
});

describe("members", () => {
  it("are added on all nodes at once and filled", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    await world.wait(a.engine.write(100, 4, 6));
    await world.wait(a.node.failMember(1));
    await world.wait(a.node.removeMember(1));
    expect(b.node.status().members.map(({ number }) => number)).toEqual([0, -1]);
    world.disks.add("/dev/new", 8192);
    const added = await world.wait(b.node.addMember("/dev/new"));
    expect(added).toEqual({ number: 2, raidDisk: 1, as: "spare" });
    await world.idle(a, b);
    expect(a.node.status().health).toBe("UU");
    expect(b.node.status().health).toBe("UU");
    expect(world.copies(100, ["/dev/d0", "/dev/new"])).toEqual([6, 6]);
    expect(a.engine.stateOf(1)).toBe("in_sync");
  });

  it("are refused when one node does not see the device, and no node keeps half of it", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    const c = await world.start("c");
    world.disks.add("/dev/new", 8192);
    world.disks.hide("/dev/new", "c");
    await expect(world.wait(a.node.addMember("/dev/new"))).rejects.toMatchObject({ code: "E_NODE_CANNOT_SEE_DEVICE" });
    await world.idle(a, b, c);
    for (const { node } of [a, b, c]) expect(node.status().members.map(({ number }) => number)).toEqual([0, 1]);
    expect((await a.node.locks()).resources.find(({ name }) => name === "no-new-dev")?.granted).toHaveLength(3);
    // The device is free again.
    world.disks.add("/dev/new2", 8192);
    await world.wait(a.node.addMember("/dev/new2"));
    expect(c.node.status().members.map(({ state }) => state)).toEqual(["in_sync", "in_sync", "spare"]);
  });

  it("spares take the place of a failed member, and fail and remove may follow at once", async () => {
    const world = await ClusterWorld.create({ spares: 1 });
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    await world.wait(b.engine.write(7, 1, 3));
    await world.wait(Promise.all([a.node.failMember(0), a.node.removeMember(0)]));
    await world.idle(a, b);
    expect(a.node.status()).toMatchObject({ health: "UU", state: "active" });
    expect(b.node.status().members.map(({ number, raidDisk }) => [number, raidDisk])).toEqual([
      [1, 1],
      [2, 0],
    ]);
    expect(world.copies(7, ["/dev/d1", "/dev/d2"])).toEqual([3, 3]);
  });

  it("keep the last good copy: it is not failed, and its write errors reach the client", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    await world.idle(a);
    await world.wait(a.node.failMember(1));
    await expect(world.wait(a.node.failMember(0))).rejects.toMatchObject({ code: "E_LAST_COPY" });
    world.disks.failWrites("/dev/d0");
    await expect(world.wait(a.engine.write(0, 1, 1))).rejects.toThrow("EIO");
    expect(a.node.status().health).toBe("U_");
  });

  it("fail on two nodes at once, each another one: one copy stays, and nothing lost is acknowledged", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    world.disks.failWrites("/dev/d0", "a");
    world.disks.failWrites("/dev/d1", "b");
    const outcomes = await world.wait(
      Promise.allSettled([a.engine.write(0, 1, 1), b.engine.write(CHUNK_SECTORS, 1, 2)]),
    );
    const health = a.node.status().health;
    expect(["U_", "_U"]).toContain(health);
    expect(b.node.status().health).toBe(health);
    const [kept] = world.copies(0, [health === "U_" ? "/dev/d0" : "/dev/d1"]);
    const [keptB] = world.copies(CHUNK_SECTORS, [health === "U_" ? "/dev/d0" : "/dev/d1"]);
    if (outcomes[0]?.status === "fulfilled") expect(kept).toBe(1);
    if (outcomes[1]?.status === "fulfilled") expect(keptB).toBe(2);
    expect(outcomes.map(({ status }) => status)).toContain("rejected");
  });
});
