import { deferred } from "../../src/base/deferred.ts";
import { MdError } from "../../src/base/md-error.ts";
import { bytesOf, type Sector, sector } from "../../src/base/units.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";
import { MemoryDevice } from "../../src/blockdev/memory-device.ts";

/** Disks that several hosts share. Any of them can be made to fail, for all hosts or for one. */
export class SharedDisks {
  readonly #bytes = new Map<string, Uint8Array>();
  readonly #failing = new Set<string>();
  /** `host path` of every device that a host may not see. */
  readonly #hidden = new Set<string>();
  readonly #held = new Map<string, Promise<void>>();

  /** Called before each write of a host's control plane. */
  onWrite: (path: string, host: string) => void = () => {};
  /** Called after each flush of the control plane. */
  onFlush: (path: string) => void = () => {};
  /** `host path` of every device that cannot be read. */
  readonly unreadable = new Set<string>();

  /** Sectors of devices that a host sees smaller than they are, as `host path`. */
  readonly sizes = new Map<string, number>();
  /** Devices with blocks of another size than 512 bytes, as `host path`. */
  readonly blockSizes = new Map<string, number>();

  add(path: string, sectors: number): void {
    this.#bytes.set(path, new Uint8Array(sectors * 512));
  }

  bytes(path: string): Uint8Array {
    const bytes = this.#bytes.get(path);
    if (bytes === undefined) throw new Error(`no disk ${path}`);
    return bytes;
  }

  data(path: string, at: number, sectors: number): Uint8Array {
    return this.bytes(path).slice(at * 512, (at + sectors) * 512);
  }

  get paths(): readonly string[] {
    return [...this.#bytes.keys()];
  }

  /** From now on writes and flushes of `host` (any: "*") to this disk fail. */
  failWrites(path: string, host = "*"): void {
    this.#failing.add(`${host} ${path}`);
  }

  heal(path: string, host = "*"): void {
    this.#failing.delete(`${host} ${path}`);
  }

  hide(path: string, host: string): void {
    this.#hidden.add(`${host} ${path}`);
  }

  isFailing(path: string, host: string): boolean {
    return this.#failing.has(`* ${path}`) || this.#failing.has(`${host} ${path}`);
  }

  /** The control plane's reads of `host` take until the returned function is called. */
  holdReads(host: string): () => void {
    const { promise, resolve } = deferred<void>();
    this.#held.set(host, promise);
    return () => {
      this.#held.delete(host);
      resolve();
    };
  }

  open(path: string, host: string): BlockDevice {
    const bytes = this.#bytes.get(path);
    if (bytes === undefined || this.#hidden.has(`${host} ${path}`)) {
      throw new MdError("E_NO_DEVICE", `${path} does not exist on ${host}`);
    }
    const device = new MemoryDevice(path, bytes, this.blockSizes.get(`${host} ${path}`));
    const onFlush = (): void => this.onFlush(path);
    const onWrite = (): void => this.onWrite(path, host);
    const check = (at: Sector): void => {
      if (this.isFailing(path, host)) throw new MdError("E_IO", `${path}: write error at ${at}`);
    };
    return {
      path,
      size: sector(this.sizes.get(`${host} ${path}`) ?? device.size),
      logicalBlockSize: device.logicalBlockSize,
      read: async (at, into) => {
        await this.#held.get(host);
        if (this.unreadable.has(`${host} ${path}`)) throw new MdError("E_IO", `${path}: read error at ${at}`);
        await device.read(at, into);
      },
      async write(at, from) {
        onWrite();
        check(at);
        await device.write(at, from);
      },
      async flush() {
        check(0 as Sector);
        await device.flush();
        onFlush();
      },
      close: () => device.close(),
    };
  }

  isVisible(path: string, host: string): boolean {
    return this.#bytes.has(path) && !this.#hidden.has(`${host} ${path}`);
  }

  poke(path: string, at: number, fill: number, sectors: number): void {
    this.bytes(path).fill(fill, bytesOf(at as Sector), bytesOf((at + sectors) as Sector));
  }
}
