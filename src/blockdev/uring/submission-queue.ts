import { AssertionError } from "../../base/assert.ts";
import { Errno } from "../errno.ts";
import { errnoName } from "../errno-name.ts";
import type { Libc } from "./libc.ts";
import type { MappedRing } from "./mapped-ring.ts";
import { EnterFlag, GETEVENTS_ARG_BYTES, SqFlag } from "./uapi.ts";

const { GETEVENTS, EXT_ARG } = EnterFlag;
/** Of `struct io_uring_getevents_arg`. */
const MIN_WAIT_WORD = 3;

const WORDS_PER_SQE = 16;
/** Where a command's own words begin: byte 48. */
const COMMAND_WORD = 12;
const TWO_32 = 2 ** 32;
/** Waits may end early: this one is long enough. */
const MAX_WAIT_MS = 86_400_000;
/** So long a wait for several completions goes on with fewer. */
const PATIENCE_US = 1000;

/**
 * Our half of the submission ring, and the one system call. Entries are written as 32-bit halves; beyond the first ten
 * words only commands use any, and leave them as the kernel wants them: zero.
 */
export class SubmissionQueue {
  readonly #libc: Libc;
  readonly #ring: MappedRing;
  readonly #sqes: Uint32Array;
  readonly #words: Int32Array;
  readonly #mask: number;
  readonly #entries: number;
  /** `struct io_uring_getevents_arg` and the timespec that it points to. */
  readonly #argument: Uint32Array;
  readonly #argumentAt: number;
  readonly #timespecWord = GETEVENTS_ARG_BYTES / 4;
  /** Entries may hold a command's words. */
  #hasCommands = false;
  #tail: number;
  /** What the kernel has taken. */
  #head: number;

  /** `argument` lies at `argumentAt`, and has room for 40 bytes. */
  constructor(libc: Libc, ring: MappedRing, argument: Uint32Array, argumentAt: number) {
    this.#libc = libc;
    this.#ring = ring;
    this.#sqes = ring.sqes;
    this.#words = ring.words;
    this.#mask = ring.sqEntries - 1;
    this.#entries = ring.sqEntries;
    this.#argument = argument;
    this.#argumentAt = argumentAt;
    const timespecAt = argumentAt + GETEVENTS_ARG_BYTES;
    argument.fill(0);
    argument[4] = timespecAt >>> 0;
    argument[5] = Math.floor(timespecAt / TWO_32);
    this.#tail = Atomics.load(ring.words, ring.sqTail);
    this.#head = this.#tail;
  }

