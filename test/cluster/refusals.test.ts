import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import type { EngineCommand } from "../../src/engine/engine-protocol.ts";
import { ClusterWorld, LEASE_MS, type TestNode } from "./cluster-world.ts";

async function twoNodes(change: Parameters<typeof ClusterWorld.create>[0] = {}) {
  const world = await ClusterWorld.create(change);
  const a = await world.start("a");
  const b = await world.start("b");
  await world.idle(a, b);
  return { world, a, b };
}

/** From now on the data plane refuses such commands. */
function refuse({ engine }: TestNode, which: (command: EngineCommand) => boolean): void {
  engine.onCommand = (command) => {
    if (which(command)) throw new MdError("E_IO", "too many open files");
  };
}

const opens =
  (path: string) =>
  (command: EngineCommand): boolean =>
    command.type === "setMember" && command.member.path === path;

const membersOf = ({ node }: TestNode): string[] => node.status().members.map((each) => `${each.number} ${each.state}`);

describe("a data plane that cannot take a new member in", () => {
  it("on the node that adds it: the device is out again and never taken for a copy", async () => {
    const { world, a, b } = await twoNodes();
    await a.engine.write(0, 1, 0x55);
    await world.wait(a.node.failMember(1));
    await world.wait(a.node.removeMember(1));
    world.disks.add("/dev/new", 8192);
    refuse(a, opens("/dev/new"));
    await expect(world.wait(a.node.addMember("/dev/new"))).rejects.toMatchObject({ code: "E_IO" });
    await world.clock.advance(5000);
    await world.idle(a, b);
    for (const each of [a, b]) expect(membersOf(each)).toEqual(["0 in_sync", "-1 missing"]);
    const c = await world.start("c", ["/dev/d0", "/dev/new"]);
    expect(c.node.status().health).toBe("U_");
    a.engine.onCommand = () => {};
    await world.wait(b.node.addMember("/dev/new"));
    await world.idle(a, b, c);
    for (const each of [a, b, c]) expect(each.node.status().health).toBe("UU");
    expect(world.copies(0, ["/dev/d0", "/dev/new"])).toEqual([0x55, 0x55]);
  });

  it("a spare that is activated fails on all nodes", async () => {
    const { world, a, b } = await twoNodes({ spares: 1 });
    for (const each of [a, b]) refuse(each, opens("/dev/d2"));
    await world.wait(a.node.failMember(1));
    await world.until(() => a.node.events().some(({ text }) => text.includes("d2[2] is faulty on all nodes")));
    await world.idle(a, b);
    for (const each of [a, b]) expect(membersOf(each)).toContain("2 faulty");
  });

  it("on another node: that node drops out before anything is copied past its writes", async () => {
    const { world, a, b } = await twoNodes();
    await a.engine.write(4000, 1, 0x55);
    await world.wait(a.node.failMember(1));
    await world.wait(a.node.removeMember(1));
    world.disks.add("/dev/new", 8192);
    refuse(b, opens("/dev/new"));
    let ended = false;
    void b.node.ended.then(() => {
      ended = true;
    });
    const copied: boolean[] = [];
    a.engine.onCopy = async () => {
      copied.push(ended);
    };
    await world.wait(a.node.addMember("/dev/new"));
    expect(await world.wait(b.node.ended)).toMatchObject({ type: "failed" });
    await world.until(() => a.node.status().health === "UU");
    expect(copied.every((late) => late)).toBe(true);
    await expect(b.engine.write(4000, 1, 0x77)).rejects.toThrow();
    expect(world.copies(4000, ["/dev/d0", "/dev/new"])).toEqual([0x55, 0x55]);
  });
});

it.each(["a", "b"])("a device with larger blocks than the array's is refused by %s", async (host) => {
  const { world, a, b } = await twoNodes();
  world.disks.add("/dev/new", 8192);
  world.disks.blockSizes.set(`${host} /dev/new`, 4096);
  const code = host === "a" ? "E_VALUE" : "E_NODE_CANNOT_SEE_DEVICE";
  await expect(world.wait(a.node.addMember("/dev/new"))).rejects.toMatchObject({ code });
  for (const each of [a, b]) expect(membersOf(each)).toEqual(["0 in_sync", "1 in_sync"]);
});

describe("a node that cannot carry a message out", () => {
  it("27.21: does not acknowledge a window that it could not suspend: the sender waits until it is declared dead", async () => {
    const { world, a, b } = await twoNodes({ clean: true });
    const c = await world.start("c");
    await world.idle(a, b, c);
    await c.engine.write(0, 1, 1);
    for (const each of [a, b]) {
      // Whoever does not copy refuses.
      refuse(each, (command) => command.type === "suspend");
    }
    const lastWrite = new Map<string, number>();
    for (const each of [a, b]) {
      void each.node.ended.then(() => lastWrite.set(each.name, world.clock.now()));
    }
    let copiedAt = 0;
    for (const each of [a, b]) {
      each.engine.onCopy = async () => {
        copiedAt ||= world.clock.now();
      };
    }
    world.kill(c);
    await world.until(() => copiedAt > 0);
    const [[, droppedAt] = ["", 0]] = lastWrite;
    expect(lastWrite.size).toBe(1);
    expect(copiedAt - droppedAt).toBeGreaterThan(LEASE_MS * 0.8);
  });

  it("drops out when it cannot let go of a removed member", async () => {
    const { world, a, b } = await twoNodes();
    await world.wait(a.node.failMember(1));
    refuse(b, ({ type }) => type === "removeMember");
    await world.wait(a.node.removeMember(1));
    expect(await world.wait(b.node.ended)).toMatchObject({ type: "failed" });
    expect(membersOf(a)).not.toContain("1 faulty");
  });
});

describe("an event number burnt by an update that failed", () => {
  it("does not hide another node's update with the same number", async () => {
    const { world, a, b } = await twoNodes();
    const before = a.node.status().events;
    // Fails before anything is on disk.
    let times = 0;
    refuse(a, ({ type }) => type === "setEvents" && times++ === 0);
    await expect(world.wait(a.node.failMember(1))).rejects.toMatchObject({ code: "E_IO" });
    expect(a.node.status().events).toBe(before);
    world.disks.add("/dev/new", 8192);
    await world.wait(b.node.addMember("/dev/new"));
    expect(membersOf(a)).toContain("2 spare");
    expect(a.node.status().events).toBe(b.node.status().events);
    // And it is never used again by the node itself.
    await world.wait(a.node.failMember(1));
    await world.idle(a, b);
    expect(a.node.status().events).toBe(b.node.status().events);
  });
});
