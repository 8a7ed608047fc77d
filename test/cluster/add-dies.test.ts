import { describe, expect, it } from "vitest";
import { readSuperblock } from "../../src/array/superblock-store.ts";
import type { MdError } from "../../src/base/md-error.ts";
import type { AddHow } from "../../src/cluster/device-add.ts";
import { CHUNK_SECTORS, ClusterWorld, type TestNode } from "./cluster-world.ts";

const codes = ({ node }: TestNode): string[] => node.events().map(({ code }) => code);
const at = 5 * CHUNK_SECTORS;

interface Case {
  readonly path: string;
  readonly how: AddHow;
  readonly before: (world: ClusterWorld, a: TestNode) => Promise<void>;
}

const addNew = (world: ClusterWorld): void => world.disks.add("/dev/new", 8192);
const cases: Readonly<Record<string, Case>> = {
  "a spare": {
    path: "/dev/new",
    how: "add",
    before: async (world) => addNew(world),
  },
  "a new member": {
    path: "/dev/new",
    how: "add",
    before: async (world, a) => {
      addNew(world);
      await world.wait(Promise.all([a.node.failMember(1), a.node.removeMember(1)]));
    },
  },
  "a member that was removed": {
    path: "/dev/d1",
    how: "re-add",
    before: async (world, a) => {
      await world.wait(Promise.all([a.node.failMember(1), a.node.removeMember(1)]));
    },
  },
  "a member that is bound and faulty": {
    path: "/dev/d1",
    how: "re-add",
    before: (world, a) => world.wait(a.node.failMember(1)),
  },
};

/** Devices that a scan takes for members. */
async function scan(world: ClusterWorld): Promise<string[]> {
  const found: string[] = [];
  for (const path of world.disks.paths) {
    const superblock = await readSuperblock(world.disks.open(path, "scan")).catch(() => null);
    if (superblock !== null) found.push(path);
  }
  return found;
}

function heal(world: ClusterWorld, ...hosts: string[]): void {
  for (const path of world.disks.paths) for (const host of hosts) world.disks.heal(path, host);
}

const membersOf = ({ node }: TestNode): string[] => node.status().members.map((each) => `${each.path} ${each.state}`);

/** A dies when it is about to write for the `n`th time since it began to add. False: it came to its end before. */
async function dieAt(n: number, { path, how, before }: Case): Promise<boolean> {
  const world = await ClusterWorld.create();
  const a = await world.start("a");
  const b = await world.start("b");
  await world.idle(a, b);
  await before(world, a);
  await world.wait(b.engine.write(at, 1, 0x5b));
  let writes = 0;
  world.disks.onWrite = (_, host) => {
    if (host === "a" && !a.dead && writes++ === n) world.kill(a);
  };
  let error: MdError | null = null;
  let ended = false;
  void a.node.addMember(path, how).then(
    () => {
      ended = true;
    },
    (failed) => {
      error = failed;
    },
  );
  await world.until(() => ended || error !== null || a.dead);
  if (!a.dead) {
    expect(error).toBeNull();
    return false;
  }
  world.disks.onWrite = () => {};
  await world.until(() => codes(b).includes("TAKEOVER"));
  heal(world, "a");
  await world.idle(b);
  // A survivor has all of it or nothing, and may take it in.
  if (!membersOf(b).some((text) => text.startsWith(path) && !text.endsWith("faulty"))) {
    // What the dead one has said last may be heard only now: then it is a member already.
    const added = b.node.addMember(path, how).catch((failed: MdError) => expect(failed.code).toBe("E_DEVICE_IN_ARRAY"));
    await world.wait<unknown>(added);
  }
  await world.until(() => membersOf(b).filter((text) => text.endsWith("in_sync")).length === 2);
  await world.idle(b);
  const inSync = membersOf(b).filter((text) => text.endsWith("in_sync"));
  for (const text of inSync) expect(world.copies(at, [text.split(" ")[0] ?? ""])).toEqual([0x5b]);
  return true;
}

/** The same, but nobody survives: whoever assembles next finds one array, and in it all of it or nothing. */
async function dieAlone(n: number, { path, how, before }: Case): Promise<boolean> {
  const world = await ClusterWorld.create();
  const a = await world.start("a");
  await world.idle(a);
  await before(world, a);
  await world.wait(a.engine.write(at, 1, 0x5b));
  let writes = 0;
  world.disks.onWrite = (_, host) => {
    if (host === "a" && !a.dead && writes++ === n) world.kill(a);
  };
  let ended = false;
  void a.node.addMember(path, how).then(
    () => {
      ended = true;
    },
    () => {},
  );
  await world.until(() => ended || a.dead);
  if (!a.dead) return false;
  world.disks.onWrite = () => {};
  heal(world, "a");
  const c = await world.start("c", await scan(world));
  await world.idle(c);
  if (!membersOf(c).some((text) => text.startsWith(path))) await world.wait(c.node.addMember(path, how));
  await world.until(() => membersOf(c).filter((text) => text.endsWith("in_sync")).length === 2);
  const inSync = membersOf(c).filter((text) => text.endsWith("in_sync"));
  for (const text of inSync) expect(world.copies(at, [text.split(" ")[0] ?? ""])).toEqual([0x5b]);
  return true;
}

it("a device that was only offered is no member of the next assembly, and is added anew", async () => {
  const world = await ClusterWorld.create();
  const a = await world.start("a");
  const b = await world.start("b");
  await world.idle(a, b);
  addNew(world);
  const release = world.disks.holdReads("b");
  void a.node.addMember("/dev/new").catch(() => {});
  await world.clock.advance(200);
  for (const each of [a, b]) world.kill(each);
  release();
  heal(world, "a", "b");
  const paths = await scan(world);
  expect(paths).toContain("/dev/new");
  const c = await world.start("c", paths);
  expect(membersOf(c)).toEqual(["/dev/d0 in_sync", "/dev/d1 in_sync"]);
  await world.wait(c.node.addMember("/dev/new"));
  expect(membersOf(c)).toEqual(["/dev/d0 in_sync", "/dev/d1 in_sync", "/dev/new spare"]);
});

it("a device that its dead adder had only offered is wiped by who survives", async () => {
  const world = await ClusterWorld.create();
  const a = await world.start("a");
  const b = await world.start("b");
  await world.idle(a, b);
  addNew(world);
  // b has voted; a dies before it writes the array's superblocks.
  world.disks.onWrite = (path, host) => {
    if (host === "a" && path !== "/dev/new") world.kill(a);
  };
  void a.node.addMember("/dev/new").catch(() => {});
  await world.until(() => a.dead);
  world.disks.onWrite = () => {};
  await world.until(() => codes(b).includes("TAKEOVER"));
  await world.idle(b);
  expect(await scan(world)).toEqual(["/dev/d0", "/dev/d1"]);
});

describe.each(Object.keys(cases))("who adds %s and dies at any of its writes", (name) => {
  const what = cases[name];
  if (what === undefined) throw new Error(name);

  it("leaves all of it or nothing to the survivors (27.8)", async () => {
    let n = 0;
    while (await dieAt(n, what)) n++;
    expect(n).toBeGreaterThan(3);
  });

  it("leaves an array that can be assembled", async () => {
    let n = 0;
    while (await dieAlone(n, what)) n++;
    expect(n).toBeGreaterThan(3);
  });
});
