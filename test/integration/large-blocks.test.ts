import { afterEach, describe, expect, it } from "vitest";
import { firstDifference } from "../../src/cli/demo/compare-members.ts";
import type { ArrayInfo, CreateData, ManageData, Mapping } from "../../src/daemon/control-api.ts";
import { Host, runProgram } from "../support/daemons.ts";
import { attachLoop, detachLoop, haveLoopDevices } from "../support/loop-device.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 48 * MIB;
const CREATE = ["--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members", "--run"];
const LOAD = ["--iodepth=16", "--bsrange=4k-64k", "--size=16m", "--verify=crc32c", "--verify_fatal=1"];

describe.runIf(haveLoopDevices())("members with blocks of 4096 bytes", () => {
  let host: Host;
  const loops: string[] = [];
  afterEach(async () => {
    await host.end("n1", "SIGTERM");
    for (const device of loops.splice(0)) detachLoop(device);
    await host.close();
  });

  const file = (name: string): string => host.memberFile(name, MEMBER_BYTES);
  const disk = (name: string): string => {
    const device = attachLoop(file(name), 4096);
    loops.push(device);
    return device;
  };
  const uriOf = async (array: string): Promise<string> =>
    (await host.data<{ mapping: Mapping }>("n1", "map", array)).mapping.uri;
  const detail = async (array: string): Promise<ArrayInfo> =>
    (await host.data<{ array: ArrayInfo }>("n1", "detail", array)).array;
  const blockSize = async (uri: string): Promise<number> => {
    const { stdout } = await runProgram("nbdinfo", ["--json", uri]);
    return (JSON.parse(stdout) as { exports: { block_size_minimum: number }[] }).exports[0]?.block_size_minimum ?? 0;
  };
  const load = (uri: string) =>
    runProgram("fio", [
      "--name=load",
      "--ioengine=nbd",
      `--uri=${uri}`,
      "--rw=randrw",
      ...LOAD,
      "--verify_state_save=0",
    ]);

  it("alone and beside others: the export says so, resync and recovery copy whole blocks", {
    timeout: 180_000,
  }, async () => {
    host = new Host({ lease: "10s" });
    await host.start("n1");
    const [large, alike, small] = [disk("a.img"), disk("b.img"), file("c.img")];
    await host.data<CreateData>("n1", "create", "md0", ...CREATE, large, small);
    const uri = await uriOf("md0");
    expect(await blockSize(uri)).toBe(4096);
    // Beside the resync, which is to have windows of any size then.
    expect(await load(uri)).toMatchObject({ exitCode: 0 });
    await host.data("n1", "wait", "md0");
    await host.data<ManageData>("n1", "md0", "--fail", small, "--remove", small, "--add", alike);
    await host.data("n1", "wait", "md0");
    const { members, degradedBy, dataOffsetBytes, sizeBytes } = await detail("md0");
    expect(degradedBy).toBe(0);
    const none = { read: 0, write: 0, corrected: 0 };
    expect(members.map(({ errors }) => errors)).toMatchObject([none, none]);
    await host.data("n1", "stop", "md0");
    const areas = [large, alike].map((path) => ({ path, dataOffsetBytes }));
    expect(await firstDifference(areas, sizeBytes)).toBeNull();
    for (const path of [large, alike]) {
      expect((await runProgram("mdadm", ["--examine", path])).stdout).toMatch(/State : clean|State : active/);
      expect((await runProgram("mdadm", ["--examine-bitmap", path])).stdout).toContain("6d746962");
    }
  });

  it("are refused where the array has smaller ones, or would not end between two of them", async () => {
    host = new Host({ lease: "10s" });
    await host.start("n1");
    const large = disk("a.img");
    await host.data<CreateData>("n1", "create", "md0", ...CREATE, "--assume-clean", file("b.img"), file("c.img"));
    expect(await blockSize(await uriOf("md0"))).toBe(512);
    const added = await host.json<ManageData>("n1", "md0", "--add", large);
    expect(added.error?.message).toMatch(/blocks of 4096 bytes/);
    const odd = await host.json<CreateData>("n1", "create", "md1", ...CREATE, "--size=20481K", large, file("d.img"));
    expect(odd.error?.message).toMatch(/blocks of 4096 bytes, and 20481 KiB are not whole ones/);
    expect((await runProgram("mdadm", ["--examine", large])).stdout).not.toContain("Magic");
  });
});
