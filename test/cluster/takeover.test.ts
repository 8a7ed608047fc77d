import { describe, expect, it } from "vitest";
import { planCreate } from "../../src/array/create-array.ts";
import { decodeTakeover } from "../../src/fencing/takeover-blocks.ts";
import { nodeAt, pillAt, type TakeoverLayout, takeoverLayout } from "../../src/fencing/takeover-layout.ts";
import { createRequest } from "../array/example.ts";
import { CHUNK_SECTORS, ClusterWorld } from "./cluster-world.ts";

const array = planCreate(createRequest([8192, 8192]));
const layout = takeoverLayout(array, array.members[0] as never) as TakeoverLayout;

const pillOn = (world: ClusterWorld, path: string, slot: number): ReturnType<typeof decodeTakeover<"pill">> =>
  decodeTakeover("pill", world.disks.data(path, pillAt(layout, slot), 8), array.uuid, 4);

const ownerOn = (world: ClusterWorld, path: string, slot: number): ReturnType<typeof decodeTakeover<"node">> =>
  decodeTakeover("node", world.disks.data(path, nodeAt(layout, slot), 8), array.uuid, 4);

describe("taking over", () => {
  it("leaves word for the dead node on all members, before its bitmap is looked at", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    await b.engine.write(5 * CHUNK_SECTORS, 1, 4);
    const before = ownerOn(world, "/dev/d0", 1);
    expect(before).toMatchObject({ record: { node: "b", state: "joined", generation: 0 } });
    expect(pillOn(world, "/dev/d0", 1).type).toBe("blank");
    world.kill(b);
    // The takeover writes the dead slot's bitmap last: the pill must stand by then on each member.
    let clearedWithoutPill = false;
    const at = 16 + 8;
    world.disks.onFlush = (path) => {
      const isCleared = world.disks
        .data(path, at, 1)
        .subarray(256)
        .every((byte) => byte === 0);
      if (isCleared && pillOn(world, path, 1).type !== "record") clearedWithoutPill = true;
    };
    await world.until(() => a.node.status().slots[1]?.state === "free");
    expect(clearedWithoutPill).toBe(false);
    const incarnation = before.type === "record" ? before.record.incarnation : "";
    for (const path of world.members) {
      expect(pillOn(world, path, 1)).toMatchObject({ record: { incarnation, node: "b", by: "a", generation: 1 } });
    }
    expect(a.node.events().map(({ code }) => code)).toContain("PILL");
    for (const path of world.members) world.disks.heal(path, "b");
    // Back again: another incarnation, which the pill does not mean.
    const again = await world.start("b");
    await world.idle(a, again);
    expect(again.node.status().state).toBe("active");
    expect(ownerOn(world, "/dev/d1", 1)).toMatchObject({ record: { node: "b", generation: 1, state: "joined" } });
  });

  it("leaves no word for a node that has left in order", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    await world.wait(b.node.stop());
    await world.idle(a);
    for (const path of world.members) {
      expect(ownerOn(world, path, 1)).toMatchObject({ record: { state: "left" } });
      expect(pillOn(world, path, 1).type).toBe("blank");
    }
  });

  it("is done by the first to come back when all were killed, too", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    for (const node of [a, b]) world.kill(node);
    const c = await world.start("c");
    await world.idle(c);
    expect(pillOn(world, "/dev/d1", 1)).toMatchObject({ record: { node: "b", by: "c" } });
  });

  it("is not done while no member takes the word", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    await b.engine.write(5 * CHUNK_SECTORS, 1, 4);
    world.kill(b);
    for (const path of world.members) world.disks.failWrites(path, "a");
    await world.until(() => a.node.events().some(({ code }) => code === "NODEDOWN"));
    await world.clock.advance(3000);
    expect(a.node.status().slots[1]?.state).toBe("recovering");
    for (const path of world.members) world.disks.heal(path, "a");
    await world.until(() => a.node.status().slots[1]?.state === "free");
    expect(pillOn(world, "/dev/d0", 1).type).toBe("record");
  });

  it("finds no remains of another life on a device that is added", async () => {
    const world = await ClusterWorld.create();
    world.disks.add("/dev/new", 8192);
    world.disks.bytes("/dev/new").fill(0xa5);
    const a = await world.start("a");
    await world.wait(a.node.addMember("/dev/new"));
    expect(pillOn(world, "/dev/new", 0).type).toBe("blank");
    expect(pillOn(world, "/dev/new", 3).type).toBe("blank");
  });

  it("stops a node whose data plane finds its pill, and gives nothing of its back", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    b.engine.notify({ type: "condemned", place: 0 });
    const end = await world.wait(b.node.ended);
    expect(end).toMatchObject({ type: "fenced", reason: "d0[0] says that its slot was taken over" });
    // The others wait out its lease and then take its slot for a dead node's.
    await world.until(() => a.node.events().some(({ code }) => code === "NODEDOWN"));
    await world.until(() => a.node.status().slots[1]?.state === "free");
  });
});
