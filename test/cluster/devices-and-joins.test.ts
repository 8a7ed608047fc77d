import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { ClusterWorld, type TestNode } from "./cluster-world.ts";

const codes = ({ node }: TestNode): string[] => node.events().map(({ code }) => code);

async function threeNodes(change: Parameters<typeof ClusterWorld.create>[0] = {}) {
  const world = await ClusterWorld.create(change);
  const a = await world.start("a");
  const b = await world.start("b");
  const c = await world.start("c");
  await world.idle(a, b, c);
  return { world, a, b, c };
}

describe("adding a device", () => {
  it("26.20, 27.9: that nobody sees in time is refused within the limit, which is of milliseconds", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    world.disks.add("/dev/new", 8192);
    world.disks.hide("/dev/new", "b");
    const before = world.clock.now();
    await expect(world.wait(a.node.addMember("/dev/new"))).rejects.toMatchObject({ code: "E_NODE_CANNOT_SEE_DEVICE" });
    expect(world.clock.now() - before).toBeLessThan(6000);
  });

  it("whose initiator dies after the vote leaves nothing half added", async () => {
    const { world, a, b, c } = await threeNodes();
    world.disks.add("/dev/new", 8192);
    const release = world.disks.holdReads("c");
    const adding = a.node.addMember("/dev/new");
    adding.catch(() => {});
    await world.clock.advance(100);
    world.kill(a);
    await world.clock.advance(50);
    release();
    await world.until(() => codes(b).includes("TAKEOVER") && codes(c).includes("TAKEOVER"));
    await world.idle(b, c);
    for (const { node } of [b, c]) expect(node.status().members.map(({ number }) => number)).toEqual([0, 1]);
    await world.wait(b.node.addMember("/dev/new"));
    for (const { node } of [b, c]) {
      expect(node.status().members.map(({ number, state }) => `${number} ${state}`)).toContain("2 spare");
    }
  });

  it("that is a copy of a member, in use, or too small is refused without touching it", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    await world.idle(a);
    const other = await ClusterWorld.create();
    world.disks.add("/dev/other", 8192);
    world.disks.bytes("/dev/other").set(other.disks.bytes("/dev/d0"));
    // A copy of a member: the same device UUID once more.
    await expect(world.wait(a.node.addMember("/dev/other"))).rejects.toMatchObject({ code: "E_DEVICE_IN_ARRAY" });
    await expect(world.wait(a.node.addMember("/dev/d1"))).rejects.toMatchObject({ code: "E_DEVICE_IN_ARRAY" });
    world.disks.add("/dev/small", 4096);
    const before = world.disks.bytes("/dev/small").slice();
    await expect(world.wait(a.node.addMember("/dev/small"))).rejects.toMatchObject({ code: "E_DEVICE_SMALL" });
    expect(Buffer.compare(world.disks.bytes("/dev/small"), before)).toBe(0);
  });
});

describe("joining", () => {
  it("is refused where a member that the others use cannot be seen", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    await world.idle(a);
    await expect(world.wait(world.begin("b", ["/dev/d0"], { run: true }))).rejects.toMatchObject({
      code: "E_NODE_CANNOT_SEE_DEVICE",
    });
    await world.until(() => a.node.status().slots[1]?.state === "free");
    await world.idle(a);
    expect(a.node.status().readBalance).toBe("balanced");
  });

  it("without a member needs --run, which records the member as gone", async () => {
    const world = await ClusterWorld.create();
    await expect(world.wait(world.begin("a", ["/dev/d1"]))).rejects.toMatchObject({ code: "E_NO_DEVICE" });
    const a = await world.start("a", ["/dev/d1"], { run: true });
    expect(a.node.status().health).toBe("_U");
    await world.wait(a.node.stop());
    const b = await world.start("b");
    expect(b.node.status().health).toBe("_U");
  });

  it("is refused when all slots are taken, and works when one is free again", async () => {
    const world = await ClusterWorld.create();
    const nodes = [await world.start("a"), await world.start("b"), await world.start("c"), await world.start("d")];
    await expect(world.wait(world.begin("e", world.members))).rejects.toBeInstanceOf(MdError);
    const [first] = nodes;
    if (first !== undefined) await world.wait(first.node.stop());
    const e = await world.start("e");
    expect(e.node.slot).toBe(0);
    await world.idle(e, ...nodes.slice(1));
  });

  it("again after a clean stop gives another slot, and nothing is resynced twice", async () => {
    const world = await ClusterWorld.create({ clean: false });
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    await world.wait(a.node.stop());
    const c = await world.start("c");
    const a2 = await world.start("a");
    expect([c.node.slot, a2.node.slot]).toEqual([0, 2]);
    await world.idle(b, c, a2);
    expect(c.engine.log.some(({ type }) => type === "copy")).toBe(false);
    expect(a2.engine.log.some(({ type }) => type === "copy")).toBe(false);
  });
});

describe("the lock server", () => {
  it("may be out of reach for less than the lease: nothing happens", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    a.link.cut = true;
    await world.clock.advance(400);
    await world.wait(a.engine.write(0, 1, 1));
    a.link.cut = false;
    await world.clock.advance(2000);
    expect(a.node.status().state).toBe("active");
    expect(codes(b)).not.toContain("NODEDOWN");
  });
});
