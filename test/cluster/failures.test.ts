import { describe, expect, it } from "vitest";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import { CHUNK_SECTORS, ClusterWorld, type TestNode } from "./cluster-world.ts";

async function threeNodes(change: Parameters<typeof ClusterWorld.create>[0] = {}) {
  const world = await ClusterWorld.create(change);
  const a = await world.start("a");
  const b = await world.start("b");
  const c = await world.start("c");
  await world.idle(a, b, c);
  return { world, a, b, c };
}

const healthOf = (...nodes: TestNode[]): string[] => [...new Set(nodes.map(({ node }) => node.status().health))];
const place = (n: number): number => n * CHUNK_SECTORS;

describe("members that fail", () => {
  it("three on three nodes at once: one copy stays, the same on all, and has every acknowledged write", async () => {
    const { world, a, b, c } = await threeNodes({ mirrors: 3 });
    const nodes = [a, b, c];
    for (const [i, { name }] of nodes.entries()) world.disks.failWrites(`/dev/d${i}`, name);
    const outcomes = await world.wait(
      Promise.allSettled(nodes.map(({ engine }, i) => engine.write(place(i), 1, i + 1))),
    );
    await world.until(() => healthOf(a, b, c).length === 1);
    const [health = ""] = healthOf(a, b, c);
    expect([...health].filter((letter) => letter === "U")).toHaveLength(1);
    const kept = `/dev/d${health.indexOf("U")}`;
    for (const [i, { status }] of outcomes.entries()) {
      if (status === "fulfilled") expect(world.copies(place(i), [kept])).toEqual([i + 1]);
    }
    expect(outcomes.filter(({ status }) => status === "rejected")).toHaveLength(1);
  });

  it("by command on one node, another one on the next: the last copy is failed by neither", async () => {
    const { world, a, b, c } = await threeNodes();
    const outcomes = await world.wait(Promise.allSettled([a.node.failMember(0), b.node.failMember(1)]));
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(outcomes.find(({ status }) => status === "rejected")).toMatchObject({ reason: { code: "E_LAST_COPY" } });
    await world.until(() => healthOf(a, b, c).length === 1);
    expect(["U_", "_U"]).toContain(healthOf(a, b, c)[0]);
  });

  it("take no write of any node after the command has returned", async () => {
    const { world, a, b, c } = await threeNodes();
    await world.wait(a.node.failMember(1));
    const before = Buffer.from(world.disks.bytes("/dev/d1"));
    for (const [i, { engine }] of [a, b, c].entries()) await world.wait(engine.write(place(i), 2, 0x77));
    await world.wait(b.node.flushBitmap());
    expect(Buffer.compare(world.disks.bytes("/dev/d1"), before)).toBe(0);
  });

  it("are left out by every data plane at the moment in which the command, or the write that failed, is answered", async () => {
    const { world, a, b, c } = await threeNodes({ mirrors: 3 });
    for (const { engine } of [b, c]) {
      engine.delay = (command) => {
        if (command.type !== "setMember" || command.member.state !== "faulty") return null;
        return new Promise((resolve) => world.clock.after(50, resolve));
      };
    }
    const states = (member: number) => () => [b, c].map(({ engine }) => engine.stateOf(member));
    expect(await world.wait(a.node.failMember(1).then(states(1)))).toEqual(["faulty", "faulty"]);
    world.disks.failWrites("/dev/d2", "a");
    expect(await world.wait(a.engine.write(place(0), 1, 7).then(states(2)))).toEqual(["faulty", "faulty"]);
  });

  it("while another node joins: it knows before the write is acknowledged (27.24)", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    await world.idle(a);
    let open = (): void => {};
    world.engineGate = new Promise((resolve) => {
      open = resolve;
    });
    const joining = world.begin("b", world.members);
    // It has read the superblocks and hears nothing yet.
    await world.clock.advance(500);
    world.disks.failWrites("/dev/d1", "a");
    let acknowledged = false;
    const writing = a.engine.write(place(3), 1, 9).then(() => {
      acknowledged = true;
    });
    await world.clock.advance(500);
    expect(acknowledged).toBe(false);
    open();
    const b = await world.wait(joining);
    await world.wait(writing);
    expect(healthOf(a, b)).toEqual(["U_"]);
    expect(b.engine.stateOf(1)).not.toBe("in_sync");
    expect(b.engine.read(place(3))).toBe(9);
  });

  it("while the token is held elsewhere: the write waits for it, and all know then", async () => {
    const { world, a, b, c } = await threeNodes();
    world.disks.add("/dev/new", 8192);
    world.disks.hide("/dev/new", "c");
    // c searches for the whole of its time; b holds the token meanwhile.
    const adding = expect(world.wait(b.node.addMember("/dev/new"))).rejects.toMatchObject({
      code: "E_NODE_CANNOT_SEE_DEVICE",
    });
    await world.clock.advance(100);
    world.disks.failWrites("/dev/d1", "a");
    let acknowledged = false;
    const writing = a.engine.write(place(3), 1, 9).then(() => {
      acknowledged = true;
    });
    await world.clock.advance(100);
    expect(acknowledged).toBe(false);
    await adding;
    await world.wait(writing);
    expect(healthOf(a, b, c)).toEqual(["U_"]);
  });

  it("26.15: and are removed while another node resyncs: nothing waits for the resync", async () => {
    const { world, a, b, c } = await threeNodes({ mirrors: 3 });
    await c.engine.write(place(4), 1, 1);
    let copying = (): void => {};
    const stuck = new Promise<void>((resolve) => {
      copying = resolve;
    });
    for (const { engine } of [a, b]) {
      engine.copiesAside = true;
      engine.onCopy = () => stuck;
    }
    world.kill(c);
    await world.until(() => a.node.status().sync !== null || b.node.status().sync !== null);
    await world.wait(a.node.failMember(2));
    await world.wait(b.node.removeMember(2));
    copying();
    await world.idle(a, b);
    expect(healthOf(a, b)).toEqual(["UU_"]);
    expect(world.copies(place(4), ["/dev/d0", "/dev/d1"])).toEqual([1, 1]);
  });

  it("26.6, 26.26: and are added while a recovery runs: the addition waits in turn, and both end", async () => {
    const { world, a, b } = await threeNodes();
    await world.wait(a.engine.write(place(7), 1, 7));
    await world.wait(Promise.all([a.node.failMember(1), a.node.removeMember(1)]));
    world.disks.add("/dev/new", 8192);
    world.disks.add("/dev/spare", 8192);
    let adding: Promise<unknown> | null = null;
    for (const each of [a, b]) {
      each.engine.onCopy = async () => {
        adding ??= (each === a ? b : a).node.addMember("/dev/spare");
      };
    }
    await world.wait(a.node.addMember("/dev/new"));
    await world.until(() => adding !== null);
    expect(await world.wait(adding ?? Promise.resolve())).toMatchObject({ raidDisk: null, as: "spare" });
    await world.until(() => healthOf(a, b)[0] === "UU" && healthOf(a, b).length === 1);
    expect(world.copies(place(7), ["/dev/d0", "/dev/new"])).toEqual([7, 7]);
  });
});

