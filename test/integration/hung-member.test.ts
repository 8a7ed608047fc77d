import { truncateSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { firstDifference } from "../../src/cli/demo/compare-members.ts";
import type { ArrayInfo, CreateData, ManageData, Mapping } from "../../src/daemon/control-api.ts";
import { Host, runProgram } from "../support/daemons.ts";
import { haveLoopDevices } from "../support/loop-device.ts";
import { StallingDevice } from "../support/stalling-device.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 64 * MIB;
const POLL_MS = 50;
const TIMES = ["--io-timeout=2s", "--slow-io=500ms"];

describe.runIf(haveLoopDevices())("F17: a member whose device stops answering", () => {
  let host: Host;
  let device: StallingDevice | null = null;
  afterEach(async () => {
    device?.goOn();
    await host.end("n1", "SIGTERM");
    await device?.close();
    device = null;
    await host.close();
  });

  const detail = async (): Promise<ArrayInfo> => (await host.data<{ array: ArrayInfo }>("n1", "detail", "md0")).array;
  const fio = (uri: string, ...options: readonly string[]) =>
    runProgram("fio", [
      ...["--name=load", "--ioengine=nbd", `--uri=${uri}`, "--iodepth=16", "--bsrange=4k-64k", "--size=32m"],
      ...["--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", ...options],
    ]);

  it("costs its clients the timeout and no data, and comes back when it has answered", {
    timeout: 240_000,
  }, async () => {
    host = new Host({ lease: "10s", daemonOptions: TIMES });
    const [good, backing] = [host.memberFile("a.img", MEMBER_BYTES), host.path("backing.img")];
    writeFileSync(backing, "");
    truncateSync(backing, MEMBER_BYTES);
    device = await StallingDevice.open(backing, host.path("served.img"));
    const stalling = device;
    await host.start("n1");
    const create = [
      "create",
      "md0",
      "--level=1",
      "--cluster",
      "--bitmap-chunk=64K",
      "--file-members",
      "--assume-clean",
    ];
    const { array } = await host.data<CreateData>("n1", ...create, "--run", good, stalling.path);
    const { uri } = (await host.data<{ mapping: Mapping }>("n1", "map", "md0")).mapping;
    expect(await fio(uri, "--rw=write")).toMatchObject({ exitCode: 0 });

    // In the middle of a load: reads go elsewhere, writes wait for the timeout, and all is as it was written.
    const load = fio(uri, "--rw=randrw", "--verify_backlog=64", "--io_size=96m");
    const busy = async (): Promise<boolean> => (await detail()).bitmap?.unionDirty !== 0;
    while (!(await busy())) await pause(POLL_MS);
    stalling.stall();
    const { exitCode, stdout, stderr } = await load;
    expect(exitCode, `${stdout}${stderr}`).toBe(0);
    const failed = await host.event("n1", ({ event, text }) => event === "ERROR" && text.includes("no answer for 2 s"));
    expect(failed.text).toContain("no answer");
    const { members, degradedBy } = await detail();
    expect([degradedBy, members.find(({ path }) => path === stalling.path)?.role]).toEqual([1, "faulty"]);

    // What it was given may still land: nobody takes it back yet.
    await host.data<ManageData>("n1", "md0", "--remove", stalling.path);
    const early = await host.json<ManageData>("n1", "re-add", "md0", stalling.path);
    expect(early.error?.message).toMatch(/cannot be used|has not answered/);
    expect(await fio(uri, "--rw=randrw", "--io_size=16m")).toMatchObject({ exitCode: 0 });

    stalling.goOn();
    const comesBack = async (): Promise<boolean> =>
      (await host.json<ManageData>("n1", "re-add", "md0", stalling.path)).error === null;
    while (!(await comesBack())) await pause(POLL_MS);
    await host.data("n1", "wait", "md0");
    expect((await detail()).degradedBy).toBe(0);
    await host.data("n1", "stop", "md0");
    const { dataOffsetBytes = 0, sizeBytes = 0 } = array ?? {};
    const areas = [good, stalling.path].map((path) => ({ path, dataOffsetBytes }));
    expect(await firstDifference(areas, sizeBytes), "first byte at which the mirrors differ").toBeNull();
  });
});
