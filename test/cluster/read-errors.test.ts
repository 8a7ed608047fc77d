import { describe, expect, it } from "vitest";
import { MemberFlag } from "../../src/array/member.ts";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import { MdError } from "../../src/base/md-error.ts";
import { sector } from "../../src/base/units.ts";
import type { EngineCommand } from "../../src/engine/engine-protocol.ts";
import { ClusterWorld, type TestNode } from "./cluster-world.ts";

/** As the data plane tells of it: in [at, at + 8) of the array. */
function readError({ engine }: TestNode, place: number, at: number): void {
  engine.notify({ type: "readError", place, errno: 5, at: sector(at), sectors: 8, during: "read" });
}

const texts = ({ node }: TestNode, code: string): string[] =>
  node
    .events()
    .filter((event) => event.code === code)
    .map(({ text }) => text);
const rewrites = ({ engine }: TestNode): EngineCommand[] => engine.log.filter(({ type }) => type === "rewrite");
const member = ({ node }: TestNode, number: number) =>
  node.status().members.find((one) => one.number === number) ?? {
    correctedReads: -1,
    readErrors: -1,
    state: "missing",
  };

async function pair(mirrors = 2) {
  const world = await ClusterWorld.create({ mirrors });
  const a = await world.start("a");
  const b = await world.start("b");
  await world.idle(a, b);
  return { world, a, b };
}

describe("a block that a member could not read", () => {
  it("is rewritten behind a window that the other node has acknowledged, and is counted", async () => {
    const { world, a, b } = await pair();
    a.engine.badSectors.add("1 803");
    let suspended = false;
    a.engine.onCommand = ({ type }) => {
      if (type === "rewrite") suspended = b.engine.suspended.blocks(800, 808) && !b.engine.suspended.blocks(0, 800);
    };
    readError(a, 1, 800);
    await world.until(() => rewrites(a).length > 0);
    await world.idle(a, b);
    expect(rewrites(a)).toEqual([{ type: "rewrite", place: 1, range: { lo: 800, hi: 808 } }]);
    expect(suspended).toBe(true);
    expect(b.engine.suspended.isEmpty).toBe(true);
    expect(member(a, 1)).toMatchObject({ correctedReads: 1, readErrors: 1, state: "in_sync" });
    expect(texts(a, "REWRITE")).toEqual(["d1[1]: 1 sectors in [800, 808) were rewritten and read again"]);
  });

  it("keeps nobody away any more when its rewrite has failed", async () => {
    const { world, a, b } = await pair();
    a.engine.onCommand = ({ type }) => {
      if (type === "rewrite") throw new MdError("E_VALUE", "no");
    };
    readError(a, 1, 800);
    await world.until(() => rewrites(a).length > 0);
    await world.clock.advance(200);
    expect(b.engine.suspended.isEmpty).toBe(true);
  });

  it("is no business of a node that copies elsewhere: it waits for the resync lock", async () => {
    const world = await ClusterWorld.create({ mirrors: 3, spares: 1 });
    const a = await world.start("a");
    const b = await world.start("b");
    await world.idle(a, b);
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    b.engine.onCopy = () => gate;
    a.engine.onCopy = () => gate;
    await world.wait(b.node.failMember(2));
    const copier = (): TestNode | undefined =>
      [a, b].find(({ engine }) => engine.log.some(({ type }) => type === "copy"));
    await world.until(() => copier() !== undefined);
    const other = copier() === a ? b : a;
    readError(other, 1, 800);
    await world.clock.advance(500);
    expect(rewrites(other)).toEqual([]);
    release();
    await world.until(() => rewrites(other).length > 0);
    await world.idle(a, b);
  });

  it("is written into the superblocks with the next update, as md does", async () => {
    const { world, a, b } = await pair(3);
    a.engine.badSectors.add("1 803");
    readError(a, 1, 800);
    await world.until(() => member(a, 1).correctedReads === 1);
    await world.wait(b.node.failMember(2));
    await world.wait(a.node.removeMember(2));
    const superblock = await readSuperblock(world.disks.open("/dev/d1", "look"));
    expect(superblock.correctedReads).toBe(1);
    expect(member(a, 1).correctedReads).toBe(1);
  });

  it("stays counted by the next update of a node that has not corrected it", async () => {
    const { world, a, b } = await pair(3);
    a.engine.badSectors.add("1 803");
    readError(a, 1, 800);
    await world.until(() => member(a, 1).correctedReads === 1);
    await world.wait(a.node.failMember(2));
    expect(member(b, 1).correctedReads).toBe(1);
    await world.wait(b.node.removeMember(2));
    expect((await readSuperblock(world.disks.open("/dev/d1", "look"))).correctedReads).toBe(1);
  });

  it("is still to be counted after an update that could not be written", async () => {
    const { world, a } = await pair(3);
    a.engine.badSectors.add("1 803");
    readError(a, 1, 800);
    await world.until(() => member(a, 1).correctedReads === 1);
    for (const path of world.members) world.disks.failWrites(path, "a");
    await expect(world.wait(a.node.failMember(2))).rejects.toMatchObject({ code: "E_IO" });
    expect(member(a, 1).correctedReads).toBe(1);
    for (const path of world.members) world.disks.heal(path, "a");
    await world.wait(a.node.failMember(2));
    expect((await readSuperblock(world.disks.open("/dev/d1", "look"))).correctedReads).toBe(1);
  });

  it("is looked at once, however often clients ask for it meanwhile", async () => {
    const { world, a } = await pair();
    for (let i = 0; i < 50; i++) readError(a, 1, 800);
    await world.until(() => rewrites(a).length > 0);
    await world.idle(a);
    expect(rewrites(a)).toHaveLength(1);
    expect(member(a, 1)).toMatchObject({ readErrors: 50, state: "in_sync" });
  });

  it("is not tried again for a minute if no other copy has it", async () => {
    const { world, a } = await pair();
    a.engine.badSectors.add("1 803");
    a.engine.unreadable.add(803);
    readError(a, 1, 800);
    await world.until(() => texts(a, "READERROR").some((text) => text.includes("cannot be read")));
    await world.idle(a);
    for (let i = 0; i < 30; i++) readError(a, 1, 800);
    await world.idle(a);
    expect(rewrites(a)).toHaveLength(1);
    expect(a.node.status().health).toBe("UU");
    await world.clock.advance(61_000);
    readError(a, 1, 800);
    await world.until(() => rewrites(a).length === 2);
  });

  it("stays as it is on the last copy, of which nobody else could write it", async () => {
    const { world, a, b } = await pair();
    await world.wait(b.node.failMember(1));
    await world.idle(a, b);
    for (let i = 0; i < 30; i++) readError(a, 0, 800 + 8 * i);
    await world.clock.advance(1000);
    expect(rewrites(a)).toEqual([]);
    expect(a.node.status().health).toBe("U_");
  });
});

