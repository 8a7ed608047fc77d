/** Numbers of the kernel's io_uring interface (include/uapi/linux/io_uring.h), the same on every architecture we run on. */

export const Opcode = {
  NOP: 0,
  FSYNC: 3,
  READ_FIXED: 4,
  WRITE_FIXED: 5,
  ACCEPT: 13,
  READ: 22,
  WRITE: 23,
  SEND: 26,
  RECV: 27,
  URING_CMD: 46,
} as const;

export const SetupFlag = {
  CQSIZE: 1 << 3,
  CLAMP: 1 << 4,
  SUBMIT_ALL: 1 << 7,
  COOP_TASKRUN: 1 << 8,
  TASKRUN_FLAG: 1 << 9,
  SQE128: 1 << 10,
  SINGLE_ISSUER: 1 << 12,
  DEFER_TASKRUN: 1 << 13,
} as const;

export const Feature = {
  SINGLE_MMAP: 1 << 0,
  NODROP: 1 << 1,
  FAST_POLL: 1 << 5,
  EXT_ARG: 1 << 8,
  MIN_TIMEOUT: 1 << 15,
} as const;

export const EnterFlag = { GETEVENTS: 1, EXT_ARG: 8 } as const;

/** Bits of the word `flags` that the kernel keeps in the SQ ring. */
export const SqFlag = { CQ_OVERFLOW: 1 << 1, TASKRUN: 1 << 2 } as const;

export const RegisterOp = { BUFFERS: 0, FILES_UPDATE: 6, FILES2: 13 } as const;

/** Of `struct io_uring_rsrc_register`: an empty table, filled in later. */
export const REGISTER_SPARSE = 1;

export const SQE_FIXED_FILE = 1;
export const FSYNC_DATASYNC = 1;
/** This write is durable when it completes. */
export const RWF_DSYNC = 2;
export const MSG_DONTWAIT = 0x40;
/** Come back with -EAGAIN instead of waiting. */
export const RWF_NOWAIT = 8;
export const MSG_NOSIGNAL = 0x4000;
export const SOCK_CLOEXEC = 0x80000;

/** Of `fallocate`. */
export const PUNCH_HOLE_KEEP_SIZE = 3;
export const ZERO_RANGE_KEEP_SIZE = 0x11;

/** Offsets for `mmap` on the ring's fd. */
export const OFF_RINGS = 0;
export const OFF_SQES = 0x10000000;

export const PARAMS_BYTES = 120;
export const SQE_BYTES = 64;
/** With SQE128. */
export const WIDE_SQE_BYTES = 128;
export const CQE_BYTES = 16;
/** `struct io_uring_getevents_arg`: min_wait_usec is at byte 12, the timespec's address at byte 16. */
export const GETEVENTS_ARG_BYTES = 24;

export const Prot = { READ: 1, READ_WRITE: 3 } as const;
export const MapFlag = { SHARED: 1, PRIVATE: 2, ANONYMOUS: 0x20, POPULATE: 0x8000 } as const;
/** Of `prctl`: this thread writes what memory is freed for, so it must not wait for that itself. */
export const PR_SET_IO_FLUSHER = 57;

export const Madvise = { DONTFORK: 10, HUGEPAGE: 14, POPULATE_WRITE: 23 } as const;
