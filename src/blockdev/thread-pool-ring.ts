import { closeSync, constants, fdatasync, openSync, read, write } from "node:fs";
import { assert } from "../base/assert.ts";
import { bytesOf, SECTOR_SIZE, type Sector } from "../base/units.ts";
import type { Timer } from "../env/clock.ts";
import { realClock } from "../env/real-env.ts";
import { CompletionList } from "./completion-list.ts";
import { Errno } from "./errno.ts";
import { ioError } from "./io-error.ts";
import type { DeviceIndex, IoRing, ListenAddress, RingOptions, SocketIndex, Tag, WakeHandle } from "./io-ring.ts";
import { WRITE_DURABLE } from "./io-ring.ts";
import { NetSockets } from "./net-sockets.ts";
import { holds, type OpenMember, openMember } from "./open-member.ts";
import type { Libc } from "./uring/libc.ts";
import { type MappedMemory, mapMemory } from "./uring/mapped-memory.ts";

/** libuv's own choice. */
const LIBUV_THREADS = 4;
const MOST_LIBUV_THREADS = 1024;

interface QueuedOperation {
  readonly isWrite: boolean;
  readonly tag: Tag;
  readonly start: () => void;
}

interface Device {
  readonly member: OpenMember;
  /** The same file opened with O_DSYNC: what is written through it is durable when the write returns. */
  readonly durableFd: number;
}

/** As libuv reads it. */
function poolSize(): number {
  const text = process.env["UV_THREADPOOL_SIZE"];
  return text === undefined ? LIBUV_THREADS : Math.min(Math.max(Number.parseInt(text, 10) || 1, 1), MOST_LIBUV_THREADS);
}

/**
 * The same ring for machines that refuse io_uring: Node's thread pool (UV_THREADPOOL_SIZE threads, 4 unless set) and
 * Node's sockets. Operations start at once, as many as there are threads: more would wait in a queue of the pool, where a
 * write might outlive the lease under which it was submitted. What finds no thread waits here; a read until there is one,
 * a write until its turn is over: then it comes back with -EAGAIN, as soon as there is a thread for it, and its owner
 * looks at the lease again. (The pool is the whole process's: rings of several arrays may still wait for each other's
 * transfers.) It cannot block; the owner's event loop must turn, and runs a turn each
 * time the listener of `onReady` is called: after a completion, after `waitMs`, and after each turn that reaped any.
 */
export class ThreadPoolRing implements IoRing {
  readonly kind = "threads";
  readonly arena: Uint8Array;
  readonly wakeHandle: WakeHandle = { type: "none" };
  readonly completedTag: Uint32Array;
  readonly completedResult: Int32Array;
  readonly onReady = {
    set: (listener: () => void): void => {
      this.#listener = listener;
      this.#callListener();
    },
  };

  readonly #reason: string;
  readonly #threads = poolSize();
  readonly #notes: string[] = [];
  readonly #memory: MappedMemory | null;
  readonly #devices: (Device | undefined)[] = [];
  readonly #sockets: NetSockets;
  readonly #completions = new CompletionList();
  /** Device operations that Node has, and those that wait for a thread, in order. */
  #running = 0;
  readonly #queue: QueuedOperation[] = [];
  /** Threads kept for writes that were sent back in this turn. */
  #reserved = 0;
  #listener: (() => void) | null = null;
  #scheduled = false;
  #timer: Timer | null = null;

  /** `reason`: why io_uring is not used, one line. Without `libc` devices cannot use O_DIRECT, and nothing can listen. */
  constructor(libc: Libc | string, options: RingOptions, reason: string) {
    const memory = typeof libc === "string" ? null : mapMemory(libc, options.arenaBytes);
    this.#memory = typeof memory === "number" ? null : memory;
    this.arena = this.#memory?.bytes ?? new Uint8Array(options.arenaBytes);
    this.completedTag = new Uint32Array(options.entries * 4);
    this.completedResult = new Int32Array(options.entries * 4);
    this.#reason = reason;
    this.#sockets = new NetSockets(libc, this.arena, (tag, result) => this.#complete(tag, result));
  }