describe("a read error of a member that is to fail fast", () => {
  it("takes it out, but for the last copy", async () => {
    const world = await ClusterWorld.create({ mirrors: 2, devFlags: MemberFlag.failfast });
    const a = await world.start("a");
    await world.idle(a);
    readError(a, 0, 800);
    await world.until(() => a.node.status().health === "_U");
    expect(rewrites(a)).toEqual([]);
    readError(a, 1, 800);
    await world.clock.advance(1000);
    expect(a.node.status().health).toBe("_U");
  });
});

describe("more than twenty read errors within an hour", () => {
  it("take the member out on all nodes", async () => {
    const { world, a, b } = await pair();
    for (let i = 0; i < 20; i++) {
      readError(a, 1, 800 + 8 * i);
      await world.idle(a);
    }
    expect(a.node.status().health).toBe("UU");
    readError(a, 1, 8);
    await world.until(() => b.node.status().health === "U_");
    expect(texts(a, "ERROR")).toEqual(["d1[1]: more than 20 read errors within an hour"]);
  });

  it("are forgiven by half for each hour", async () => {
    const { world, a } = await pair();
    for (let hour = 0; hour < 3; hour++) {
      for (let i = 0; i < 10; i++) {
        readError(a, 1, 800 + 8 * i);
        await world.idle(a);
      }
      await world.clock.advance(3_600_000);
    }
    expect(a.node.status().health).toBe("UU");
  }, 60_000);

  it("do not take the last copy out, whoever fails the other one meanwhile", async () => {
    const { world, a, b } = await pair();
    for (let i = 0; i < 20; i++) {
      readError(a, 1, 800 + 8 * i);
      await world.idle(a);
    }
    const failing = b.node.failMember(0);
    readError(a, 1, 8);
    await world.wait(failing.catch(() => {}));
    await world.idle(a, b);
    expect(["U_", "_U"]).toContain(a.node.status().health);
    expect(b.node.status().health).toBe(a.node.status().health);
  });
});
