import { closeSync } from "node:fs";
import { assert } from "../../base/assert.ts";
import { MdError } from "../../base/md-error.ts";
import { bytesOf, SECTOR_SIZE, type Sector, sector } from "../../base/units.ts";
import { realClock } from "../../env/real-env.ts";
import { CompletionList } from "../completion-list.ts";
import { Errno } from "../errno.ts";
import { openIoHold } from "../io-hold.ts";
import type { DeviceIndex, IoRing, ListenAddress, SocketIndex, Tag, WakeHandle } from "../io-ring.ts";
import { WRITE_DURABLE } from "../io-ring.ts";
import { holds, type OpenMember, openMember } from "../open-member.ts";
import type { UblkChannel, UblkQueues } from "../ublk/ublk-channel.ts";
import { wakeRing } from "../wake-ring.ts";
import { CompletionQueue, NOT_REPORTED } from "./completion-queue.ts";
import type { Libc } from "./libc.ts";
import type { MappedMemory } from "./mapped-memory.ts";
import type { MappedRing } from "./mapped-ring.ts";
import { ReceiveList } from "./receive-list.ts";
import { registerArena } from "./register-arena.ts";
import { RingFiles } from "./ring-files.ts";
import { RingSockets } from "./ring-sockets.ts";
import { RingUblk } from "./ring-ublk.ts";
import { SubmissionQueue } from "./submission-queue.ts";
import * as uapi from "./uapi.ts";

const { Opcode } = uapi;

/** The high word of user_data: what a completion is, and above it (from INDEX_SHIFT) the index of its socket or, of a write, device. */
const Kind = { device: 0, command: 1, socket: 2, accept: 3, wake: 4, write: 5 } as const;
const KIND_MASK = 7;
const INDEX_SHIFT = 3;

/** Byte offsets in the page that is shared with the kernel for small arguments. */
const WAKE_AT = 0;
const WAKE_BYTES = 8;
const ENTER_AT = 64;
const FILES_AT = 128;
const IOVEC_AT = 192;
const TRIAL_AT = 512;

/** Transfers to memory up to this size are done on the spot; for larger ones another CPU may copy in the meantime. */
const INLINE_BYTES = 64 << 10;
/** Milliseconds: so long the kernel may refuse what is for devices before the owner is told to try again. */
const INSIST_MS = 10;
/** Submissions: so many more for devices are worth a system call before the sockets have theirs. */
const FEW = 4;
/** Attempts to get room in the submission queue before it is a contradiction. */
const MAX_ROOM_ATTEMPTS = 100_000;

export interface UringParts {
  readonly libc: Libc;
  readonly mapped: MappedRing;
  /** One page. */
  readonly scratch: MappedMemory;
  readonly arena: MappedMemory;
  readonly eventfd: number;
}

/** The data plane's ring over io_uring. A read of an eventfd is always armed in it: that is what wakes it. */
export class UringRing implements IoRing {
  readonly kind = "io_uring";
  readonly arena: Uint8Array;
  readonly wakeHandle: WakeHandle;
  readonly onReady = null;
  readonly completedTag: Uint32Array;
  readonly completedResult: Int32Array;

  readonly #libc: Libc;
  readonly #parts: UringParts;
  readonly #arenaBase: number;
  readonly #sq: SubmissionQueue;
  readonly #cq: CompletionQueue;
  readonly #files: RingFiles;
  readonly #sockets: RingSockets;
  readonly #fixedBuffers: boolean;
  /** Of a first word: the file is named by its index in the registered table. */
  readonly #fileFlag: number;
  readonly #readOpcode: number;
  readonly #writeOpcode: number;
  readonly #members: (OpenMember | undefined)[] = [];
  /** By device: writes that would have had to wait, and have come back for that. */
  readonly #putOff: number[] = [];
  #mayWrite: (() => boolean) | null = null;
  readonly #notes: string[] = [];
  /** Completions that came while the caller still owned `completedTag`. */
  readonly #early = new CompletionList();
  readonly #receives = new ReceiveList();
  #postponed = false;
  /** Something for a device is queued: whoever queued it may have looked at a lease just now. */
  #deviceQueued = false;
  #wakeArmed = false;
  #wakeResult = 0;
  #works = false;

