import type { Sector } from "../base/units.ts";
import type { UblkChannel, UblkQueues } from "./ublk/ublk-channel.ts";

/** An open member, as the ring knows it. */
export type DeviceIndex = number;
/** An open socket, as the ring knows it. */
export type SocketIndex = number;
/** What the caller wants back with the completion: an unsigned 32-bit number, its own to interpret. */
export type Tag = number;

/** The write is durable when it completes (RWF_DSYNC). */
export const WRITE_DURABLE = 1;

/** Where to listen. Unix sockets are created with mode 0600. */
export type ListenAddress =
  | { readonly type: "unix"; readonly path: string }
  | { readonly type: "tcp"; readonly host: string; readonly port: number };

/** What a ring needs at birth. */
export interface RingOptions {
  /** Submission entries, a power of two; completions never overflow at twice this many in flight. */
  readonly entries: number;
  /** Bytes of aligned memory that transfers go to and come from. */
  readonly arenaBytes: number;
}

/**
 * The hot path: a batch of operations is submitted, a batch of completions reaped, with one system call. Results are
 * bytes transferred, a new socket index for `accept`, 0, or a negative errno. Transfers may be short: the caller looks.
 *
 * Everything is owned by one thread. Buffers are offsets into `arena`, which is page aligned and never moves; device
 * transfers must be aligned to the device's logical block size. No call allocates, none throws for an IO error: it
 * comes back as a completion. `readonly completedTag/Result` are valid until the next `submitAndReap`.
 */
export interface IoRing {
  readonly kind: "io_uring" | "threads" | "simulated";
  /** Why this kind: features in use, or why io_uring was refused. One line, for people. */
  readonly about: string;
  readonly arena: Uint8Array;

  /**
   * Cold, once. From now on it is asked right before writes to devices (and zeroes) go out, as late as the ring can, and
   * if it says no they come back with -EAGAIN; so they do now and then when it says yes, and are to be written again.
   * Nothing is put off, by the kernel or a thread, to a moment when it could not be asked. A ring that cannot promise that does not have it.
   */
  guardWrites?(mayWrite: () => boolean): void;

  /** Cold. Opens read-write (or read-only), O_DIRECT where the file system has it. Throws MdError E_IO / E_NO_DEVICE. */
  openDevice(path: string, options: { readonly readOnly: boolean }): DeviceIndex;
  /** Cold. Nothing of it may be in flight. */
  closeDevice(device: DeviceIndex): void;
  /** Bytes: alignment of transfers to this device. */
  logicalBlockSize(device: DeviceIndex): number;

  read(device: DeviceIndex, at: Sector, sectors: number, buffer: number, tag: Tag): void;
  /** `flags`: 0 or WRITE_DURABLE. */
  write(device: DeviceIndex, at: Sector, sectors: number, buffer: number, flags: number, tag: Tag): void;
  /** Everything written before is durable when it completes. */
  flush(device: DeviceIndex, tag: Tag): void;
  /**
   * The range reads back as zeros when it completes; `punch` gives the space back where possible. -EOPNOTSUPP (-95)
   * where the device cannot: the caller then writes zeros itself. It may be waited for on the spot: ask for little at once.
   */
  zero(device: DeviceIndex, at: Sector, sectors: number, punch: boolean, tag: Tag): void;

  /** Cold. Throws MdError E_IO (address in use, permission). A stale Unix socket nobody listens on is replaced. */
  listen(address: ListenAddress): SocketIndex;
  /** The port that a listening TCP socket got (for port 0), else 0. */
  portOf(socket: SocketIndex): number;
  /** One connection; completes with its socket index. Nagle is off. */
  accept(listener: SocketIndex, tag: Tag): void;
  /** At most `bytes` bytes, at least one; 0 at the end of the stream. */
  receive(socket: SocketIndex, buffer: number, bytes: number, tag: Tag): void;
  /**
   * Sends what the socket takes without waiting: how many bytes of it, at once and without a completion. 0: none, or the
   * socket is broken; `send` tells. Not while a `send` of this socket is in flight.
   */
  sendNow(socket: SocketIndex, buffer: number, bytes: number): number;
  /** May be short. */
  send(socket: SocketIndex, buffer: number, bytes: number, tag: Tag): void;
  /** Ends the connection or the listening; operations in flight complete with an error or 0. */
  closeSocket(socket: SocketIndex): void;

  /**
   * Cold. The queues of a ublk device, from now on served by this thread, on this ring. Throws MdError E_IO, E_NO_DEVICE,
   * E_PERMISSION, E_DEVICE_BUSY. A ring that is not the kernel's does not have it.
   */
  openUblk?(queues: UblkQueues): UblkChannel;
  /**
   * Keeps a file of this path open and locked until nothing of it is in flight, also when its process has ended by then
   * (io-hold.ts). Absent, or without effect: nobody can tell from outside.
   */
  holdFile?(path: string): void;

  /** From the owning thread, for another: a handle that wakes `submitAndReap` (see `wakeRing`). */
  readonly wakeHandle: WakeHandle;

  /**
   * Submits what is queued and reaps what is complete. `waitMs` < 0 waits until a completion or a wake, 0 does not
   * wait, more waits at most so long; any wait may end early without cause. Returns the number of completions in
   * `completedTag` / `completedResult`; when it is not 0 the owner calls again soon, as queued socket operations
   * may have been left for the next call. Writes to devices (and zeroes) never are: what has not gone out when this
   * returns, or before it is called for the next time, comes back with -EAGAIN. A result of -EINTR (-4) or -EAGAIN
   * (-11) says nothing about the device: try again.
   * A ring that cannot block (`threads`) never waits: see `onReady`. `expected` (1): so many completions are expected
   * soon, and to be woken for each is not worth it; a hint.
   */
  submitAndReap(waitMs: number, expected?: number): number;
  readonly completedTag: Uint32Array;
  readonly completedResult: Int32Array;

  /**
   * Null: the owner runs `for (;;) turn()` and `submitAndReap` blocks. Otherwise the owner sets a listener, returns to
   * its event loop, and runs a turn each time the listener is called (a completion, a wake, or `waitMs` over).
   */
  readonly onReady: { set(listener: () => void): void } | null;

  /** Cold. Everything must be drained, but for `givenUp` transfers that devices still have: the arena stays for them. */
  close(givenUp?: number): void;
}

/** Plain data, so that it may cross to another thread. */
export type WakeHandle = { readonly type: "eventfd"; readonly fd: number } | { readonly type: "none" };