  get full(): boolean {
    return ((this.#tail - this.#head) | 0) === this.#entries;
  }

  get queued(): number {
    return (this.#tail - this.#head) | 0;
  }

  /** Not when `full`. `head` is the first word: opcode, flags and ioprio. `offset` and `address` fit a double. */
  push(
    head: number,
    file: number,
    offset: number,
    address: number,
    length: number,
    operationFlags: number,
    tag: number,
    kind: number,
  ): void {
    const sqes = this.#sqes;
    const at = (this.#tail & this.#mask) * WORDS_PER_SQE;
    sqes[at] = head;
    sqes[at + 1] = file;
    sqes[at + 2] = offset >>> 0;
    sqes[at + 3] = Math.floor(offset / TWO_32);
    sqes[at + 4] = address >>> 0;
    sqes[at + 5] = Math.floor(address / TWO_32);
    sqes[at + 6] = length;
    sqes[at + 7] = operationFlags;
    sqes[at + 8] = tag;
    sqes[at + 9] = kind;
    if (this.#hasCommands) sqes.fill(0, at + COMMAND_WORD, at + WORDS_PER_SQE);
    this.#tail = (this.#tail + 1) | 0;
  }

  /** Not when `full`. A command of a driver's, with the four words (`a` to `c`, c of 64 bits) that a plain ring has room for. */
  pushCommand(
    head: number,
    file: number,
    command: number,
    tag: number,
    kind: number,
    a: number,
    b: number,
    c: number,
  ): void {
    const at = (this.#tail & this.#mask) * WORDS_PER_SQE;
    this.push(head, file, command, 0, 0, 0, tag, kind);
    this.#hasCommands = true;
    const sqes = this.#sqes;
    sqes[at + COMMAND_WORD] = a;
    sqes[at + COMMAND_WORD + 1] = b;
    sqes[at + COMMAND_WORD + 2] = c >>> 0;
    sqes[at + COMMAND_WORD + 3] = Math.floor(c / TWO_32);
  }

  /**
   * Takes back what the kernel has not taken. Entries that `drops` says yes to (tag, kind) are forgotten, the others stay
   * queued in their order. The kernel looks at the queue only inside `enter`.
   */
  takeBack(drops: (tag: number, kind: number) => boolean): void {
    const sqes = this.#sqes;
    let to = this.#head;
    for (let from = this.#head; from !== this.#tail; from = (from + 1) | 0) {
      const at = (from & this.#mask) * WORDS_PER_SQE;
      if (drops(sqes[at + 8] as number, sqes[at + 9] as number)) continue;
      if (to !== from) sqes.copyWithin((to & this.#mask) * WORDS_PER_SQE, at, at + WORDS_PER_SQE);
      to = (to + 1) | 0;
    }
    this.#tail = to;
    Atomics.store(this.#words, this.#ring.sqTail, to);
  }

  /** Has the kernel something for us that only `enter` brings: deferred completions, or ones that did not fit? */
  kernelWantsEnter(): boolean {
    return (Atomics.load(this.#words, this.#ring.sqFlags) & (SqFlag.TASKRUN | SqFlag.CQ_OVERFLOW)) !== 0;
  }

  /** Submits what is queued and comes back at once; may leave entries queued as `enter` does. */
  submit(): void {
    const count = this.queued;
    Atomics.store(this.#words, this.#ring.sqTail, this.#tail);
    this.#taken(count, this.#libc.ioUringEnter(this.#ring.fd, count, 0, 0, 0, 0));
  }

  /**
   * Submits what is queued, lets deferred completions come in, and waits for one: not at all (0), without limit (< 0)
   * or for so many milliseconds. May return early and may leave entries queued (a signal, lack of memory). `wanted`: for
   * the first millisecond it waits for so many, where the kernel can (6.12).
   */
  enter(waitMs: number, wanted = 1): void {
    const count = (this.#tail - this.#head) | 0;
    // Publishes the entries: nothing written before it may be seen later.
    if (count > 0) Atomics.store(this.#words, this.#ring.sqTail, this.#tail);
    const several = wanted > 1 && waitMs !== 0 && this.#ring.waitsForSeveral;
    if (waitMs > 0 || several) this.#taken(count, this.#enterFor(count, waitMs, several ? wanted : 1));
    else this.#taken(count, this.#libc.ioUringEnter(this.#ring.fd, count, waitMs < 0 ? 1 : 0, GETEVENTS, 0, 0));
  }

  #enterFor(count: number, waitMs: number, wanted: number): number {
    const limited = waitMs < 0 ? MAX_WAIT_MS : Math.min(waitMs, MAX_WAIT_MS);
    const seconds = Math.floor(limited / 1000);
    this.#argument[this.#timespecWord] = seconds;
    this.#argument[this.#timespecWord + 2] = Math.floor((limited - seconds * 1000) * 1e6);
    this.#argument[MIN_WAIT_WORD] = wanted > 1 ? PATIENCE_US : 0;
    const flags = GETEVENTS | EXT_ARG;
    return this.#libc.ioUringEnter(this.#ring.fd, count, wanted, flags, this.#argumentAt, GETEVENTS_ARG_BYTES);
  }

  #taken(count: number, taken: number): void {
    if (taken === count) {
      this.#head = this.#tail;
    } else {
      if (taken < 0) this.#tolerate(-taken);
      this.#head = Atomics.load(this.#words, this.#ring.sqHead);
    }
  }

  /** EINTR, ETIME: the wait ended. EAGAIN, EBUSY: memory, or completions to reap first. All pass by coming back. */
  #tolerate(errno: number): void {
    if (errno === Errno.EINTR || errno === Errno.ETIME || errno === Errno.EAGAIN || errno === Errno.EBUSY) return;
    throw new AssertionError(`io_uring_enter: ${errnoName(errno)}`);
  }
}