  constructor(parts: UringParts) {
    const { libc, mapped, scratch, arena, eventfd } = parts;
    this.#libc = libc;
    this.#parts = parts;
    this.#arenaBase = arena.address;
    this.arena = arena.bytes;
    this.wakeHandle = { type: "eventfd", fd: eventfd };
    this.completedTag = new Uint32Array(mapped.cqEntries);
    this.completedResult = new Int32Array(mapped.cqEntries);

    const words = (at: number, bytes: number): Uint32Array =>
      new Uint32Array(scratch.bytes.buffer, scratch.bytes.byteOffset + at, bytes / 4);
    this.#sq = new SubmissionQueue(libc, mapped, words(ENTER_AT, 40), scratch.address + ENTER_AT);
    this.#cq = new CompletionQueue(mapped, (high, result) => this.#route(high, result));
    this.#files = new RingFiles(libc, mapped.fd, words(FILES_AT, 32), scratch.address + FILES_AT);
    this.#sockets = new RingSockets(libc, this.#files);
    this.#fixedBuffers = registerArena(libc, mapped.fd, arena, words(IOVEC_AT, 16), scratch.address + IOVEC_AT);
    this.#fileFlag = this.#files.fixed ? uapi.SQE_FIXED_FILE << 8 : 0;
    this.#readOpcode = this.#fixedBuffers ? Opcode.READ_FIXED : Opcode.READ;
    this.#writeOpcode = this.#fixedBuffers ? Opcode.WRITE_FIXED : Opcode.WRITE;
  }

  /** A NOP and the read that wakes must come back. To be asked once, before first use. */
  tryOut(): boolean {
    this.#sq.push(Opcode.NOP, -1, 0, 0, 0, 0, 0, Kind.device);
    wakeRing(this.wakeHandle);
    let noops = 0;
    for (let turn = 0; turn < 10 && !this.#works; turn++) {
      noops += this.submitAndReap(1000);
      this.#works = noops === 1 && !this.#wakeArmed && this.#wakeResult === WAKE_BYTES;
    }
    return this.#works;
  }

