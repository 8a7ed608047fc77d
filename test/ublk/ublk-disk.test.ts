import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { ControlCommand, DeviceState } from "../../src/blockdev/ublk/uapi.ts";
import { UblkControl } from "../../src/blockdev/ublk/ublk-control.ts";
import { type DiskServer, type DiskWish, endDisk, recoverDisk, startDisk } from "../../src/blockdev/ublk/ublk-disk.ts";
import type { UblkServerOptions } from "../../src/blockdev/ublk/ublk-server.ts";
import { realClock } from "../../src/env/real-env.ts";
import { FakeUblkDriver, forbidden, interrupted } from "../support/fake-ublk-driver.ts";

const { ADD_DEV, SET_PARAMS, START_DEV, STOP_DEV, DEL_DEV, START_USER_RECOVERY, END_USER_RECOVERY } = ControlCommand;
const ALL = 0x7fff;

const wish: DiskWish = {
  ...{ queues: 2, depth: 64, size: sector(2048), blockSize: 512, readOnly: false },
  ...{ arenaBytes: 59 << 20, mark: 0x6d63_0000_0000_0007n },
};

class Server implements DiskServer {
  readonly pid = 4711;
  readonly served: UblkServerOptions[] = [];
  ended = 0;
  refuses: Error | null = null;

  async serve(device: UblkServerOptions): Promise<void> {
    if (this.refuses !== null) throw this.refuses;
    this.served.push(device);
  }

  async end(): Promise<void> {
    this.ended++;
  }
}

async function world(features: number | null = 0x1fe) {
  const driver = new FakeUblkDriver({ features });
  const server = new Server();
  driver.isServed = () => server.served.length > server.ended;
  const control = await UblkControl.open(driver, realClock);
  return { driver, server, control };
}

describe("a ublk disk", () => {
  it("is added, told its limits, served and started, in that order", async () => {
    const { driver, server, control } = await world();
    driver.log.length = 0;
    const disk = await startDisk(control, wish, server);
    expect(driver.log).toEqual([ADD_DEV, SET_PARAMS, START_DEV]);
    expect(disk).toEqual({ id: 0, queues: 2, depth: 64, readOnly: false, size: 2048, isRecoverable: true });
    expect(server.served).toEqual([
      { path: "/dev/ublkc0", queues: 2, depth: 64, encoded: true, bufferBytes: 256 << 10, readOnly: false },
    ]);
    expect(driver.devices.get(0)?.info).toMatchObject({ state: DeviceState.LIVE, serverPid: 4711, mark: wish.mark });
  });

  it("goes without a trace: stopped, let go, deleted", async () => {
    const { driver, server, control } = await world();
    const { id } = await startDisk(control, wish, server);
    driver.log.length = 0;
    await endDisk(control, id, server);
    expect(driver.log).toEqual([STOP_DEV, DEL_DEV]);
    expect(server.ended).toBe(1);
    expect(driver.devices.size).toBe(0);
  });

  it("leaves nothing behind when it cannot be started", async () => {
    const { driver, server, control } = await world();
    driver.failures.set(START_DEV, -22);
    await expect(startDisk(control, wish, server)).rejects.toThrow("cannot start /dev/ublkc0: EINVAL");
    expect(server.ended).toBe(1);
    server.refuses = new Error("no ring");
    await expect(startDisk(control, wish, server)).rejects.toThrow("no ring");
    expect(server.ended).toBe(1);
    expect(driver.devices.size).toBe(0);
  });

  it("is refused with the kernel's reason, and before the kernel is asked where the wish is wrong", async () => {
    const { driver, server, control } = await world();
    driver.failures.set(ADD_DEV, forbidden);
    await expect(startDisk(control, wish, server)).rejects.toMatchObject({ code: "E_PERMISSION" });
    driver.log.length = 0;
    await expect(startDisk(control, { ...wish, queues: 17 }, server)).rejects.toMatchObject({ code: "E_VALUE" });
    await expect(startDisk(control, { ...wish, depth: 4096 }, server)).rejects.toMatchObject({ code: "E_VALUE" });
    expect(driver.log).toEqual([]);
  });

  it("gives interrupted commands again", async () => {
    const { driver, server, control } = await world();
    driver.failures.set(START_DEV, interrupted);
    await startDisk(control, wish, server);
    expect(driver.log.filter((command) => command === START_DEV).length).toBe(2);
  });

  it("works with bare numbers where the kernel knows no others", async () => {
    const { driver, server, control } = await world(null);
    expect(control.encoded).toBe(false);
    await startDisk(control, wish, server);
    expect(server.served[0]).toMatchObject({ encoded: false });
    expect(driver.devices.get(0)?.info.state).toBe(DeviceState.LIVE);
  });
});

describe("a ublk disk whose server died", () => {
  const now = { size: wish.size, blockSize: 512, readOnly: false, arenaBytes: wish.arenaBytes };

  async function orphaned(features = 0x1fe, busyFor = 0) {
    const made = await world(features);
    await startDisk(made.control, wish, made.server);
    made.driver.orphan(0, busyFor);
    made.server.served.length = 0;
    made.driver.log.length = 0;
    const found = await made.control.info(0);
    if (found === null) throw new Error("it is gone");
    return { ...made, found };
  }

  it("goes on with the queues, depth and buffers that it had, and is neither added nor told limits again", async () => {
    const { driver, server, control, found } = await orphaned(0x1fe, 3);
    const disk = await recoverDisk(control, found, now, server);
    expect(disk).toMatchObject({ id: 0, queues: 2, depth: 64, size: 2048 });
    expect(server.served).toMatchObject([{ queues: 2, depth: 64, bufferBytes: 256 << 10 }]);
    // The old server was not quite gone: asked again until it was.
    expect(driver.log.filter((command) => command === START_USER_RECOVERY).length).toBe(4);
    expect(driver.log.at(-1)).toBe(END_USER_RECOVERY);
    expect(driver.log).not.toContain(ADD_DEV);
    expect(driver.log).not.toContain(SET_PARAMS);
    expect(driver.devices.get(0)?.info).toMatchObject({ state: DeviceState.LIVE, serverPid: 4711 });
  });

  it.each([
    ["smaller than it", { size: sector(2040) }, "the array 2040"],
    ["of larger blocks", { blockSize: 4096 }, "the array's 4096"],
    ["read-only", { readOnly: true }, "read-only here"],
    ["of less memory", { arenaBytes: 16 << 20 }, "its buffers take"],
  ])("is not served by an array that is %s", async (_what, change, why) => {
    const { driver, server, control, found } = await orphaned();
    const refused = recoverDisk(control, found, { ...now, ...change }, server);
    await expect(refused).rejects.toMatchObject({ code: "E_VALUE", why: expect.stringContaining(why) });
    expect(driver.log).not.toContain(START_USER_RECOVERY);
    expect(driver.devices.get(0)?.info.state).toBe(DeviceState.QUIESCED);
  });

  it.each([
    [ALL, 4096],
    [0x1fe, 2048],
  ])("is as large as an array that has grown, where the kernel can do that (features %i)", async (features, size) => {
    const { driver, server, control, found } = await orphaned(features);
    const disk = await recoverDisk(control, found, { ...now, size: sector(4096) }, server);
    expect(disk.size).toBe(size);
    expect(driver.devices.get(0)?.params?.sizeSectors).toBe(size);
  });
});