describe("a faulty member", () => {
  const rolesOn = async (world: ClusterWorld): Promise<readonly number[]> =>
    (await readSuperblock(world.disks.open("/dev/d0", "test"))).devRoles.slice(0, 4);
  const listOf = ({ node }: TestNode): string[] =>
    node.status().members.flatMap(({ number, state }) => (number < 0 ? [] : [`${number} ${state}`]));

  it("stays one for who has it bound when another node joins, which does not; its number is not given away", async () => {
    const world = await ClusterWorld.create({ spares: 1 });
    const a = await world.start("a");
    await world.idle(a);
    for (const number of [2, 1]) await world.wait(a.node.failMember(number));
    const b = await world.start("b");
    await world.idle(a, b);
    expect(listOf(a)).toEqual(["0 in_sync", "1 faulty", "2 faulty"]);
    expect(listOf(b)).toEqual(["0 in_sync"]);
    expect(await rolesOn(world)).toEqual([0, 0xfffe, 0xfffe, 0xffff]);
    world.disks.add("/dev/new", 8192);
    expect(await world.wait(b.node.addMember("/dev/new"))).toMatchObject({ number: 3 });
    await world.idle(a, b);
    expect(listOf(a)).toEqual(["0 in_sync", "1 faulty", "2 faulty", "3 in_sync"]);
    for (const number of [1, 2]) await world.wait(a.node.removeMember(number));
    expect(listOf(a)).toEqual(["0 in_sync", "3 in_sync"]);
    expect(await rolesOn(world)).toEqual([0, 0xffff, 0xffff, 1]);
    // Now it is free for everybody.
    world.disks.add("/dev/more", 8192);
    expect(await world.wait(b.node.addMember("/dev/more"))).toMatchObject({ number: 2 });
  });

  it("that only another node has bound comes back by whoever is asked, and is gone when all have stopped", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a");
    await world.idle(a);
    await world.wait(a.node.failMember(1));
    const b = await world.start("b");
    await world.wait(b.engine.write(place(5), 1, 0x5b));
    expect(await world.wait(b.node.addMember("/dev/d1", "re-add"))).toMatchObject({ number: 1, raidDisk: 1 });
    await world.until(() => healthOf(a, b).join() === "UU");
    expect(world.copies(place(5))).toEqual([0x5b, 0x5b]);
    await world.wait(a.node.failMember(1));
    for (const { node } of [b, a]) await world.wait(node.stop());
    await world.start("c");
    expect((await rolesOn(world)).slice(0, 3)).toEqual([0, 0xffff, 0xffff]);
  });
});
