import { closeSync, constants, fdatasync, openSync, read, writeSync } from "node:fs";
import { assert } from "../base/assert.ts";
import { bytesOf, SECTOR_SIZE, type Sector } from "../base/units.ts";
import type { Timer } from "../env/clock.ts";
import { realClock } from "../env/real-env.ts";
import { CompletionList } from "./completion-list.ts";
import { Errno } from "./errno.ts";
import { ioError } from "./io-error.ts";
import { openIoHold } from "./io-hold.ts";
import type { DeviceIndex, IoRing, ListenAddress, RingOptions, SocketIndex, Tag, WakeHandle } from "./io-ring.ts";
import { WRITE_DURABLE } from "./io-ring.ts";
import { NetSockets } from "./net-sockets.ts";
import { holds, type OpenMember, openMember } from "./open-member.ts";
import type { Libc } from "./uring/libc.ts";
import { type MappedMemory, mapMemory } from "./uring/mapped-memory.ts";

interface Device {
  readonly member: OpenMember;
  /** The same file opened with O_DSYNC: what is written through it is durable when the write returns. */
  readonly durableFd: number;
}

/**
 * The same ring for machines that refuse io_uring: reads and flushes in Node's thread pool, and Node's sockets. Writes are
 * done on the spot, one after the other, by the thread that has just looked at the lease: one that waits for a thread, or
 * stands still with one when the process is stopped, would outlive the lease under which it was submitted. It cannot
 * block; the owner's event loop must turn, and runs a turn each time the listener of `onReady` is called: after a
 * completion, after `waitMs`, and after each turn that reaped any.
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

  readonly #libc: Libc | string;
  readonly #reason: string;
  #held: number | null = null;
  readonly #notes: string[] = [];
  readonly #memory: MappedMemory | null;
  readonly #devices: (Device | undefined)[] = [];
  readonly #sockets: NetSockets;
  readonly #completions = new CompletionList();
  /** Operations of devices that Node has. */
  #running = 0;
  #mayWrite: () => boolean = () => true;
  #listener: (() => void) | null = null;
  #scheduled = false;
  #timer: Timer | null = null;

  /** `reason`: why io_uring is not used, one line. Without `libc` devices cannot use O_DIRECT, and nothing can listen. */
  constructor(libc: Libc | string, options: RingOptions, reason: string) {
    this.#libc = libc;
    const memory = typeof libc === "string" ? null : mapMemory(libc, options.arenaBytes);
    this.#memory = typeof memory === "number" ? null : memory;
    this.arena = this.#memory?.bytes ?? new Uint8Array(options.arenaBytes);
    this.completedTag = new Uint32Array(options.entries * 4);
    this.completedResult = new Int32Array(options.entries * 4);
    this.#reason = reason;
    this.#sockets = new NetSockets(libc, this.arena, (tag, result) => this.#complete(tag, result));
  }

  get about(): string {
    return [`threads of Node's pool (io_uring: ${this.#reason})`, ...this.#notes].join(", ");
  }

  guardWrites(mayWrite: () => boolean): void {
    this.#mayWrite = mayWrite;
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
    this.#running++;
    read(member.fd, this.arena, buffer, bytes, bytesOf(at), (error, count) => this.#deviceDone(tag, error, count));
  }

  write(device: DeviceIndex, at: Sector, sectors: number, buffer: number, flags: number, tag: Tag): void {
    const { member, durableFd } = this.#device(device);
    if (!holds(member, at + sectors)) {
      this.#complete(tag, -Errno.ENOSPC);
      return;
    }
    const bytes = this.#checked(buffer, sectors * SECTOR_SIZE);
    const fd = (flags & WRITE_DURABLE) !== 0 ? durableFd : member.fd;
    this.#complete(tag, this.#mayWrite() ? this.#writeNow(fd, buffer, bytes, bytesOf(at)) : -Errno.EAGAIN);
  }

  #writeNow(fd: number, buffer: number, bytes: number, position: number): number {
    try {
      return writeSync(fd, this.arena, buffer, bytes, position);
    } catch (error) {
      return errnoOf(error);
    }
  }

  flush(device: DeviceIndex, tag: Tag): void {
    const { member } = this.#device(device);
    this.#running++;
    fdatasync(member.fd, (error) => this.#deviceDone(tag, error, 0));
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
    const count = this.#completions.take(this.completedTag, this.completedResult);
    // As a blocking owner would: a turn that did something is followed by another at once.
    if (count > 0 || waitMs === 0) this.#callListener();
    else if (waitMs > 0) this.#timer = realClock.after(waitMs, () => this.#listener?.());
    return count;
  }

  /** Node's threads are waited for when the process exits. */
  holdFile(path: string): void {
    this.#held ??= openIoHold(path, this.#libc);
  }

  close(givenUp = 0): void {
    // What was given up may have ended meanwhile.
    assert(this.#running <= givenUp, "a ring is closed with transfers in flight");
    this.#listener = null;
    this.#timer?.cancel();
    this.#sockets.closeAll();
    this.#devices.forEach((device, index) => {
      if (device !== undefined) this.closeDevice(index);
    });
    if (this.#running > 0) return;
    // In its place other memory could be soon.
    this.#memory?.release();
    if (this.#held !== null) closeSync(this.#held);
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

  #deviceDone(tag: Tag, error: NodeJS.ErrnoException | null, count: number): void {
    this.#running--;
    this.#complete(tag, error === null ? count : errnoOf(error));
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

const errnoOf = (error: unknown): number =>
  error instanceof Error && "errno" in error && typeof error.errno === "number" ? error.errno : -Errno.EIO;
