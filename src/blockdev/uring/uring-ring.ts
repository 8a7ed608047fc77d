import { closeSync } from "node:fs";
import { assert } from "../../base/assert.ts";
import { MdError } from "../../base/md-error.ts";
import { bytesOf, SECTOR_SIZE, type Sector } from "../../base/units.ts";
import { Errno } from "../errno.ts";
import { errnoName } from "../errno-name.ts";
import type { DeviceIndex, IoRing, ListenAddress, RingOptions, SocketIndex, Tag, WakeHandle } from "../io-ring.ts";
import { WRITE_DURABLE } from "../io-ring.ts";
import { holds, type OpenMember, openMember } from "../open-member.ts";
import { wakeRing } from "../wake-ring.ts";
import type { Libc } from "./libc.ts";
import { type MappedMemory, mapMemory } from "./mapped-memory.ts";
import { type MappedRing, mapRing } from "./mapped-ring.ts";
import { RingFiles } from "./ring-files.ts";
import { RingSockets } from "./ring-sockets.ts";
import { SubmissionQueue } from "./submission-queue.ts";
import * as uapi from "./uapi.ts";

const { Opcode } = uapi;

/** The high word of user_data: what a completion is, and above it (from INDEX_SHIFT) of which file, or which errno. */
const Kind = { device: 0, zero: 1, failed: 2, socket: 3, accept: 4, wake: 5 } as const;
const KIND_MASK = 7;
const INDEX_SHIFT = 3;

/** Byte offsets in the page that is shared with the kernel for small arguments. */
const SCRATCH_BYTES = 4096;
const WAKE_AT = 0;
const WAKE_BYTES = 8;
const ENTER_AT = 64;
const FILES_AT = 128;
const IOVEC_AT = 192;

const EFD_CLOEXEC = 0x80000;
/** More would not be one registered buffer. */
const MAX_REGISTERED_BYTES = 2 ** 30;
/** Transfers to memory up to this size are done on the spot; for larger ones another CPU may copy in the meantime. */
const INLINE_BYTES = 64 << 10;
/** Turns to wait for room in the submission queue before it is a contradiction. */
const MAX_ROOM_ATTEMPTS = 100_000;

