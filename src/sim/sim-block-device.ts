import { MdError } from "../base/md-error.ts";
import { SECTOR_SIZE, type Sector, sector } from "../base/units.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import type { DiskOp, DiskUser, SimDisk } from "./sim-disk.ts";

/** The control plane's way to a simulated disk. */
export class SimBlockDevice implements BlockDevice {
  readonly path: string;
  readonly size: Sector;
  readonly logicalBlockSize = SECTOR_SIZE;
  readonly #disk: SimDisk;
  readonly #user: DiskUser;
  readonly #readOnly: boolean;

  constructor(disk: SimDisk, user: DiskUser, { readOnly }: { readonly readOnly: boolean }) {
    this.#disk = disk;
    this.#user = user;
    this.#readOnly = readOnly;
    this.path = disk.path;
    this.size = sector(disk.sectors);
  }

  read(at: Sector, into: Uint8Array): Promise<void> {
    return this.#transfer({ type: "read", at, target: into }, at, into.byteLength);
  }

  write(at: Sector, from: Uint8Array): Promise<void> {
    if (this.#readOnly) return Promise.reject(this.#error("write", at, "EBADF"));
    return this.#transfer({ type: "write", at, source: from, durable: false }, at, from.byteLength);
  }

  flush(): Promise<void> {
    return this.#run({ type: "flush" }, "flush", sector(0));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #transfer(op: DiskOp & { type: "read" | "write" }, at: Sector, bytes: number): Promise<void> {
    const outside = at < 0 || at + bytes / SECTOR_SIZE > this.size;
    if (outside || bytes % SECTOR_SIZE !== 0) return Promise.reject(this.#error(op.type, at, "EINVAL"));
    return bytes === 0 ? Promise.resolve() : this.#run(op, op.type, at);
  }

  #run(op: DiskOp, action: string, at: Sector): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#disk.submit(op, this.#user, (result) => {
        this.#user.thread.later(() => {
          if (result < 0) reject(this.#error(action, at, "EIO"));
          else resolve();
        });
      });
    });
  }

  #error(action: string, at: Sector, errno: string): MdError {
    return new MdError("E_IO", `cannot ${action} ${this.path} at sector ${at}: ${errno}`, {
      details: { path: this.path, sector: at, errno },
    });
  }
}
