import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { bufferBytesFor, diskParams } from "../../src/blockdev/ublk/disk-params.ts";
import { controlHeader, deviceInfo, deviceParams } from "../../src/blockdev/ublk/structs.ts";
import {
  ControlCommand,
  controlOpcode,
  descriptorArea,
  QueueCommand,
  queueOpcode,
} from "../../src/blockdev/ublk/uapi.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Sizes, offsets and numbers as a C program over <linux/ublk_cmd.h> prints them. */
describe("the ublk interface as bytes", () => {
  it("numbers of control commands", () => {
    const { GET_DEV_INFO, ADD_DEV, STOP_DEV, GET_FEATURES, UPDATE_SIZE, END_USER_RECOVERY } = ControlCommand;
    const encoded = [GET_DEV_INFO, ADD_DEV, STOP_DEV, GET_FEATURES, UPDATE_SIZE, END_USER_RECOVERY].map((nr) =>
      controlOpcode(nr, true).toString(16),
    );
    expect(encoded).toEqual(["80207502", "c0207504", "c0207507", "80207513", "c0207515", "c0207511"]);
    expect(controlOpcode(ADD_DEV, false)).toBe(4);
  });

  it("numbers of queue commands", () => {
    expect(queueOpcode(QueueCommand.FETCH, true)).toBe(0xc0107520);
    expect(queueOpcode(QueueCommand.COMMIT_AND_FETCH, true)).toBe(0xc0107521);
    expect(queueOpcode(QueueCommand.COMMIT_AND_FETCH, false)).toBe(0x21);
  });

  it("struct ublksrv_ctrl_cmd", () => {
    const header = {
      deviceId: 0x01020304,
      queueId: 0xffff,
      length: 64,
      address: 0x7f0011223344,
      data: 5,
      pathLength: 13,
    };
    expect(hex(controlHeader.encode(header))).toBe("04030201ffff400044332211007f000005000000000000000d00000000000000");
  });

  it("struct ublksrv_ctrl_dev_info", () => {
    const bytes = Buffer.alloc(64);
    bytes.writeUInt16LE(2, 0);
    bytes.writeUInt16LE(128, 2);
    bytes.writeUInt16LE(2, 4);
    bytes.writeUInt32LE(524_288, 8);
    bytes.writeUInt32LE(7, 12);
    bytes.writeInt32LE(-1, 16);
    bytes.writeBigUInt64LE(0x5en, 24);
    bytes.writeBigUInt64LE(0x6d63_0000_0000_0001n, 32);
    bytes.writeUInt32LE(1000, 40);
    bytes.writeUInt32LE(1001, 44);
    const info = deviceInfo.decode(bytes);
    expect(info).toEqual({
      ...{ queues: 2, depth: 128, state: 2, maxIoBytes: 524_288, deviceId: 7, serverPid: -1, flags: 0x5e },
      ...{ mark: 0x6d63_0000_0000_0001n, ownerUid: 1000, ownerGid: 1001 },
    });
    expect(hex(deviceInfo.encode(info))).toBe(bytes.toString("hex"));
  });

  it("struct ublk_params of a disk", () => {
    const params = diskParams({ size: sector(1001), blockSize: 4096, bufferBytes: 262_144, readOnly: true });
    const bytes = Buffer.from(deviceParams.encode(params));
    expect(bytes.length).toBe(60);
    expect([bytes.readUInt32LE(0), bytes.readUInt32LE(4), bytes.readUInt32LE(8)]).toEqual([60, 3, 1 | 4 | 8]);
    expect([...bytes.subarray(12, 16)]).toEqual([12, 12, 12, 12]);
    expect([bytes.readUInt32LE(16), bytes.readUInt32LE(20)]).toEqual([512, 0]);
    // A tail that is no whole block cannot be reached.
    expect(bytes.readBigUInt64LE(24)).toBe(1000n);
    expect([44, 48, 52].map((at) => bytes.readUInt32LE(at))).toEqual([4096, 524_288, 524_288]);
    expect(bytes.readUInt16LE(56)).toBe(1);
  });

  it("where a queue's descriptors are", () => {
    expect(descriptorArea(0, 128, 4096)).toEqual({ offset: 0, bytes: 4096 });
    expect(descriptorArea(3, 171, 4096)).toEqual({ offset: 3 * 0x18000, bytes: 8192 });
    expect(descriptorArea(1, 128, 65_536)).toEqual({ offset: 131_072, bytes: 65_536 });
  });

  it("as large a buffer as there is room for, up to half a megabyte", () => {
    expect(bufferBytesFor(64 << 20, 128)).toBe(512 << 10);
    expect(bufferBytesFor(59 << 20, 128)).toBe(256 << 10);
    expect(bufferBytesFor(59 << 20, 3000)).toBe(16 << 10);
    expect(bufferBytesFor(59 << 20, 4096)).toBe(null);
  });
});
