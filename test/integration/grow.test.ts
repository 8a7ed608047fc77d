import { readFileSync } from "node:fs";
import { afterEach, expect, it } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import type { ArrayInfo, GrowData, Mapping } from "../../src/daemon/control-api.ts";
import { Host, runProgram } from "../support/daemons.ts";
import { haveLoopDevices, withLoopDevice } from "../support/loop-device.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 32 * MIB;
const DATA_OFFSET = MIB;
const SMALL = 10 * MIB;
const LARGE = MEMBER_BYTES - DATA_OFFSET;

let host: Host;
afterEach(() => host.close());

const detail = async (node: string): Promise<ArrayInfo> =>
  (await host.data<{ array: ArrayInfo }>(node, "detail", "md0")).array;
const clientOf = async (node: string): Promise<NbdClient> =>
  NbdClient.connect((await host.data<{ mapping: Mapping }>(node, "map", "md0")).mapping.uri);
const waitOnBoth = async (): Promise<void> => {
  for (const node of ["n1", "n2"]) await host.data(node, "wait", "md0");
};
const dataOf = (path: string, bytes: number): Buffer => readFileSync(path).subarray(DATA_OFFSET, DATA_OFFSET + bytes);

it("the size, seen by clients, both nodes and stock mdadm; then another mirror in the same way", async () => {
  host = new Host();
  await Promise.all([host.start("n1"), host.start("n2")]);
  const [a, b] = [host.memberFile("a.img", MEMBER_BYTES), host.memberFile("b.img", MEMBER_BYTES)];
  const create = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members", "--assume-clean"];
  await host.data("n1", ...create, `--size=${SMALL / 1024}`, a, b);
  await host.data("n2", "assemble", "md0", a, b);
  await waitOnBoth();

  // One client stays connected throughout; it knows the old size until it comes anew.
  const old = await clientOf("n2");
  expect(old.size).toBe(SMALL);
  await old.write(SMALL - 4096, Buffer.alloc(4096, 1));
  const refused = await host.json<GrowData>("n1", "grow", "md0", "--size=100M");
  expect(refused).toMatchObject({ ok: false, error: { code: "E_DEVICE_SMALL" } });
  expect((await detail("n2")).sizeBytes).toBe(SMALL);

  const grown = await host.run("n1", "--grow", "/dev/md0", "--size=max");
  expect(grown).toMatchObject({ exitCode: 0, stdout: "" });
  expect(grown.stderr).toContain(`mdctl: component size of md0 has been set to ${LARGE / 1024}K`);
  const fresh = await clientOf("n2");
  expect(fresh.size).toBe(LARGE);
  await fresh.write(LARGE - 4096, Buffer.alloc(4096, 2));
  await old.write(0, Buffer.alloc(4096, 3));
  const other = await clientOf("n1");
  expect(new Set(await other.read(LARGE - 4096, 4096))).toEqual(new Set([2]));
  expect(new Set(await other.read(SMALL - 4096, 4096))).toEqual(new Set([1]));
  await waitOnBoth();
  for (const node of ["n1", "n2"]) {
    expect(await detail(node)).toMatchObject({ sizeBytes: LARGE, usedDevBytes: LARGE, health: "optimal" });
  }
  expect(dataOf(a, LARGE).equals(dataOf(b, LARGE))).toBe(true);
  const examined = await runProgram("mdadm", ["--examine", a]);
  expect(examined.stdout).toContain(`Array Size : ${LARGE / 1024} KiB`);
  expect(examined.stdout).toContain("correct");
  if (haveLoopDevices()) {
    const { stdout } = await withLoopDevice(b, (device) => runProgram("mdadm", ["--examine-bitmap", device]));
    expect(stdout).toContain(`Sync Size : ${LARGE / 1024} `);
    expect(stdout.match(/Bitmap : 496 bits \(chunks\)/g)).toHaveLength(4);
  }

  // Not below clients that may write, on any node; nor without being told twice.
  const shrink = ["grow", "md0", `--size=${SMALL / 1024}`];
  expect(await host.json("n1", ...shrink)).toMatchObject({ exitCode: 3, error: { code: "E_CONFIRM" } });
  shrink.push("--force", "--confirm=md0");
  expect(await host.json("n1", ...shrink)).toMatchObject({ exitCode: 6, error: { code: "E_HELD" } });
  for (const client of [old, fresh, other]) client.close();
  await host.data("n1", "unmap", "--force", "md0");
  expect(await host.json("n1", ...shrink)).toMatchObject({
    error: { code: "E_HELD", message: expect.stringMatching(/n2/) },
  });
  await host.data("n2", "unmap", "--force", "md0");
  expect(await host.data<GrowData>("n1", ...shrink)).toMatchObject({
    changes: [{ what: "size", before: LARGE, after: SMALL }],
  });
  for (const node of ["n1", "n2"]) expect((await detail(node)).sizeBytes).toBe(SMALL);

  const c = host.memberFile("c.img", MEMBER_BYTES);
  await host.data("n2", "grow", "md0", "--raid-devices=3", "--add", c);
  await waitOnBoth();
  for (const node of ["n1", "n2"]) {
    await host.event(node, ({ text }) => text.includes("c.img") && text.includes("in sync"));
    expect(await detail(node)).toMatchObject({ raidDevices: 3, activeDevices: 3, health: "optimal" });
  }
  const [first, ...others] = [a, b, c].map((path) => dataOf(path, SMALL));
  for (const content of others) expect(content.equals(first ?? Buffer.alloc(0))).toBe(true);
  expect((await runProgram("mdadm", ["--examine", c])).stdout).toMatch(/Raid Devices : 3[\s\S]*AAA/);

  // What both stopped comes back as it was left.
  for (const node of ["n1", "n2"]) await host.data(node, "stop", "md0");
  await host.data("n2", "assemble", "md0", a, b, c);
  expect(await detail("n2")).toMatchObject({ raidDevices: 3, sizeBytes: SMALL, health: "optimal" });
});
