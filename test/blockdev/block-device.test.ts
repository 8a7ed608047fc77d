import { closeSync, ftruncateSync, openSync, readFileSync, truncateSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";
import { blockDeviceConformance, type TestBlockDevice } from "../conformance/block-device.ts";
import type { TestMember } from "../conformance/io-ring.ts";
import { canMakeLoopDevices, fileMember, loopMember, sharedMemoryFolder } from "./test-member.ts";

async function open(member: TestMember): Promise<TestBlockDevice> {
  const device = await openFileDevice(member.path, { readOnly: false });
  return {
    device,
    size: readFileSync(member.path).length / 512,
    async remove() {
      await device.close();
      member.remove();
    },
  };
}

const memory = async (blockSize: number): Promise<TestBlockDevice> => ({
  device: new MemoryDevice("memory", new Uint8Array((1 << 20) + 100), blockSize),
  size: 2048,
  remove: async () => {},
});

blockDeviceConformance("MemoryDevice", () => memory(512));
blockDeviceConformance("MemoryDevice with large blocks", () => memory(4096));
blockDeviceConformance("file", () => open(fileMember()));
describe.skipIf(sharedMemoryFolder === null)("tmpfs", () => {
  blockDeviceConformance("file", () => open(fileMember(sharedMemoryFolder ?? "")));
});
describe.skipIf(!canMakeLoopDevices).each([512, 4096])("block device with blocks of %i bytes", (size) => {
  blockDeviceConformance("loop", () => open(loopMember(size)));

  it("reports the disk's own block size and size", async () => {
    const { device, remove } = await open(loopMember(size));
    expect(device.logicalBlockSize).toBe(size);
    expect(device.size).toBe(4096);
    await remove();
  });
});

describe("openFileDevice", () => {
  it("says what is missing, and what is no device", async () => {
    const openPath = (path: string) => openFileDevice(path, { readOnly: true });
    await expect(openPath("/nowhere/disk")).rejects.toMatchObject({
      code: "E_NO_DEVICE",
      message: /\/nowhere\/disk.*ENOENT/,
    });
    await expect(openPath("/dev/null")).rejects.toMatchObject({ code: "E_NOT_BLOCKDEV" });
    await expect(openPath("/")).rejects.toMatchObject({ code: "E_NOT_BLOCKDEV" });
  });

  it("does not write to what it opened for reading", async () => {
    const member = fileMember();
    const device = await openFileDevice(member.path, { readOnly: true });
    await expect(device.write(sector(8), new Uint8Array(4096))).rejects.toMatchObject({
      code: "E_IO",
      message: `cannot write sector 8 of ${member.path}: EBADF`,
    });
    await device.close();
    member.remove();
  });

  it("reports a device that became shorter as an error, not as old or empty data", async () => {
    const member = fileMember();
    const device = await openFileDevice(member.path, { readOnly: true });
    truncateSync(member.path, 8192);
    await expect(device.read(sector(8), new Uint8Array(8192))).rejects.toMatchObject({ code: "E_IO" });
    await device.close();
    member.remove();
  });

  it("does not count a last partial block", async () => {
    const member = fileMember();
    const fd = openSync(member.path, "r+");
    ftruncateSync(fd, 10_000);
    closeSync(fd);
    const device = await openFileDevice(member.path, { readOnly: true });
    expect(device.size * 512).toBe(Math.floor(10_000 / device.logicalBlockSize) * device.logicalBlockSize);
    await device.close();
    member.remove();
  });
});
