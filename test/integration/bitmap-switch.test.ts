import { readFileSync } from "node:fs";
import { afterEach, expect, it } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import type { ArrayInfo, GrowData, Mapping } from "../../src/daemon/control-api.ts";
import { Host, runProgram } from "../support/daemons.ts";
import { haveLoopDevices, withLoopDevice } from "../support/loop-device.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 16 * MIB;
const DATA_OFFSET = MIB;

let host: Host;
afterEach(() => host.close());

const detail = async (node: string): Promise<ArrayInfo> =>
  (await host.data<{ array: ArrayInfo }>(node, "detail", "md0")).array;
const clientOf = async (node: string): Promise<NbdClient> =>
  NbdClient.connect((await host.data<{ mapping: Mapping }>(node, "map", "md0")).mapping.uri);
const dataOf = (path: string): Buffer => readFileSync(path).subarray(DATA_OFFSET);
const grow = (node: string, ...change: readonly string[]): Promise<GrowData> =>
  host.data<GrowData>(node, "grow", "md0", ...change);

/** What stock mdadm says of a member's superblock and, where it may look, of its bitmaps. */
async function examined(path: string): Promise<string> {
  const { stdout } = await runProgram("mdadm", ["--examine", path]);
  expect(stdout).toContain("correct");
  if (!haveLoopDevices()) return stdout;
  const bitmap = await withLoopDevice(path, (device) => runProgram("mdadm", ["--examine-bitmap", device]));
  return `${stdout}\n${bitmap.stdout}${bitmap.stderr}`;
}

it("a bitmap is switched off and on while a client writes, and stock mdadm reads each form", async () => {
  host = new Host();
  await Promise.all([host.start("n1"), host.start("n2")]);
  const [a, b] = [host.memberFile("a.img", MEMBER_BYTES), host.memberFile("b.img", MEMBER_BYTES)];
  const create = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members", "--assume-clean"];
  await host.data("n1", ...create, a, b);
  await host.data("n2", "assemble", "md0", a, b);
  await host.data("n1", "wait", "md0");

  const held = await host.json("n1", "grow", "md0", "--bitmap=none");
  expect(held).toMatchObject({
    exitCode: 6,
    error: { code: "E_HELD", message: expect.stringContaining("n2 uses it") },
  });
  expect((await detail("n2")).bitmap).toMatchObject({ type: "clustered" });
  await host.data("n2", "stop", "md0");

  const client = await clientOf("n1");
  await client.write(0, Buffer.alloc(4096, 1));
  const off = await host.run("n1", "--grow", "/dev/md0", "--bitmap=none");
  expect(off).toMatchObject({ exitCode: 0, stdout: "" });
  expect(off.stderr).toContain("mdctl: bitmap of md0 has been set to none");
  await client.write(65_536, Buffer.alloc(4096, 2));
  expect(await detail("n1")).toMatchObject({ bitmap: null, clustered: false, slot: null, consistency: "resync" });
  expect(await examined(a)).not.toMatch(/Internal Bitmap|Cluster Name|Node Slot/);
  expect(await host.run("n1", "examine-bitmap", a)).toMatchObject({ exitCode: 1, stdout: "" });
  const text = (await host.run("n1", "detail", "md0")).stdout;
  expect(text).toContain("Consistency Policy : resync");
  expect(text).not.toMatch(/Intent Bitmap|Node Slot|Cluster Name/);
  expect((await host.run("n1", "mdstat")).stdout).not.toContain("bitmap:");
  expect(await host.json("n2", "assemble", "md0", a, b)).toMatchObject({
    exitCode: 6,
    error: { code: "E_HELD", message: "md0 is in use on n1" },
  });

  await grow("n1", "--bitmap=internal");
  await client.write(131_072, Buffer.alloc(4096, 3));
  const internal = await examined(b);
  expect(internal).toContain("Internal Bitmap : 8 sectors from superblock");
  if (haveLoopDevices()) {
    expect(internal).toMatch(/Version : 4\n/);
    expect(internal).toMatch(/Bitmap : 240 bits \(chunks\), [1-9]\d* dirty/);
  }
  expect((await detail("n1")).bitmap).toMatchObject({ type: "internal", version: 4 });
  expect((await host.run("n1", "detail", "md0")).stdout).toContain("Intent Bitmap : Internal\n");

  await grow("n1", "--bitmap=none");
  await grow("n1", "--bitmap=clustered", "--nodes=3");
  await client.write(196_608, Buffer.alloc(4096, 4));
  const clustered = await examined(b);
  expect(clustered).toContain("Feature Map : 0x101");
  expect(clustered).toContain("Cluster Name : test");
  if (haveLoopDevices()) expect(clustered.match(/Node Slot : \d/g)).toHaveLength(3);
  await host.data("n2", "assemble", "md0", a, b);
  const other = await clientOf("n2");
  expect(new Set(await other.read(65_536, 4096))).toEqual(new Set([2]));
  await other.write(262_144, Buffer.alloc(4096, 5));
  for (const node of ["n1", "n2"]) await host.data(node, "wait", "md0");

  // Nor does the number of nodes change while both are there; offline as mdadm does it.
  expect(await host.json("n2", "grow", "md0", "--nodes=5")).toMatchObject({ error: { code: "E_HELD" } });
  for (const each of [client, other]) await each.close();
  for (const node of ["n1", "n2"]) await host.data(node, "stop", "md0");
  await host.data("n2", "assemble", "md0", "--update=nodes", "--nodes=6", a, b);
  expect(await detail("n2")).toMatchObject({ nodesMax: 6, health: "optimal" });
  const six = await examined(a);
  if (haveLoopDevices()) expect(six.match(/Node Slot : \d/g)).toHaveLength(6);
  await grow("n2", "--nodes=2");
  expect(await detail("n2")).toMatchObject({ nodesMax: 2 });
  await host.data("n2", "stop", "md0");
  expect(dataOf(a).equals(dataOf(b))).toBe(true);
});

it.each(["none", "internal"])(
  "bitmap %s: what is copied after its node was killed, and after a stop",
  async (bitmap) => {
    host = new Host();
    await host.start("n1");
    const [a, b] = [host.memberFile("a.img", MEMBER_BYTES), host.memberFile("b.img", MEMBER_BYTES)];
    const kind = [`--bitmap=${bitmap}`, "--bitmap-chunk=64K", "--assume-clean", "--file-members"];
    await host.data("n1", "create", "md0", "--level=1", ...kind, a, b);
    // A new bitmap has all its bits, as mdadm's; an orderly stop clears them.
    await host.data("n1", "stop", "md0");
    await host.data("n1", "assemble", "md0", a, b);
    const client = await clientOf("n1");
    await client.write(8 * MIB, Buffer.alloc(4096, 7));
    await host.end("n1", "SIGKILL");
    await client.close();
    await host.start("n1");
    await host.data("n1", "assemble", "md0", a, b);
    await host.data("n1", "wait", "md0");
    const { copiedBytes } = await detail("n1");
    if (bitmap === "none") expect(copiedBytes).toBeGreaterThan(14 * MIB);
    else expect(copiedBytes).toBeLessThanOrEqual(4 * 65_536);
    await host.data("n1", "stop", "md0");
    expect(dataOf(a).equals(dataOf(b))).toBe(true);
    expect(await examined(a)).toContain("State : clean");
    // Stopped in order: nothing is copied when it starts.
    await host.data("n1", "assemble", "md0", a, b);
    await host.data("n1", "wait", "md0");
    expect((await detail("n1")).copiedBytes).toBe(0);
  },
);