  get about(): string {
    return [`${this.#threads} threads of Node's pool (io_uring: ${this.#reason})`, ...this.#notes].join(", ");
  }

  openDevice(path: string, options: { readonly readOnly: boolean }): DeviceIndex {
    const member = openMember(path, { readOnly: options.readOnly, aligned: this.#memory?.bytes ?? null });
    let durableFd: number;
    try {
      const mode = options.readOnly ? constants.O_RDONLY : constants.O_RDWR | constants.O_DSYNC;
      // By way of the open descriptor: the path may have come to mean another file.
      durableFd = openSync(`/proc/self/fd/${member.fd}`, mode | (member.direct ? constants.O_DIRECT : 0));
    } catch (error) {
      closeSync(member.fd);
      throw ioError("open", path, error);
    }
    if (!member.direct) this.#notes.push(`${path} without O_DIRECT`);
    let index = 0;
    while (this.#devices[index] !== undefined) index++;
    this.#devices[index] = { member, durableFd };
    return index;
  }

  closeDevice(device: DeviceIndex): void {
    const { member, durableFd } = this.#device(device);
    this.#devices[device] = undefined;
    closeSync(durableFd);
    closeSync(member.fd);
  }

  logicalBlockSize(device: DeviceIndex): number {
    return this.#device(device).member.logicalBlockSize;
  }

  read(device: DeviceIndex, at: Sector, sectors: number, buffer: number, tag: Tag): void {
    const { member } = this.#device(device);
    const bytes = this.#checked(buffer, sectors * SECTOR_SIZE);
    this.#begin(false, tag, () => {
      read(member.fd, this.arena, buffer, bytes, bytesOf(at), (error, count) => this.#deviceDone(tag, error, count));
    });
  }

  write(device: DeviceIndex, at: Sector, sectors: number, buffer: number, flags: number, tag: Tag): void {
    const { member, durableFd } = this.#device(device);
    if (!holds(member, at + sectors)) {
      this.#complete(tag, -Errno.ENOSPC);
      return;
    }
    const bytes = this.#checked(buffer, sectors * SECTOR_SIZE);
    const fd = (flags & WRITE_DURABLE) !== 0 ? durableFd : member.fd;
    this.#begin(true, tag, () => {
      write(fd, this.arena, buffer, bytes, bytesOf(at), (error, count) => this.#deviceDone(tag, error, count));
    });
  }

  flush(device: DeviceIndex, tag: Tag): void {
    const { member } = this.#device(device);
    this.#begin(false, tag, () => {
      fdatasync(member.fd, (error) => this.#deviceDone(tag, error, 0));
    });
  }

  /** Node has no fallocate: the caller writes zeros. */
  zero(_device: DeviceIndex, _at: Sector, _sectors: number, _punch: boolean, tag: Tag): void {
    this.#complete(tag, -Errno.EOPNOTSUPP);
  }

  listen(address: ListenAddress): SocketIndex {
    return this.#sockets.listen(address);
  }

  portOf(socket: SocketIndex): number {
    return this.#sockets.portOf(socket);
  }

  accept(listener: SocketIndex, tag: Tag): void {
    this.#sockets.accept(listener, tag);
  }

  receive(socket: SocketIndex, buffer: number, bytes: number, tag: Tag): void {
    this.#sockets.receive(socket, buffer, this.#checked(buffer, bytes), tag);
  }

  /** Node's sockets do not say what they have taken. */
  sendNow(): number {
    return 0;
  }

  send(socket: SocketIndex, buffer: number, bytes: number, tag: Tag): void {
    this.#sockets.send(socket, buffer, this.#checked(buffer, bytes), tag);
  }

  closeSocket(socket: SocketIndex): void {
    this.#sockets.close(socket);
  }

  submitAndReap(waitMs: number): number {
    this.#timer?.cancel();
    this.#timer = null;
    this.#endTurn();
    const count = this.#completions.take(this.completedTag, this.completedResult);
    // As a blocking owner would: a turn that did something is followed by another at once.
    if (count > 0 || waitMs === 0) this.#callListener();
    else if (waitMs > 0) this.#timer = realClock.after(waitMs, () => this.#listener?.());
    return count;
  }

  close(): void {
    assert(this.#running === 0 && this.#queue.length === 0, "a ring is closed with transfers in flight");
    this.#listener = null;
    this.#timer?.cancel();
    this.#sockets.closeAll();
    this.#devices.forEach((device, index) => {
      if (device !== undefined) this.closeDevice(index);
    });
    this.#memory?.release();
  }

  #device(index: DeviceIndex): Device {
    const device = this.#devices[index];
    assert(device !== undefined, "no such device");
    return device;
  }

  #checked(buffer: number, bytes: number): number {
    assert(buffer >= 0 && buffer + bytes <= this.arena.length, "a transfer leaves the arena");
    return bytes;
  }

  /** Nothing overtakes what waits, but what was sent back: it comes with its place. */
  #begin(isWrite: boolean, tag: Tag, start: () => void): void {
    const takesPlace = isWrite && this.#reserved > 0;
    if (takesPlace) this.#reserved--;
    if (takesPlace || (this.#queue.length === 0 && this.#running + this.#reserved < this.#threads)) {
      this.#running++;
      start();
    } else {
      this.#queue.push({ isWrite, tag, start });
    }
  }

  /** The owner's turn is over: writes that have not begun do not begin under what it knew in that turn. */
  #endTurn(): void {
    this.#reserved = 0;
    this.#startReads();
    while (this.#running + this.#reserved < this.#threads) {
      const write = this.#queue.shift();
      if (write === undefined) return;
      this.#reserved++;
      this.#complete(write.tag, -Errno.EAGAIN);
      this.#startReads();
    }
  }

  /** Reads (and flushes) at the head of the queue, as far as there are threads. */
  #startReads(): void {
    while (this.#queue[0]?.isWrite === false && this.#running + this.#reserved < this.#threads) {
      this.#running++;
      this.#queue.shift()?.start();
    }
  }

  #deviceDone(tag: Tag, error: NodeJS.ErrnoException | null, count: number): void {
    this.#running--;
    this.#startReads();
    this.#complete(tag, error === null ? count : (error.errno ?? -Errno.EIO));
  }

  #complete(tag: Tag, result: number): void {
    this.#completions.add(tag, result);
    this.#callListener();
  }

  /** Once for all that completes in this round of the event loop. */
  #callListener(): void {
    if (this.#scheduled || this.#listener === null) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#listener?.();
    });
  }
}
