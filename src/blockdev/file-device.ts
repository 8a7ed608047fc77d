import { closeSync, fdatasync, read, write } from "node:fs";
import { promisify } from "node:util";
import { MdError } from "../base/md-error.ts";
import { bytesOf, type Sector, sector, sectorsIn } from "../base/units.ts";
import type { BlockDevice, OpenBlockDevice } from "./block-device.ts";
import { checkTransfer } from "./check-transfer.ts";
import { ioError } from "./io-error.ts";
import { memberSize, type OpenMember, openMember } from "./open-member.ts";
import { loadLibc } from "./uring/libc.ts";
import { type MappedMemory, mapMemory } from "./uring/mapped-memory.ts";

const readAt = promisify(read);
const writeAt = promisify(write);
const datasync = promisify(fdatasync);

/** Transfers go through aligned memory of this size, piece by piece. */
const BOUNCE_BYTES = 256 << 10;

/** A block device or regular file for the control plane. Throws MdError E_NO_DEVICE, E_NOT_BLOCKDEV, E_PERMISSION, E_IO. */
export const openFileDevice: OpenBlockDevice = async (path, { readOnly }) => {
  const libc = loadLibc();
  const memory = typeof libc === "string" ? -1 : mapMemory(libc, BOUNCE_BYTES);
  const bounce = typeof memory === "number" ? null : memory;
  try {
    const member = openMember(path, { readOnly, aligned: bounce?.bytes ?? null });
    return new FileDevice(path, member, bounce);
  } catch (error) {
    bounce?.release();
    throw error;
  }
};

class FileDevice implements BlockDevice {
  readonly path: string;
  readonly size: Sector;
  readonly logicalBlockSize: number;
  readonly #member: OpenMember;
  /** Page aligned if it is mapped; else the member is not open with O_DIRECT and any memory will do. */
  readonly #bounce: Uint8Array;
  readonly #memory: MappedMemory | null;
  /** One transfer at a time: there is one bounce buffer. */
  #last: Promise<unknown> = Promise.resolve();
  #open = true;

  constructor(path: string, member: OpenMember, memory: MappedMemory | null) {
    this.path = path;
    const blocks = Math.floor(bytesOf(memberSize(member)) / member.logicalBlockSize);
    this.size = sectorsIn(blocks * member.logicalBlockSize);
    this.logicalBlockSize = member.logicalBlockSize;
    this.#member = member;
    this.#memory = memory;
    this.#bounce = memory?.bytes ?? new Uint8Array(BOUNCE_BYTES);
  }

  read(at: Sector, into: Uint8Array): Promise<void> {
    return this.#inTurn("read", at, into.byteLength, async (from, bytes, position) => {
      const { bytesRead } = await readAt(this.#member.fd, this.#bounce, 0, bytes, position);
      into.set(this.#bounce.subarray(0, bytesRead), from);
      return bytesRead;
    });
  }

  write(at: Sector, from: Uint8Array): Promise<void> {
    return this.#inTurn("write", at, from.byteLength, async (start, bytes, position) => {
      this.#bounce.set(from.subarray(start, start + bytes));
      return (await writeAt(this.#member.fd, this.#bounce, 0, bytes, position)).bytesWritten;
    });
  }

  flush(): Promise<void> {
    return this.#queue(async () => {
      this.#mustBeOpen("flush");
      await datasync(this.#member.fd).catch((error: unknown) => {
        throw ioError("flush", this.path, error);
      });
    });
  }

  async close(): Promise<void> {
    await this.#queue(async () => {
      if (!this.#open) return;
      this.#open = false;
      closeSync(this.#member.fd);
      this.#memory?.release();
    });
  }

  /** Moves all of it by `move`, which takes (offset in the caller's bytes, bytes, file position) and returns how far it came. */
  #inTurn(
    action: string,
    at: Sector,
    total: number,
    move: (start: number, bytes: number, position: number) => Promise<number>,
  ): Promise<void> {
    return this.#queue(async () => {
      this.#mustBeOpen(action);
      checkTransfer(this, action, at, total);
      for (let done = 0; done < total; ) {
        const where = sector(at + sectorsIn(done));
        const moved = await move(done, Math.min(BOUNCE_BYTES, total - done), bytesOf(at) + done).catch(
          (error: unknown) => {
            throw ioError(`${action} sector ${where} of`, this.path, error);
          },
        );
        // A short transfer is legal, but O_DIRECT can only go on from a whole block.
        if (moved === 0 || moved % this.logicalBlockSize !== 0) {
          throw new MdError(
            "E_IO",
            `cannot ${action} sector ${where} of ${this.path}: short transfer (${moved} bytes)`,
            {
              details: { path: this.path, sector: where, errno: null },
            },
          );
        }
        done += moved;
      }
    });
  }

  #mustBeOpen(action: string): void {
    if (!this.#open) throw new MdError("E_IO", `cannot ${action} ${this.path}: it is closed`);
  }

  #queue<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(action);
    this.#last = result.catch(() => {});
    return result;
  }
}
