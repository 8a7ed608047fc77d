import { closeSync, constants, openSync } from "node:fs";
import { assert } from "../../base/assert.ts";
import { MdError } from "../../base/md-error.ts";
import type { Clock, Timer } from "../../env/clock.ts";
import { Errno } from "../errno.ts";
import { errnoName } from "../errno-name.ts";
import { ioError } from "../io-error.ts";
import type { DriverCommands } from "../ublk/driver-commands.ts";
import { controlHeader } from "../ublk/structs.ts";
import type { Libc } from "./libc.ts";
import { type MappedMemory, mapMemory } from "./mapped-memory.ts";
import { type MappedRing, mapRing } from "./mapped-ring.ts";
import { EnterFlag, Opcode } from "./uapi.ts";

const ENTRIES = 16;
const WORDS_PER_SQE = 32;
const COMMAND_WORD = 12;
const SLOT_BYTES = 512;
/** Commands that may be under way: one that waits for a device to start must not keep another from stopping it. */
const SLOTS = 64;
/** Milliseconds between two looks for an answer: at first, and at most. */
const FIRST_LOOK_MS = 1;
const LAST_LOOK_MS = 20;

interface Pending {
  readonly data: Uint8Array | null;
  readonly resolve: (result: number) => void;
}

/**
 * The control commands of a driver, on a ring of their own with wide entries. A thread of the kernel's carries them out, so
 * nothing waits in a call; whether answers have come is looked at now and then, as they are rare.
 */
export class CommandRing implements DriverCommands {
  readonly #libc: Libc;
  readonly #ring: MappedRing;
  readonly #memory: MappedMemory;
  readonly #clock: Clock;
  readonly #fd: number;
  readonly #pending: (Pending | null)[] = new Array<Pending | null>(SLOTS).fill(null);
  #tail: number;
  #head: number;
  #timer: Timer | null = null;
  #lookMs = FIRST_LOOK_MS;

  private constructor(libc: Libc, ring: MappedRing, memory: MappedMemory, fd: number, clock: Clock) {
    this.#libc = libc;
    this.#ring = ring;
    this.#memory = memory;
    this.#fd = fd;
    this.#clock = clock;
    this.#tail = Atomics.load(ring.words, ring.sqTail);
    this.#head = Atomics.load(ring.words, ring.cqHead);
  }

  /** Commands go to the driver behind `path`. Throws MdError: E_NO_DEVICE, E_PERMISSION, E_IO with the reason. */
  static open(libc: Libc, path: string, clock: Clock): CommandRing {
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDWR);
    } catch (error) {
      throw ioError("open", path, error);
    }
    const ring = mapRing(libc, ENTRIES, true);
    const memory = typeof ring === "string" ? -Errno.ENOMEM : mapMemory(libc, SLOTS * SLOT_BYTES);
    if (typeof ring === "string" || typeof memory === "number") {
      closeSync(fd);
      if (typeof ring !== "string") ring.close();
      const why = typeof ring === "string" ? ring : "memory for commands: ENOMEM";
      throw new MdError("E_IO", `no commands can be given to ${path}`, { why });
    }
    return new CommandRing(libc, ring, memory, fd, clock);
  }

  command(opcode: number, header: Uint8Array, data: Uint8Array | null): Promise<number> {
    assert(header.length === controlHeader.size && (data?.length ?? 0) <= SLOT_BYTES, "a command of another size");
    const slot = this.#pending.indexOf(null);
    if (slot < 0) return Promise.resolve(-Errno.EAGAIN);
    const { sqes, words, sqTail, sqEntries, fd } = this.#ring;
    const at = (this.#tail & (sqEntries - 1)) * WORDS_PER_SQE;
    sqes.fill(0, at, at + WORDS_PER_SQE);
    sqes[at] = Opcode.URING_CMD;
    sqes[at + 1] = this.#fd;
    sqes[at + 2] = opcode;
    sqes[at + 8] = slot;
    const command = { ...controlHeader.decode(header) };
    if (data !== null) {
      this.#memory.bytes.set(data, slot * SLOT_BYTES);
      command.address = this.#memory.address + slot * SLOT_BYTES;
    }
    const bytes = controlHeader.encode(command);
    sqes.set(new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4), at + COMMAND_WORD);
    this.#tail = (this.#tail + 1) | 0;
    Atomics.store(words, sqTail, this.#tail);
    const taken = this.#libc.ioUringEnter(fd, 1, 0, 0, 0, 0);
    if (taken !== 1) {
      this.#tail = (this.#tail - 1) | 0;
      Atomics.store(words, sqTail, this.#tail);
      return Promise.resolve(taken < 0 ? taken : -Errno.EAGAIN);
    }
    return new Promise((resolve) => {
      this.#pending[slot] = { data, resolve };
      this.#lookMs = FIRST_LOOK_MS;
      this.#timer?.cancel();
      this.#lookLater();
    });
  }

  /** Commands that are under way are not waited for. */
  close(): void {
    this.#timer?.cancel();
    const idle = this.#pending.every((pending) => pending === null);
    this.#ring.close();
    closeSync(this.#fd);
    // What is under way may still write its answer.
    if (idle) this.#memory.release();
  }

  #lookLater(): void {
    this.#timer = this.#clock.after(this.#lookMs, () => this.#look());
    this.#lookMs = Math.min(LAST_LOOK_MS, this.#lookMs * 2);
  }

  #look(): void {
    const { fd, words, cqEntries, cqHead, cqTail, cqes } = this.#ring;
    // Answers of the kernel's threads show only when it is entered for them.
    const entered = this.#libc.ioUringEnter(fd, 0, 0, EnterFlag.GETEVENTS, 0, 0);
    assert(entered >= 0 || entered === -Errno.EINTR, `the command ring: ${errnoName(-entered)}`);
    const tail = Atomics.load(words, cqTail);
    for (; this.#head !== tail; this.#head = (this.#head + 1) | 0) {
      const at = cqes + (this.#head & (cqEntries - 1)) * 4;
      this.#answer(words[at] as number, words[at + 2] as number);
    }
    Atomics.store(words, cqHead, this.#head);
    if (this.#pending.some((pending) => pending !== null)) this.#lookLater();
  }

  #answer(slot: number, result: number): void {
    const pending = this.#pending[slot];
    this.#pending[slot] = null;
    if (pending == null) return;
    const at = slot * SLOT_BYTES;
    pending.data?.set(this.#memory.bytes.subarray(at, at + pending.data.length));
    pending.resolve(result);
  }
}
