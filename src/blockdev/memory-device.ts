import { MdError } from "../base/md-error.ts";
import { bytesOf, type Sector, sectorsIn } from "../base/units.ts";
import type { BlockDevice } from "./block-device.ts";
import { checkTransfer } from "./check-transfer.ts";

/** A device in memory, for tests and simulations. Several may share one array of bytes, as hosts share a disk. */
export class MemoryDevice implements BlockDevice {
  readonly path: string;
  readonly size: Sector;
  readonly logicalBlockSize: number;
  readonly #bytes: Uint8Array;
  #open = true;

  /** Bytes beyond the last whole block do not count. */
  constructor(path: string, bytes: Uint8Array, logicalBlockSize = 512) {
    this.path = path;
    this.size = sectorsIn(Math.floor(bytes.byteLength / logicalBlockSize) * logicalBlockSize);
    this.logicalBlockSize = logicalBlockSize;
    this.#bytes = bytes;
  }

  async read(at: Sector, into: Uint8Array): Promise<void> {
    this.#check("read", at, into.byteLength);
    into.set(this.#bytes.subarray(bytesOf(at), bytesOf(at) + into.byteLength));
  }

  async write(at: Sector, from: Uint8Array): Promise<void> {
    this.#check("write", at, from.byteLength);
    this.#bytes.set(from, bytesOf(at));
  }

  async flush(): Promise<void> {
    this.#check("flush", 0 as Sector, 0);
  }

  async close(): Promise<void> {
    this.#open = false;
  }

  #check(action: string, at: Sector, bytes: number): void {
    if (!this.#open) throw new MdError("E_IO", `cannot ${action} ${this.path}: it is closed`);
    checkTransfer(this, action, at, bytes);
  }
}
