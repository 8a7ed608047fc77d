import { s32le, struct, u8, u16le, u32le, u64, u64le } from "../../base/struct.ts";

/** struct ublksrv_ctrl_cmd: what a command says besides its number. */
export const controlHeader = struct("ublksrv_ctrl_cmd", 32, {
  deviceId: u32le(0),
  queueId: u16le(4),
  /** Bytes at `address`. */
  length: u16le(6),
  address: u64le(8),
  data: u64le(16),
  /** Of the char device's path at the start of the buffer, with its NUL. */
  pathLength: u16le(24),
});

/** struct ublksrv_ctrl_dev_info. */
export const deviceInfo = struct("ublksrv_ctrl_dev_info", 64, {
  queues: u16le(0),
  depth: u16le(2),
  state: u16le(4),
  maxIoBytes: u32le(8),
  deviceId: u32le(12),
  serverPid: s32le(16),
  /** UBLK_F_*: wanted, and as an answer granted. */
  flags: u64le(24),
  /** Ours: the driver keeps it and gives it back. */
  mark: u64(32),
  ownerUid: u32le(40),
  ownerGid: u32le(44),
});

export type DeviceInfo = ReturnType<typeof deviceInfo.decode>;

/** The first 60 bytes of struct ublk_params: header, basic, discard. Shifts are powers of two, in bytes; sizes in sectors. */
export const deviceParams = struct("ublk_params", 60, {
  length: u32le(0),
  types: u32le(4),
  attributes: u32le(8),
  logicalShift: u8(12),
  physicalShift: u8(13),
  ioOptShift: u8(14),
  ioMinShift: u8(15),
  maxSectors: u32le(16),
  chunkSectors: u32le(20),
  sizeSectors: u64le(24),
  virtualBoundary: u64le(32),
  discardAlignment: u32le(40),
  discardGranularity: u32le(44),
  maxDiscardSectors: u32le(48),
  maxZeroSectors: u32le(52),
  maxDiscardSegments: u16le(56),
});

export type DeviceParams = ReturnType<typeof deviceParams.decode>;
