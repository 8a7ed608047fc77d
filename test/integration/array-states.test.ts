import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import type { ArrayInfo, CreateData, Mapping } from "../../src/daemon/control-api.ts";
import { Host } from "../support/daemons.ts";
import { tempDir } from "../support/temp-dir.ts";

const MIB = 1024 * 1024;
const POLL_MS = 20;
const BLOCK = Buffer.alloc(4096, 0x5a);

describe("an array of one node, without a bitmap", () => {
  const folder = tempDir("config");
  let host: Host;
  let members: readonly string[];

  /** With equal members, and this in the daemon's configuration file. */
  async function create(config: string): Promise<void> {
    const file = join(folder.path, "mdctl.conf");
    writeFileSync(file, config, { mode: 0o600 });
    host = new Host({ daemonOptions: [`--config=${file}`] });
    await host.start("n1");
    members = [0, 1].map((i) => host.memberFile(`d${i}.img`, 6 * MIB));
    const options = ["--level=1", "--bitmap=none", "--assume-clean", "--file-members"];
    await host.data<CreateData>("n1", "create", "md0", ...options, ...members);
  }

  const detail = async (): Promise<ArrayInfo> => (await host.data<{ array: ArrayInfo }>("n1", "detail", "md0")).array;

  async function until(state: ArrayInfo["state"]): Promise<void> {
    while ((await detail()).state !== state) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }

  async function write(): Promise<void> {
    const { mapping } = await host.data<{ mapping: Mapping }>("n1", "map", "md0");
    const client = await NbdClient.connect(mapping.uri);
    try {
      await client.write(0, BLOCK);
    } finally {
      await client.close();
    }
  }

  /** The daemon dies and comes again; bytes that are copied then. */
  async function afterDeath(): Promise<number> {
    await host.end("n1", "SIGKILL");
    await host.start("n1");
    await host.data("n1", "assemble", "md0", "--file-members", ...members);
    await host.data("n1", "wait", "md0");
    return (await detail()).copiedBytes;
  }

  afterEach(() => host.close());

  it("is clean again when it is not written to: a death then costs no resync; readonly and read-auto as it is told", async () => {
    await create("");
    expect((await detail()).state).toBe("clean");
    await write();
    await until("clean");
    expect((await host.run("n1", "detail", "md0")).stdout).toMatch(/State : clean$/m);
    expect(await afterDeath()).toBe(0);

    const refused = await host.json("n1", "readonly", "md0");
    expect(refused).toMatchObject({ exitCode: 6, error: { code: "E_HELD", hint: "mdctl unmap md0" } });
    await host.data("n1", "unmap", "md0");
    await host.data("n1", "readonly", "md0");
    expect((await detail()).state).toBe("readonly");
    expect((await host.run("n1", "mdstat")).stdout).toContain("md0 : active (read-only) raid1");
    await expect(write()).rejects.toThrow();

    await host.data("n1", "unmap", "md0");
    await host.data("n1", "readonly", "--auto", "md0");
    expect((await host.run("n1", "mdstat")).stdout).toContain("md0 : active (auto-read-only) raid1");
    await write();
    await until("clean");
  });

  it("that is active when its daemon dies is resynced; SYSFS lines hold for it alone", async () => {
    await create(
      "SYNC speed-min=2M\nSYSFS name=md0 safe_mode_delay=0 sync_speed_max=50000\nSYSFS name=md1 sync_speed_max=1\n",
    );
    const { safeModeDelaySeconds, sync } = await detail();
    expect([safeModeDelaySeconds, sync.limitBytesPerSecond, sync.leastBytesPerSecond]).toEqual([
      0,
      51_200_000,
      2 * MIB,
    ]);
    await write();
    expect((await detail()).state).toBe("active");
    expect(await afterDeath()).toBe((await detail()).sizeBytes);
    await host.data("n1", "action", "md0", "--limit=max", "--limit-min=1M");
    expect((await detail()).sync).toMatchObject({ limitBytesPerSecond: null, leastBytesPerSecond: MIB });
  });
});
