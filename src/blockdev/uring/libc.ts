import { createRequire } from "node:module";

/**
 * The C library's calls that Node does not offer. Every call returns its result, or a negative errno; none throws.
 * Addresses are plain numbers: user space ends at 2^47, far below where doubles lose integers.
 */
export interface Libc {
  /** `params` is 120 bytes, in and out. Returns the ring's fd. */
  ioUringSetup(entries: number, params: Uint8Array): number;
  ioUringEnter(
    fd: number,
    submit: number,
    minComplete: number,
    flags: number,
    argument: number,
    argumentSize: number,
  ): number;
  ioUringRegister(fd: number, opcode: number, argument: number, count: number): number;
  pread(fd: number, address: number, bytes: number, position: number): number;
  pwrite(fd: number, address: number, bytes: number, position: number): number;
  fdatasync(fd: number): number;
  flock(fd: number, operation: number): number;
  send(fd: number, address: number, bytes: number, flags: number): number;
  fallocate(fd: number, mode: number, position: number, bytes: number): number;
  mmap(bytes: number, protection: number, flags: number, fd: number, offset: number): number;
  munmap(address: number, bytes: number): number;
  madvise(address: number, bytes: number, advice: number): number;
  /** The memory itself, not a copy. It must not be touched after `munmap`: that kills the process. */
  view(address: number, bytes: number): ArrayBuffer;
  getpagesize(): number;
  /** With one argument. */
  prctl(option: number, value: number): number;
  eventfd(initial: number, flags: number): number;
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array): number;
  connect(fd: number, address: Uint8Array): number;
  listen(fd: number, backlog: number): number;
  /** Fills `address` in. */
  getsockname(fd: number, address: Uint8Array): number;
  setsockopt(fd: number, level: number, option: number, value: number): number;
  shutdown(fd: number, how: number): number;
}

const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;
const SYS_IO_URING_REGISTER = 427;

/** A foreign function, bound to numbers and buffers. */
type Foreign = (...values: readonly (number | Uint8Array)[]) => number;

interface Koffi {
  load(path: string | null): { func(name: string, result: string, parameters: string[]): unknown };
  view(address: number, bytes: number): ArrayBuffer;
  errno(): number;
}

let loaded: Libc | string | null = null;

/** The library, or why it cannot be had (one line). Asked once per thread. */
export function loadLibc(): Libc | string {
  loaded ??= load();
  return loaded;
}

function load(): Libc | string {
  try {
    return bindAll(createRequire(import.meta.url)("koffi") as Koffi);
  } catch (error) {
    return `no foreign calls: ${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)}`;
  }
}

function bindAll(koffi: Koffi): Libc {
  const library = koffi.load(null);
  // The result's type must be the C one: an `int` of -1 leaves the upper half of a register as it was.
  const bind = (result: "int" | "intptr_t", name: string, ...parameters: string[]): Foreign => {
    const call = library.func(name, result, parameters) as Foreign;
    return (...values) => orErrno(call(...values));
  };
  const orErrno = (result: number): number => (result < 0 ? -koffi.errno() : result);

  // Calls of the hot path: bound without a rest parameter, and with the narrowest types, which koffi passes fastest.
  const pread = library.func("pread", "int", ["int", "intptr_t", "int", "int64_t"]) as Foreign;
  const pwrite = library.func("pwrite", "int", ["int", "intptr_t", "int", "int64_t"]) as Foreign;
  const send = library.func("send", "int", ["int", "intptr_t", "int", "int"]) as Foreign;
  const enter = library.func("syscall", "int", ["int", "int", "int", "int", "int", "intptr_t", "int"]) as Foreign;
  const setup = bind("intptr_t", "syscall", "long", "uint32_t", "void *");
  const register = bind("intptr_t", "syscall", "long", "int", "uint32_t", "uintptr_t", "uint32_t");
  const mmap = bind("intptr_t", "mmap", "uintptr_t", "size_t", "int", "int", "int", "int64_t");
  const bindSocket = bind("int", "bind", "int", "void *", "uint32_t");
  const connect = bind("int", "connect", "int", "void *", "uint32_t");
  const getsockname = bind("int", "getsockname", "int", "void *", "void *");
  const prctl = bind("int", "prctl", "int", "uintptr_t", "uintptr_t", "uintptr_t", "uintptr_t");
  const setsockopt = bind("int", "setsockopt", "int", "int", "int", "void *", "uint32_t");

  return {
    ioUringSetup: (entries, params) => setup(SYS_IO_URING_SETUP, entries, params),
    ioUringEnter(fd, submit, minComplete, flags, argument, argumentSize) {
      const result = enter(SYS_IO_URING_ENTER, fd, submit, minComplete, flags, argument, argumentSize);
      return result < 0 ? -koffi.errno() : result;
    },
    ioUringRegister: (fd, opcode, argument, count) => register(SYS_IO_URING_REGISTER, fd, opcode, argument, count),
    pread(fd, address, bytes, position) {
      const result = pread(fd, address, bytes, position);
      return result < 0 ? -koffi.errno() : result;
    },
    pwrite(fd, address, bytes, position) {
      const result = pwrite(fd, address, bytes, position);
      return result < 0 ? -koffi.errno() : result;
    },
    send(fd, address, bytes, flags) {
      const result = send(fd, address, bytes, flags);
      return result < 0 ? -koffi.errno() : result;
    },
    fdatasync: bind("int", "fdatasync", "int"),
    flock: bind("int", "flock", "int", "int"),
    fallocate: bind("int", "fallocate", "int", "int", "int64_t", "int64_t"),
    mmap: (bytes, protection, flags, fd, offset) => mmap(0, bytes, protection, flags, fd, offset),
    munmap: bind("int", "munmap", "uintptr_t", "size_t"),
    madvise: bind("int", "madvise", "uintptr_t", "size_t", "int"),
    view: (address, bytes) => koffi.view(address, bytes),
    getpagesize: bind("int", "getpagesize"),
    prctl: (option, value) => prctl(option, value, 0, 0, 0),
    eventfd: bind("int", "eventfd", "uint32_t", "int"),
    socket: bind("int", "socket", "int", "int", "int"),
    bind: (fd, address) => bindSocket(fd, address, address.byteLength),
    connect: (fd, address) => connect(fd, address, address.byteLength),
    listen: bind("int", "listen", "int", "int"),
    getsockname: (fd, address) => getsockname(fd, address, new Uint8Array(Uint32Array.of(address.byteLength).buffer)),
    setsockopt: (fd, level, option, value) =>
      setsockopt(fd, level, option, new Uint8Array(Int32Array.of(value).buffer), 4),
    shutdown: bind("int", "shutdown", "int", "int"),
  };
}
