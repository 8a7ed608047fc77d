import { describe, expect, it } from "vitest";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import { MdError } from "../../src/base/md-error.ts";
import { Feature, hasFeature } from "../../src/superblock/superblock.ts";
import { ClusterWorld } from "./cluster-world.ts";

const SECTORS = 65536 * 4;

async function twoNodes(change: Parameters<typeof ClusterWorld.create>[0] = {}) {
  const world = await ClusterWorld.create(change);
  const a = await world.start("a");
  const b = await world.start("b");
  await world.idle(a, b);
  return { world, a, b };
}

describe("a member that is being filled", () => {
  it("and is replaced meanwhile under the same number inherits nothing of what was copied", async () => {
    const { world, a, b } = await twoNodes({ sectors: SECTORS });
    for (const at of [0, 70_000, 200_000]) await world.wait(a.engine.write(at, 1, 0x55));
    await world.wait(a.node.failMember(1));
    await world.wait(a.node.removeMember(1));
    world.disks.add("/dev/new", SECTORS);
    let windows = 0;
    let again: Promise<number> | null = null;
    const replace = async (by: typeof a): Promise<number> => {
      const number = by.node.status().members.find(({ path }) => path === "/dev/new")?.number ?? -1;
      await by.node.failMember(number);
      await by.node.removeMember(number);
      world.disks.bytes("/dev/new").fill(0xee, world.dataOffset * 512);
      return (await by.node.addMember("/dev/new")).number;
    };
    for (const each of [a, b]) {
      each.engine.onCopy = async () => {
        windows++;
        if (windows === 6) again = replace(each === a ? b : a);
      };
    }
    const { number } = await world.wait(a.node.addMember("/dev/new"));
    await world.until(() => again !== null);
    expect(await world.wait(again ?? Promise.resolve(-1))).toBe(number);
    await world.until(() => a.node.status().health === "UU");
    await world.idle(a, b);
    for (const at of [0, 70_000, 200_000]) expect(world.copies(at, ["/dev/d0", "/dev/new"])).toEqual([0x55, 0x55]);
  });

  it("is flushed before its superblock calls it a copy", async () => {
    const { world, a } = await twoNodes();
    await world.wait(a.engine.write(4000, 1, 0x55));
    await world.wait(a.node.failMember(1));
    await world.wait(a.node.removeMember(1));
    world.disks.add("/dev/new", 8192);
    const states: Promise<string>[] = [];
    world.disks.onFlush = (path) => {
      if (path !== "/dev/new" || world.copies(4000, [path])[0] !== 0x55) return;
      const read = readSuperblock(world.disks.open(path, "test"));
      states.push(read.then((found) => (hasFeature(found, Feature.recoveryOffset) ? "filling" : "whole")));
    };
    await world.wait(a.node.addMember("/dev/new"));
    await world.until(() => a.node.status().health === "UU");
    expect((await Promise.all(states))[0]).toBe("filling");
  });
});

describe("the others", () => {
  it("are told the end of work that came to nothing", async () => {
    const { world, a, b } = await twoNodes({ spares: 1 });
    let refused = 0;
    for (const each of [a, b]) {
      let times = 0;
      each.engine.onCommand = ({ type }) => {
        const isFailed = each.node.status().members.some(({ number, state }) => number === 1 && state === "faulty");
        if (type !== "setEvents" || !isFailed || times++ > 0) return;
        refused++;
        throw new MdError("E_IO", "not now");
      };
    }
    await world.wait(a.node.failMember(1));
    await world.until(() => refused === 2);
    await world.wait(b.node.removeMember(2));
    await world.idle(a, b);
    expect(a.node.status().members.map(({ number }) => number)).not.toContain(2);
  });
});

describe("a survivor that cannot read any member", () => {
  it("does not keep the dead node's slot from those who can, and drops out in the end", async () => {
    const { world, a, b } = await twoNodes();
    const c = await world.start("c");
    await world.idle(a, b, c);
    await a.engine.write(0, 1, 1);
    for (const path of world.members) world.disks.unreadable.add(`b ${path}`);
    world.kill(a);
    await world.until(
      () => c.node.events().some(({ code, text }) => code === "TAKEOVER" && text.includes("of a")),
      8000,
    );
    expect(await world.wait(b.node.ended)).toMatchObject({ type: "failed" });
    await world.idle(c);
    expect(c.node.status().readBalance).toBe("balanced");
  });
});

describe("the status", () => {
  it("says from the end of add to the end of the recovery that something is to be filled, on every node", async () => {
    const { world, a, b } = await twoNodes();
    await world.wait(a.node.failMember(1));
    await world.wait(a.node.removeMember(1));
    world.disks.add("/dev/new", 8192);
    const silent: string[] = [];
    let looks = 0;
    let added = false;
    const look = (): void => {
      for (const { name, node } of [a, b]) {
        const { members, sync } = node.status();
        if (!added || !members.some(({ state }) => state === "rebuilding")) continue;
        looks++;
        if (sync?.action !== "recover") silent.push(name);
      }
    };
    for (const { engine } of [a, b]) {
      engine.onCommand = look;
      engine.onCopy = async () => look();
    }
    world.disks.onWrite = look;
    void a.node.addMember("/dev/new").then(() => {
      added = true;
      look();
    });
    await world.until(() => a.node.status().health === "UU" && b.node.status().health === "UU");
    expect(looks).toBeGreaterThan(4);
    expect(silent).toEqual([]);
  });
});
