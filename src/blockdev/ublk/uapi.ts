/** Numbers of the kernel's ublk interface (include/uapi/linux/ublk_cmd.h). */

/** Of /dev/ublk-control. The low byte of the encoded opcode, and before 6.4 all of it. */
export const ControlCommand = {
  GET_DEV_INFO: 0x02,
  ADD_DEV: 0x04,
  DEL_DEV: 0x05,
  START_DEV: 0x06,
  STOP_DEV: 0x07,
  SET_PARAMS: 0x08,
  GET_PARAMS: 0x09,
  START_USER_RECOVERY: 0x10,
  END_USER_RECOVERY: 0x11,
  GET_DEV_INFO2: 0x12,
  GET_FEATURES: 0x13,
  UPDATE_SIZE: 0x15,
  TRY_STOP_DEV: 0x17,
} as const;
export type ControlCommand = (typeof ControlCommand)[keyof typeof ControlCommand];

const reads: ReadonlySet<ControlCommand> = new Set([
  ControlCommand.GET_DEV_INFO,
  ControlCommand.GET_PARAMS,
  ControlCommand.GET_DEV_INFO2,
  ControlCommand.GET_FEATURES,
]);

/** `_IOR` or `_IOWR` of 'u', the number and struct ublksrv_ctrl_cmd. */
export const controlOpcode = (command: ControlCommand, encoded: boolean): number =>
  encoded ? ((reads.has(command) ? 0x80207500 : 0xc0207500) | command) >>> 0 : command;

/** Of /dev/ublkcN. */
export const QueueCommand = { FETCH: 0x20, COMMIT_AND_FETCH: 0x21 } as const;

/** `_IOWR` of 'u', the number and struct ublksrv_io_cmd. */
export const queueOpcode = (command: number, encoded: boolean): number =>
  encoded ? (0xc0107500 | command) >>> 0 : command;

/** What a FETCH or COMMIT ends with when the device stops: the tag is not to be fetched again. */
export const ABORTED = -19;

/** Any id; the answer says which. */
export const ANY_DEVICE = 0xffffffff;
export const NO_QUEUE = 0xffff;

export const UblkFeature = {
  USER_RECOVERY: 1 << 3,
  USER_RECOVERY_REISSUE: 1 << 4,
  UNPRIVILEGED_DEV: 1 << 5,
  CMD_IOCTL_ENCODE: 1 << 6,
  UPDATE_SIZE: 1 << 10,
  SAFE_STOP_DEV: 1 << 17,
} as const;

/** dev_info.state. QUIESCED: its server is gone, and requests wait for another. FAIL_IO: and they fail meanwhile. */
export const DeviceState = { DEAD: 0, LIVE: 1, QUIESCED: 2, FAIL_IO: 3 } as const;

export const ParamType = { BASIC: 1, DISCARD: 2 } as const;
export const ParamAttribute = { READ_ONLY: 1, ROTATIONAL: 2, VOLATILE_CACHE: 4, FUA: 8 } as const;

/** The low 8 bits of an io descriptor's first word. */
export const IoOp = { READ: 0, WRITE: 1, FLUSH: 2, DISCARD: 3, WRITE_ZEROES: 5 } as const;
/** The bits above, where they are. */
export const IoFlag = { FUA: 1 << 13, NOUNMAP: 1 << 15 } as const;

/** struct ublksrv_io_desc: op and flags, sectors, first sector (2), address (2). */
export const DESCRIPTOR_WORDS = 6;
export const DESCRIPTOR_BYTES = 24;
/** Descriptors of the next queue begin where those of a queue as deep as any would end. */
export const MAX_DEPTH = 4096;
/** Of ours. The kernel has room for 4096, and as many as there are CPUs. */
export const MAX_QUEUES = 16;

/** File offset and bytes of queue `queue`'s descriptors in /dev/ublkcN. */
export function descriptorArea(
  queue: number,
  depth: number,
  page: number,
): { readonly offset: number; readonly bytes: number } {
  const pages = (bytes: number): number => Math.ceil(bytes / page) * page;
  return { offset: queue * pages(MAX_DEPTH * DESCRIPTOR_BYTES), bytes: pages(depth * DESCRIPTOR_BYTES) };
}
