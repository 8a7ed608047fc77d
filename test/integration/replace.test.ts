import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import type { ArrayInfo, CreateData, ManageData, Mapping } from "../../src/daemon/control-api.ts";
import { Host, runProgram } from "../support/daemons.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 64 * MIB;
const CREATE = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members", "--assume-clean"];

describe("a member that is replaced on two hosts", () => {
  let host: Host;
  afterEach(() => host.close());

  it("serves until the new one is whole, though the node that fills it is killed on the way", async () => {
    host = new Host();
    await Promise.all([host.start("n1"), host.start("n2")]);
    const [a, b, c] = ["a", "b", "c"].map((name) => host.memberFile(`${name}.img`, MEMBER_BYTES)) as [
      string,
      string,
      string,
    ];
    await host.data<CreateData>("n1", ...CREATE, a, b);
    await host.data("n2", "assemble", "md0", a, b);
    const use = async (node: string, what: string): Promise<void> => {
      const { mapping } = await host.data<{ mapping: Mapping }>(node, "map", "md0");
      expect(await runProgram("qemu-io", ["-f", "raw", "-c", what, mapping.uri])).toMatchObject({ exitCode: 0 });
    };
    const detail = async (node: string): Promise<ArrayInfo> =>
      (await host.data<{ array: ArrayInfo }>(node, "detail", "md0")).array;
    await use("n1", "write -P 0x11 1M 4M");

    const none = await host.json<ManageData>("n1", "md0", "--replace", a);
    expect(none.error).toMatchObject({ code: "E_NO_DEVICE", message: "md0 has no spare that could replace a member" });
    // So slow that its middle can be met.
    for (const node of ["n1", "n2"]) await host.data(node, "action", "md0", "--limit=1M");
    const { ops } = await host.data<ManageData>("n1", "md0", "--add-spare", c, "--replace", a, "--with", c);
    expect(ops).toMatchObject([
      { op: "add-spare", result: "done" },
      { op: "replace", member: a, result: "done", number: 0, by: { number: 2, path: c } },
    ]);
    for (const node of ["n1", "n2"]) {
      const { members, degradedBy } = await detail(node);
      expect(degradedBy).toBe(0);
      expect(members.map(({ role, slot, inSync, flags }) => ({ role, slot, inSync, flags }))).toEqual([
        { role: "active", slot: 0, inSync: true, flags: ["want-replacement"] },
        { role: "active", slot: 1, inSync: true, flags: [] },
        { role: "replacement", slot: 0, inSync: false, flags: [] },
      ]);
    }
    const examined = (await runProgram("mdadm", ["--examine", c])).stdout;
    expect(examined).toContain("Device Role : Replacement device 0");
    expect(examined).toContain("Array State : RA ");

    // From the node that does not fill, where nothing was filled yet, and where it was.
    await use("n2", "write -P 0x22 40M 1M");
    await use("n2", "write -P 0x33 1M 64k");
    const { sync } = await detail("n1");
    expect(sync).toMatchObject({ action: "recover", status: "running", why: "replace", to: [0] });
    await host.end("n1", "SIGKILL");
    await host.data("n2", "action", "md0", "--limit=max");
    await host.event("n2", ({ event }) => event === "INSYNC");
    await host.data("n2", "wait", "md0");

    const { members, dataOffsetBytes } = await detail("n2");
    expect(members.map(({ path, role }) => [path, role])).toEqual([
      [a, "faulty"],
      [b, "active"],
      [c, "active"],
    ]);
    for (const what of ["read -P 0x33 1M 64k", "read -P 0x11 1088k 4032k", "read -P 0x22 40M 1M"])
      await use("n2", what);
    await host.data<ManageData>("n2", "md0", "--remove", a);
    await host.start("n1");
    await host.data("n1", "assemble", "md0", b, c);
    for (const node of ["n1", "n2"]) await host.data(node, "stop", "md0");
    const data = [b, c].map((path) => readFileSync(path).subarray(dataOffsetBytes));
    expect(data[0]?.equals(data[1] ?? Buffer.alloc(0))).toBe(true);
  }, 240_000);
});
