import { closeSync, constants, openSync } from "node:fs";
import { MdError } from "../../base/md-error.ts";
import { errnoName } from "../errno-name.ts";
import { ioError } from "../io-error.ts";
import type { Tag } from "../io-ring.ts";
import { DESCRIPTOR_WORDS, descriptorArea, QueueCommand, queueOpcode } from "../ublk/uapi.ts";
import type { UblkChannel, UblkQueues } from "../ublk/ublk-channel.ts";
import type { Libc } from "./libc.ts";
import type { RingFiles } from "./ring-files.ts";
import { MapFlag, PR_SET_IO_FLUSHER, Prot } from "./uapi.ts";

interface RingParts {
  readonly libc: Libc;
  readonly files: RingFiles;
  /** Of an arena offset; checks that so many bytes are there. */
  address(buffer: number, bytes: number): number;
  push(file: number, command: number, tag: Tag, a: number, b: number, c: number): void;
}

/** A ublk device's queues on the ring of the thread that serves them: the kernel takes their commands from no other. */
export class RingUblk implements UblkChannel {
  readonly descriptors: readonly Uint32Array[];
  readonly #parts: RingParts;
  readonly #file: number;
  readonly #fetch: number;
  readonly #commit: number;
  readonly #areas: { readonly address: number; readonly bytes: number }[] = [];

  constructor({ path, queues, depth, encoded }: UblkQueues, parts: RingParts) {
    this.#parts = parts;
    this.#fetch = queueOpcode(QueueCommand.FETCH, encoded);
    this.#commit = queueOpcode(QueueCommand.COMMIT_AND_FETCH, encoded);
    const { libc, files } = parts;
    const fd = openChar(path);
    try {
      const page = libc.getpagesize();
      this.descriptors = Array.from({ length: queues }, (_, queue) => {
        const { offset, bytes } = descriptorArea(queue, depth, page);
        const address = libc.mmap(bytes, Prot.READ, MapFlag.SHARED, fd, offset);
        if (address < 0) {
          throw new MdError("E_IO", `cannot map queue ${queue} of ${path}: ${errnoName(-address)}`);
        }
        this.#areas.push({ address, bytes });
        return new Uint32Array(libc.view(address, bytes), 0, depth * DESCRIPTOR_WORDS);
      });
      this.#file = files.add(fd);
      if (this.#file < 0) throw new MdError("E_IO", `cannot serve ${path}: the ring holds no more files`);
    } catch (error) {
      this.#unmap();
      closeSync(fd);
      throw error;
    }
    // The kernel may write to this disk to free memory that this thread asks for. Without the right to it, it does without.
    libc.prctl(PR_SET_IO_FLUSHER, 1);
  }

  fetch(queue: number, tag: number, buffer: number, bytes: number, ringTag: Tag): void {
    const address = this.#parts.address(buffer, bytes);
    this.#parts.push(this.#file, this.#fetch, ringTag, queue | (tag << 16), 0, address);
  }

  commit(queue: number, tag: number, result: number, buffer: number, bytes: number, ringTag: Tag): void {
    const address = this.#parts.address(buffer, bytes);
    this.#parts.push(this.#file, this.#commit, ringTag, queue | (tag << 16), result, address);
  }

  /** Each mapping holds the device: closing the descriptor alone would not let it go. */
  close(): void {
    this.#unmap();
    this.#parts.files.remove(this.#file);
  }

  #unmap(): void {
    for (const { address, bytes } of this.#areas.splice(0)) this.#parts.libc.munmap(address, bytes);
  }
}

function openChar(path: string): number {
  try {
    return openSync(path, constants.O_RDWR);
  } catch (error) {
    throw ioError("serve", path, error);
  }
}