/** A ring, or in words for people why there is none. */
export function openUringRing(libc: Libc, options: RingOptions): UringRing | string {
  const mapped = mapRing(libc, options.entries);
  if (typeof mapped === "string") return mapped;

  const scratch = mapMemory(libc, SCRATCH_BYTES);
  const arena = typeof scratch === "number" ? scratch : mapMemory(libc, options.arenaBytes);
  const eventfd = typeof arena === "number" ? arena : libc.eventfd(0, EFD_CLOEXEC);
  if (typeof scratch === "number" || typeof arena === "number" || eventfd < 0) {
    mapped.close();
    if (typeof scratch === "object") scratch.release();
    if (typeof arena === "object") arena.release();
    return `memory for the ring: ${errnoName(-eventfd)}`;
  }
  const ring = new UringRing(libc, mapped, scratch, arena, eventfd);
  if (ring.tryOut()) return ring;
  ring.close();
  return "io_uring accepts a ring but carries out no NOP and READ";
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
  readonly #mapped: MappedRing;
  readonly #scratch: MappedMemory;
  readonly #arenaMemory: MappedMemory;
  readonly #arenaBase: number;
  readonly #eventfd: number;
  readonly #words: Int32Array;
  readonly #cqMask: number;
  readonly #sq: SubmissionQueue;
  readonly #files: RingFiles;
  readonly #sockets: RingSockets;
  readonly #fixedBuffers: boolean;
  /** First words of the entries for reads and writes. */
  readonly #readHead: number;
  readonly #writeHead: number;
  readonly #fileFlag: number;
  readonly #members: (OpenMember | undefined)[] = [];
  readonly #notes: string[] = [];
  #cqHead: number;
  #wakeArmed = false;
  #wakeResult = 0;
  #works = false;
  /** Completions that came while the caller still owned `completedTag`. */
  readonly #stashTag: Uint32Array;
  readonly #stashResult: Int32Array;
  #stashed = 0;
  #postponed = false;

  constructor(libc: Libc, mapped: MappedRing, scratch: MappedMemory, arena: MappedMemory, eventfd: number) {
    this.#libc = libc;
    this.#mapped = mapped;
    this.#scratch = scratch;
    this.#arenaMemory = arena;
    this.#arenaBase = arena.address;
    this.#eventfd = eventfd;
    this.arena = arena.bytes;
    this.wakeHandle = { type: "eventfd", fd: eventfd };
    this.#words = mapped.words;
    this.#cqMask = mapped.cqEntries - 1;
    this.#cqHead = mapped.words[mapped.cqHead] as number;
    this.completedTag = new Uint32Array(mapped.cqEntries);
    this.completedResult = new Int32Array(mapped.cqEntries);
    this.#stashTag = new Uint32Array(mapped.cqEntries);
    this.#stashResult = new Int32Array(mapped.cqEntries);

    const words = (at: number, bytes: number): Uint32Array =>
      new Uint32Array(scratch.bytes.buffer, scratch.bytes.byteOffset + at, bytes / 4);
    this.#sq = new SubmissionQueue(libc, mapped, words(ENTER_AT, 40), scratch.address + ENTER_AT);
    this.#files = new RingFiles(libc, mapped.fd, words(FILES_AT, 32), scratch.address + FILES_AT);
    this.#sockets = new RingSockets(libc, this.#files);
    this.#fixedBuffers = registerArena(libc, mapped.fd, arena, words(IOVEC_AT, 16), scratch.address + IOVEC_AT);
    this.#fileFlag = this.#files.fixed ? uapi.SQE_FIXED_FILE << 8 : 0;
    this.#readHead = (this.#fixedBuffers ? Opcode.READ_FIXED : Opcode.READ) | this.#fileFlag;
    this.#writeHead = (this.#fixedBuffers ? Opcode.WRITE_FIXED : Opcode.WRITE) | this.#fileFlag;
  }

  /** A NOP and the read that wakes must come back. To be asked once, before first use. */
  tryOut(): boolean {
    this.#fail(0, 0);
    wakeRing(this.wakeHandle);
    let noops = 0;
    for (let turn = 0; turn < 10; turn++) {
      noops += this.submitAndReap(1000);
      if (noops === 1 && !this.#wakeArmed) {
        this.#works = this.#wakeResult === WAKE_BYTES;
        break;
      }
    }
    return this.#works;
  }

  get about(): string {
    const { setupFlags } = this.#mapped;
    const mode =
      (setupFlags & uapi.SetupFlag.DEFER_TASKRUN) !== 0
        ? "deferred task work"
        : (setupFlags & uapi.SetupFlag.COOP_TASKRUN) !== 0
          ? "cooperative task work"
          : "plain";
    const files = this.#files.fixed ? "registered files" : "plain files";
    const buffers = this.#fixedBuffers ? "registered buffers" : "plain buffers";
    return ["io_uring", mode, files, buffers, ...this.#notes].join(", ");
  }

  openDevice(path: string, options: { readonly readOnly: boolean }): DeviceIndex {
    const member = openMember(path, { readOnly: options.readOnly, aligned: this.#scratch.bytes.subarray(2048) });
    const index = this.#files.add(member.fd);
    if (index < 0) {
      closeSync(member.fd);
      throw new MdError("E_IO", `cannot open ${path}: the ring holds no more files`);
    }
    if (!member.direct) this.#notes.push(`${path} without O_DIRECT`);
    this.#members[index] = member;
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
      this.#finish(tag, this.#libc.pread(this.#files.fd(device), address, bytes, bytesOf(at)));
    } else {
      this.#push(this.#readHead, device, bytesOf(at), address, bytes, 0, tag, Kind.device);
    }
  }

  write(device: DeviceIndex, at: Sector, sectors: number, buffer: number, flags: number, tag: Tag): void {
    const bytes = sectors * SECTOR_SIZE;
    const address = this.#address(buffer, bytes);
    if (!this.#holds(device, at + sectors)) {
      this.#fail(Errno.ENOSPC, tag);
    } else if (this.#inline(device, bytes)) {
      this.#finish(tag, this.#libc.pwrite(this.#files.fd(device), address, bytes, bytesOf(at)));
    } else {
      const durable = (flags & WRITE_DURABLE) !== 0 ? uapi.RWF_DSYNC : 0;
      this.#push(this.#writeHead, device, bytesOf(at), address, bytes, durable, tag, Kind.device);
    }
  }

  flush(device: DeviceIndex, tag: Tag): void {
    if (this.#inline(device, 0)) this.#finish(tag, this.#libc.fdatasync(this.#files.fd(device)));
    else this.#push(Opcode.FSYNC | this.#fileFlag, device, 0, 0, 0, uapi.FSYNC_DATASYNC, tag, Kind.device);
  }

  zero(device: DeviceIndex, at: Sector, sectors: number, punch: boolean, tag: Tag): void {
    if (!this.#holds(device, at + sectors)) {
      this.#fail(Errno.ENOSPC, tag);
      return;
    }
    const mode = punch ? uapi.PUNCH_HOLE_KEEP_SIZE : uapi.ZERO_RANGE_KEEP_SIZE;
    // FALLOCATE has its length where others have their address.
    this.#push(Opcode.FALLOCATE | this.#fileFlag, device, bytesOf(at), sectors * SECTOR_SIZE, mode, 0, tag, Kind.zero);
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
    if (!this.#sockets.begin(listener)) {
      this.#fail(Errno.ECANCELED, tag);
      return;
    }
    const kind = Kind.accept | (listener << INDEX_SHIFT);
    this.#push(Opcode.ACCEPT | this.#fileFlag, listener, 0, 0, 0, uapi.SOCK_CLOEXEC, tag, kind);
  }

  receive(socket: SocketIndex, buffer: number, bytes: number, tag: Tag): void {
    if (!this.#sockets.begin(socket)) {
      this.#fail(Errno.ECANCELED, tag);
      return;
    }
    const kind = Kind.socket | (socket << INDEX_SHIFT);
    this.#push(Opcode.RECV | this.#fileFlag, socket, 0, this.#address(buffer, bytes), bytes, 0, tag, kind);
  }

  send(socket: SocketIndex, buffer: number, bytes: number, tag: Tag): void {
    if (!this.#sockets.begin(socket)) {
      this.#fail(Errno.ECANCELED, tag);
      return;
    }
    const kind = Kind.socket | (socket << INDEX_SHIFT);
    const address = this.#address(buffer, bytes);
    this.#push(Opcode.SEND | this.#fileFlag, socket, 0, address, bytes, uapi.MSG_NOSIGNAL, tag, kind);
  }

  closeSocket(socket: SocketIndex): void {
    this.#sockets.close(socket);
  }

  submitAndReap(waitMs: number): number {
    if (!this.#wakeArmed) this.#armWake();
    let count = 0;
    if (this.#stashed > 0) {
      count = this.#takeStash();
      // Once, what is queued may wait for what these completions bring: all goes with one system call.
      this.#postponed = !this.#postponed;
      if (this.#postponed) return count;
    }
    const sq = this.#sq;
    const wait = count > 0 ? 0 : waitMs;
    if (wait !== 0 || sq.queued > 0 || sq.kernelWantsEnter()) sq.enter(wait);
    return this.#reap(this.completedTag, this.completedResult, count);
  }

  close(): void {
    if (this.#works) this.#drain();
    this.#files.closeAll();
    this.#mapped.close();
    closeSync(this.#eventfd);
    this.#arenaMemory.release();
    this.#scratch.release();
  }

  /** Nothing may be in flight when its memory goes: the kernel would write there. */
  #drain(): void {
    if (!this.#wakeArmed) this.#armWake();
    wakeRing(this.wakeHandle);
    while (!this.#sockets.closeAll() || this.#wakeArmed) {
      this.#sq.enter(-1);
      this.#reap(this.#stashTag, this.#stashResult, 0);
    }
  }

  /**
   * May it be done at once? The kernel gives every transfer of a file system that cannot say "this would wait" to a
   * thread, and the way there and back costs many times the copy that it is with tmpfs.
   */
  #inline(device: DeviceIndex, bytes: number): boolean {
    const member = this.#members[device];
    return member?.inMemory === true && bytes <= INLINE_BYTES && this.#stashed < this.#stashTag.length;
  }

  #finish(tag: Tag, result: number): void {
    this.#stashTag[this.#stashed] = tag;
    this.#stashResult[this.#stashed] = result;
    this.#stashed++;
  }

  #push(
    head: number,
    file: number,
    offset: number,
    address: number,
    length: number,
    flags: number,
    tag: Tag,
    kind: number,
  ): void {
    const sq = this.#sq;
    if (sq.full) this.#makeRoom();
    sq.push(head, this.#files.name(file), offset, address, length, flags, tag, kind);
  }

  #address(buffer: number, bytes: number): number {
    assert(buffer >= 0 && buffer + bytes <= this.arena.length, "a transfer leaves the arena");
    return this.#arenaBase + buffer;
  }

  /** A completion without an operation. */
  #fail(errno: number, tag: Tag): void {
    if (this.#sq.full) this.#makeRoom();
    this.#sq.push(Opcode.NOP, -1, 0, 0, 0, 0, tag, Kind.failed | (errno << INDEX_SHIFT));
  }

  #holds(device: DeviceIndex, end: number): boolean {
    const member = this.#members[device];
    return member !== undefined && holds(member, end);
  }

  #armWake(): void {
    if (this.#sq.full) this.#makeRoom();
    this.#sq.push(Opcode.READ, this.#eventfd, 0, this.#scratch.address + WAKE_AT, WAKE_BYTES, 0, 0, Kind.wake);
    this.#wakeArmed = true;
  }

  /** The submission queue is full in the middle of a turn: submit early. */
  #makeRoom(): void {
    for (let attempt = 0; this.#sq.full; attempt++) {
      assert(attempt < MAX_ROOM_ATTEMPTS, "the kernel takes no more submissions");
      this.#sq.enter(0);
      // It may refuse until completions are taken in; the caller still reads those of this turn.
      if (this.#sq.full) this.#stashed = this.#reap(this.#stashTag, this.#stashResult, this.#stashed);
    }
  }

  #takeStash(): number {
    const count = this.#stashed;
    for (let i = 0; i < count; i++) {
      this.completedTag[i] = this.#stashTag[i] as number;
      this.completedResult[i] = this.#stashResult[i] as number;
    }
    this.#stashed = 0;
    return count;
  }

  /** Appends completions from `count` on, as far as there is room; the new count. */
  #reap(tags: Uint32Array, results: Int32Array, count: number): number {
    const words = this.#words;
    const { cqes, cqTail } = this.#mapped;
    const tail = Atomics.load(words, cqTail);
    let head = this.#cqHead;
    if (head === tail) return count;
    while (head !== tail && count < tags.length) {
      const at = cqes + (head & this.#cqMask) * 4;
      const kind = words[at + 1] as number;
      let result = words[at + 2] as number;
      head = (head + 1) | 0;
      if (kind !== Kind.device) {
        if (kind === Kind.wake) {
          this.#wakeArmed = false;
          this.#wakeResult = result;
          continue;
        }
        result = this.#translate(kind, result);
      }
      tags[count] = words[at] as number;
      results[count] = result;
      count++;
    }
    this.#cqHead = head;
    Atomics.store(words, this.#mapped.cqHead, head);
    return count;
  }

  #translate(kind: number, result: number): number {
    const index = kind >>> INDEX_SHIFT;
    switch (kind & KIND_MASK) {
      case Kind.socket:
        return this.#sockets.end(index, result);
      case Kind.accept:
        return this.#sockets.endAccept(index, result);
      case Kind.failed:
        return -index;
      case Kind.zero:
        // File systems disagree about how to say that they cannot.
        return result === -Errno.ENODEV || result === -Errno.ENOSYS ? -Errno.EOPNOTSUPP : result;
      default:
        return result;
    }
  }
}

/** Registered, the arena's pages are looked up once and not at every transfer. They count against RLIMIT_MEMLOCK. */
function registerArena(libc: Libc, ringFd: number, arena: MappedMemory, iovec: Uint32Array, iovecAt: number): boolean {
  if (arena.bytes.length > MAX_REGISTERED_BYTES) return false;
  iovec[0] = arena.address >>> 0;
  iovec[1] = Math.floor(arena.address / 2 ** 32);
  iovec[2] = arena.bytes.length;
  iovec[3] = 0;
  return libc.ioUringRegister(ringFd, uapi.RegisterOp.BUFFERS, iovecAt, 1) >= 0;
}
