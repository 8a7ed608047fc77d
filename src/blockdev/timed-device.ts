import { MdError } from "../base/md-error.ts";
import type { Sector } from "../base/units.ts";
import type { Clock } from "../env/clock.ts";
import type { BlockDevice } from "./block-device.ts";

/**
 * A device that nobody waits for longer than `timeoutMs`: then E_IO, and E_IO at once for everything else until it has
 * answered, and as long as `isHung` says that it does not answer others. What it was asked may still happen: it is the caller's to use it no more.
 */
export class TimedDevice implements BlockDevice {
  readonly path: string;
  readonly size: Sector;
  readonly logicalBlockSize: number;
  readonly #device: BlockDevice;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #isHung: () => boolean;
  /** Operations that nobody waits for any more. */
  #late = 0;
  /** Told when the first is late, and when all that were have been answered. */
  onLate: () => void = () => {};
  onAnswered: () => void = () => {};

  constructor(device: BlockDevice, clock: Clock, timeoutMs: number, isHung = (): boolean => false) {
    this.path = device.path;
    this.size = device.size;
    this.logicalBlockSize = device.logicalBlockSize;
    this.#device = device;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#isHung = isHung;
  }

  /** Into memory of its own: what comes late must not be written over what the caller has there by then. */
  async read(at: Sector, into: Uint8Array): Promise<void> {
    const own = new Uint8Array(into.byteLength);
    await this.#inTime("read", () => this.#device.read(at, own));
    into.set(own);
  }

  write(at: Sector, from: Uint8Array): Promise<void> {
    const own = from.slice();
    return this.#inTime("write", () => this.#device.write(at, own));
  }

  flush(): Promise<void> {
    return this.#inTime("flush", () => this.#device.flush());
  }

  /** Of a device that does not answer: it is closed when it does. */
  async close(): Promise<void> {
    const closed = this.#device.close();
    if (this.#late === 0 && !this.#isHung()) await closed;
    else closed.catch(() => {});
  }

  #inTime(what: string, begin: () => Promise<void>): Promise<void> {
    if (this.#late > 0 || this.#isHung()) return Promise.reject(this.#error(what));
    return new Promise((resolve, reject) => {
      let isLate = false;
      const timer = this.#clock.after(this.#timeoutMs, () => {
        isLate = true;
        if (this.#late++ === 0) this.onLate();
        reject(this.#error(what));
      });
      const end = (): void => {
        timer.cancel();
        if (isLate && --this.#late === 0) this.onAnswered();
      };
      begin().then(
        () => {
          end();
          resolve();
        },
        (error: unknown) => {
          end();
          reject(error);
        },
      );
    });
  }

  #error(what: string): MdError {
    return new MdError("E_IO", `cannot ${what} ${this.path}: it has not answered for ${this.#timeoutMs / 1000} s`);
  }
}
