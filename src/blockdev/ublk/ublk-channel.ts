import type { Tag } from "../io-ring.ts";

/** Which queues of which device. */
export interface UblkQueues {
  /** The char device. */
  readonly path: string;
  readonly queues: number;
  readonly depth: number;
  /** Opcodes as `ioctl` encodes them; kernels before 6.4 know bare numbers only. */
  readonly encoded: boolean;
}

/**
 * The queues of a ublk device, served by one thread. Each tag of each queue is either the kernel's (a command of it is
 * pending) or ours (its descriptor says what is asked).
 */
export interface UblkChannel {
  /** Words of `struct ublksrv_io_desc` by tag, one array a queue. Valid from a completion of the tag to its commit. */
  readonly descriptors: readonly Uint32Array[];
  /** Once per tag: waits for the first request. `buffer`: arena offset of what is written or read, `bytes` long. */
  fetch(queue: number, tag: number, buffer: number, bytes: number, ringTag: Tag): void;
  /** Ends the request: bytes transferred, 0 or a negative errno; waits for the next one. */
  commit(queue: number, tag: number, result: number, buffer: number, bytes: number, ringTag: Tag): void;
  /** Cold. What is pending then ends with the ring. */
  close(): void;
}
