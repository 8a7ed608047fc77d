import { closeSync } from "node:fs";
import { Errno } from "../errno.ts";
import type { Libc } from "./libc.ts";
import { REGISTER_SPARSE, RegisterOp } from "./uapi.ts";

/** Files a ring may hold, members and sockets together. */
const SLOTS = 1024;
const UPDATE_BYTES = 16;

/**
 * The ring's table of open files. An index stays with its file until `remove`. Where the kernel takes the table in
 * (`fixed`), a submission names the index and saves the lookup of the descriptor; otherwise it names the descriptor.
 */
export class RingFiles {
  readonly fixed: boolean;
  readonly #libc: Libc;
  readonly #ringFd: number;
  readonly #fds = new Int32Array(SLOTS).fill(-1);
  /** A few words that the kernel reads during `register`. */
  readonly #words: Uint32Array;
  readonly #address: number;
  #highest = 0;

  /** `words` lies at `address`, and has room for 32 bytes. */
  constructor(libc: Libc, ringFd: number, words: Uint32Array, address: number) {
    this.#libc = libc;
    this.#ringFd = ringFd;
    this.#words = words;
    this.#address = address;
    words.fill(0);
    words[0] = SLOTS;
    words[1] = REGISTER_SPARSE;
    this.fixed = libc.ioUringRegister(ringFd, RegisterOp.FILES2, address, 32) >= 0;
  }

  /** The new file's index, or -EMFILE. */
  add(fd: number): number {
    let index = 0;
    while (index < this.#highest && this.#fds[index] !== -1) index++;
    if (index === SLOTS || (this.fixed && this.#update(index, fd) < 0)) return -Errno.EMFILE;
    this.#fds[index] = fd;
    this.#highest = Math.max(this.#highest, index + 1);
    return index;
  }

  /** Closes it and frees its index. Nothing of it may be in flight. */
  remove(index: number): void {
    if (this.fixed) this.#update(index, -1);
    closeSync(this.fd(index));
    this.#fds[index] = -1;
  }

  fd(index: number): number {
    return this.#fds[index] ?? -1;
  }

  /** What a submission's `fd` field says. */
  name(index: number): number {
    return this.fixed ? index : this.fd(index);
  }

  /** `inFlight`: the kernel keeps those of its table until nothing of them is, as the ring that is closed next. */
  closeAll(inFlight: boolean): void {
    for (let index = 0; index < this.#highest; index++) {
      if (this.#fds[index] === -1) continue;
      if (inFlight) closeSync(this.fd(index));
      else this.remove(index);
    }
  }

  /** `struct io_uring_files_update` and, behind it, the one descriptor. */
  #update(index: number, fd: number): number {
    const list = this.#address + UPDATE_BYTES;
    this.#words[0] = index;
    this.#words[1] = 0;
    this.#words[2] = list >>> 0;
    this.#words[3] = Math.floor(list / 2 ** 32);
    this.#words[4] = fd;
    return this.#libc.ioUringRegister(this.#ringFd, RegisterOp.FILES_UPDATE, this.#address, 1);
  }
}