  get about(): string {
    const { setupFlags } = this.#parts.mapped;
    const deferred = (setupFlags & uapi.SetupFlag.DEFER_TASKRUN) !== 0 ? "deferred task work" : "plain task work";
    const files = this.#files.fixed ? "registered files" : "plain files";
    const buffers = this.#fixedBuffers ? "registered buffers" : "plain buffers";
    return ["io_uring", deferred, files, buffers, ...this.#notes].join(", ");
  }

  guardWrites(mayWrite: () => boolean): void {
    this.#mayWrite = mayWrite;
  }

  openDevice(path: string, options: { readonly readOnly: boolean }): DeviceIndex {
    const aligned = this.#parts.scratch.bytes.subarray(TRIAL_AT);
    const member = openMember(path, { readOnly: options.readOnly, aligned });
    const index = this.#files.add(member.fd);
    if (index < 0) {
      closeSync(member.fd);
      throw new MdError("E_IO", `cannot open ${path}: the ring holds no more files`);
    }
    if (!member.direct) this.#notes.push(`${path} without O_DIRECT`);
    this.#members[index] = member;
    this.#putOff[index] = 0;
    return index;
  }

  closeDevice(device: DeviceIndex): void {
    assert(this.#members[device] !== undefined, "closeDevice: no such device");
    this.#members[device] = undefined;
    this.#files.remove(device);
  }

  logicalBlockSize(device: DeviceIndex): number {
    const member = this.#members[device];
    assert(member !== undefined, "logicalBlockSize: no such device");
    return member.logicalBlockSize;
  }

  read(device: DeviceIndex, at: Sector, sectors: number, buffer: number, tag: Tag): void {
    const bytes = sectors * SECTOR_SIZE;
    const address = this.#address(buffer, bytes);
    if (this.#inline(device, bytes)) {
      this.#early.add(tag, this.#libc.pread(this.#files.fd(device), address, bytes, bytesOf(at)));
    } else {
      this.#pushDevice(this.#readOpcode, device, at, address, bytes, 0, tag, Kind.device);
    }
  }

  write(device: DeviceIndex, at: Sector, sectors: number, buffer: number, flags: number, tag: Tag): void {
    const bytes = sectors * SECTOR_SIZE;
    const address = this.#address(buffer, bytes);
    const durable = (flags & WRITE_DURABLE) !== 0;
    const putOff = this.#putOff[device] ?? 0;
    if (!this.#holds(device, at + sectors)) {
      this.#early.add(tag, -Errno.ENOSPC);
    } else if (this.#inline(device, bytes)) {
      this.#early.add(tag, this.#writeNow(device, at, address, bytes, false));
    } else if (putOff > 0) {
      this.#putOff[device] = putOff - 1;
      this.#early.add(tag, this.#writeNow(device, at, address, bytes, durable));
    } else {
      // A guarded write that has to wait comes back. The kernel would give it to a thread of its own, which stands still
      // when the process is stopped, and writes when it goes on, whatever has become of the lease.
      const how = (this.#mayWrite === null ? 0 : uapi.RWF_NOWAIT) | (durable ? uapi.RWF_DSYNC : 0);
      const kind = Kind.write | (device << INDEX_SHIFT);
      this.#pushDevice(this.#writeOpcode, device, at, address, bytes, how, tag, kind);
    }
  }

  #writeNow(device: DeviceIndex, at: Sector, address: number, bytes: number, durable: boolean): number {
    if (this.#mayWrite?.() === false) return -Errno.EAGAIN;
    const fd = this.#files.fd(device);
    const written = this.#libc.pwrite(fd, address, bytes, bytesOf(at));
    if (!durable || written !== bytes) return written;
    const flushed = this.#libc.fdatasync(fd);
    return flushed < 0 ? flushed : written;
  }

  flush(device: DeviceIndex, tag: Tag): void {
    if (this.#inline(device, 0)) this.#early.add(tag, this.#libc.fdatasync(this.#files.fd(device)));
    else this.#pushDevice(Opcode.FSYNC, device, sector(0), 0, 0, uapi.FSYNC_DATASYNC, tag, Kind.device);
  }

  zero(device: DeviceIndex, at: Sector, sectors: number, punch: boolean, tag: Tag): void {
    if (!this.#holds(device, at + sectors)) {
      this.#early.add(tag, -Errno.ENOSPC);
      return;
    }
    if (this.#mayWrite?.() === false) {
      this.#early.add(tag, -Errno.EAGAIN);
      return;
    }
    // io_uring would give it to a thread of the kernel's, always: see `write`. So it is waited for.
    const mode = punch ? uapi.PUNCH_HOLE_KEEP_SIZE : uapi.ZERO_RANGE_KEEP_SIZE;
    const bytes = sectors * SECTOR_SIZE;
    this.#early.add(tag, zeroed(this.#libc.fallocate(this.#files.fd(device), mode, bytesOf(at), bytes)));
  }

  listen(address: ListenAddress): SocketIndex {
    const index = this.#sockets.listen(address);
    if (index < 0) throw new MdError("E_IO", "cannot listen: the ring holds no more files");
    return index;
  }

  portOf(socket: SocketIndex): number {
    return this.#sockets.portOf(socket);
  }

  accept(listener: SocketIndex, tag: Tag): void {
    this.#pushSocket(Opcode.ACCEPT, listener, 0, 0, uapi.SOCK_CLOEXEC, tag, Kind.accept);
  }

  /** Goes to the kernel once the devices have their work. */
  receive(socket: SocketIndex, buffer: number, bytes: number, tag: Tag): void {
    if (this.#sockets.begin(socket)) this.#receives.push(socket, this.#address(buffer, bytes), bytes, tag);
    else this.#early.add(tag, -Errno.ECANCELED);
  }

  sendNow(socket: SocketIndex, buffer: number, bytes: number): number {
    if (!this.#sockets.isOpen(socket)) return 0;
    const flags = uapi.MSG_NOSIGNAL | uapi.MSG_DONTWAIT;
    return Math.max(0, this.#libc.send(this.#files.fd(socket), this.#address(buffer, bytes), bytes, flags));
  }

  send(socket: SocketIndex, buffer: number, bytes: number, tag: Tag): void {
    this.#pushSocket(Opcode.SEND, socket, this.#address(buffer, bytes), bytes, uapi.MSG_NOSIGNAL, tag, Kind.socket);
  }

  closeSocket(socket: SocketIndex): void {
    this.#sockets.close(socket);
  }

  holdFile(path: string): void {
    // A file that the kernel does not keep for the ring is closed with the process.
    const fd = this.#files.fixed ? openIoHold(path, this.#libc) : null;
    if (fd !== null && this.#files.add(fd) < 0) closeSync(fd);
  }

  openUblk(queues: UblkQueues): UblkChannel {
    return new RingUblk(queues, {
      libc: this.#libc,
      files: this.#files,
      address: (buffer, bytes) => this.#address(buffer, bytes),
      push: (file, command, tag, a, b, c) => {
        const sq = this.#sq;
        if (sq.full) this.#makeRoom();
        const head = Opcode.URING_CMD | this.#fileFlag;
        sq.pushCommand(head, this.#files.name(file), command, tag, Kind.command, a, b, c);
      },
    });
  }

  submitAndReap(waitMs: number, expected = 1): number {
    if (!this.#wakeArmed) this.#armWake();
    let count = 0;
    if (!this.#early.empty) {
      count = this.#early.take(this.completedTag, this.completedResult);
      // Once, sockets may wait for what these completions bring: all goes with one system call.
      this.#postponed = !this.#postponed && !this.#deviceQueued;
      if (this.#postponed) return count;
    }
    const sq = this.#sq;
    const wait = count > 0 ? 0 : waitMs;
    // Preparing all that goes out took its time.
    if (this.#deviceQueued && this.#mayWrite?.() === false) this.#takeWritesBack();
    // The devices begin while the sockets are looked at: few transfers are waited for one by one.
    if (this.#deviceQueued && sq.queued <= FEW) sq.submit();
    this.#pushReceives();
    if (wait !== 0 || sq.queued > 0 || sq.kernelWantsEnter()) sq.enter(wait, expected);
    // A wait ends with the first completion, and the kernel keeps back others that have come by then.
    if (wait !== 0 && sq.kernelWantsEnter()) sq.enter(0);
    if (this.#deviceQueued && sq.queued > 0) this.#insist();
    this.#deviceQueued = false;
    return this.#cq.reap(this.completedTag, this.completedResult, count);
  }

  close(givenUp = 0): void {
    if (this.#works) this.#drain();
    this.#files.closeAll(givenUp > 0);
    this.#parts.mapped.close();
    closeSync(this.#parts.eventfd);
    // In its place other memory could be soon.
    if (givenUp === 0) this.#parts.arena.release();
    this.#parts.scratch.release();
  }

  /** Nothing may be in flight when its memory goes: the kernel would write there. */
  #drain(): void {
    if (!this.#wakeArmed) this.#armWake();
    this.#pushReceives();
    wakeRing(this.wakeHandle);
    while (!this.#sockets.closeAll() || this.#wakeArmed) {
      this.#sq.enter(-1);
      this.#cq.reap(this.completedTag, this.completedResult, 0);
    }
  }

  /**
   * May it be done at once? The kernel gives every transfer of a file system that cannot say "this would wait" to a
   * thread, and the way there and back costs many times the copy that it is with tmpfs.
   */
  #inline(device: DeviceIndex, bytes: number): boolean {
    return this.#members[device]?.inMemory === true && bytes <= INLINE_BYTES;
  }

  #holds(device: DeviceIndex, end: number): boolean {
    const member = this.#members[device];
    return member !== undefined && holds(member, end);
  }

  #address(buffer: number, bytes: number): number {
    assert(buffer >= 0 && buffer + bytes <= this.arena.length, "a transfer leaves the arena");
    return this.#arenaBase + buffer;
  }

  #pushDevice(
    opcode: number,
    device: DeviceIndex,
    at: Sector,
    address: number,
    length: number,
    flags: number,
    tag: Tag,
    kind: number,
  ): void {
    this.#deviceQueued = true;
    this.#push(opcode | this.#fileFlag, device, bytesOf(at), address, length, flags, tag, kind);
  }

  #pushSocket(
    opcode: number,
    socket: SocketIndex,
    address: number,
    bytes: number,
    flags: number,
    tag: Tag,
    kind: number,
  ): void {
    if (this.#sockets.begin(socket)) {
      this.#push(opcode | this.#fileFlag, socket, 0, address, bytes, flags, tag, kind | (socket << INDEX_SHIFT));
    } else {
      this.#early.add(tag, -Errno.ECANCELED);
    }
  }

  #push(
    head: number,
    file: number,
    offset: number,
    address: number,
    length: number,
    flags: number,
    tag: Tag,
    high: number,
  ): void {
    const sq = this.#sq;
    if (sq.full) this.#makeRoom();
    sq.push(head, this.#files.name(file), offset, address, length, flags, tag, high);
  }

  #pushReceives(): void {
    const { socket, address, bytes, tag, count } = this.#receives;
    for (let i = 0; i < count; i++) {
      const file = socket[i] as number;
      const high = Kind.socket | (file << INDEX_SHIFT);
      this.#push(
        Opcode.RECV | this.#fileFlag,
        file,
        0,
        address[i] as number,
        bytes[i] as number,
        0,
        tag[i] as number,
        high,
      );
    }
    this.#receives.clear();
  }

  #armWake(): void {
    if (this.#sq.full) this.#makeRoom();
    const into = this.#parts.scratch.address + WAKE_AT;
    this.#sq.push(Opcode.READ, this.#parts.eventfd, 0, into, WAKE_BYTES, 0, 0, Kind.wake);
    this.#wakeArmed = true;
  }

  /** The submission queue is full in the middle of a turn: submit early. */
  #makeRoom(): void {
    for (let attempt = 0; this.#sq.full; attempt++) {
      assert(attempt < MAX_ROOM_ATTEMPTS, "the kernel takes no more submissions");
      this.#sq.enter(0);
      // It may refuse until completions are taken in; the caller still reads those of this turn.
      if (this.#sq.full) this.#reapEarly();
    }
  }

  /**
   * The kernel has not taken everything, and something of it is for devices: that goes now or not at all. Whoever queued
   * it looked at a lease in this turn; in the next it has to look again.
   */
  #insist(): void {
    const giveUpAt = realClock.now() + INSIST_MS;
    do {
      // It may refuse until completions are taken in.
      this.#reapEarly();
      this.#sq.enter(0);
      if (this.#sq.queued === 0) return;
    } while (realClock.now() < giveUpAt);
    this.#sq.takeBack((tag, high) => {
      const kind = high & KIND_MASK;
      if (kind !== Kind.device && kind !== Kind.write) return false;
      this.#early.add(tag, -Errno.EAGAIN);
      return true;
    });
  }

  #takeWritesBack(): void {
    this.#sq.takeBack((tag, high) => {
      if ((high & KIND_MASK) !== Kind.write) return false;
      this.#early.add(tag, -Errno.EAGAIN);
      return true;
    });
  }

  #reapEarly(): void {
    const tags = new Uint32Array(this.completedTag.length);
    const results = new Int32Array(tags.length);
    const count = this.#cq.reap(tags, results, 0);
    for (let i = 0; i < count; i++) this.#early.add(tags[i] as number, results[i] as number);
  }

  #route(high: number, result: number): number {
    const index = high >>> INDEX_SHIFT;
    switch (high & KIND_MASK) {
      case Kind.command:
        return result;
      case Kind.socket:
        return this.#sockets.end(index, result);
      case Kind.accept:
        return this.#sockets.endAccept(index, result);
      case Kind.write:
        if (this.#mayWrite === null || (result !== -Errno.EAGAIN && result !== -Errno.EOPNOTSUPP)) return result;
        // It comes once more, and is then waited for.
        this.#putOff[index] = (this.#putOff[index] ?? 0) + 1;
        return -Errno.EAGAIN;
      default:
        this.#wakeArmed = false;
        this.#wakeResult = result;
        return NOT_REPORTED;
    }
  }
}

/** File systems disagree about how to say that they cannot. */
const zeroed = (result: number): number =>
  result === -Errno.ENODEV || result === -Errno.ENOSYS ? -Errno.EOPNOTSUPP : result;
