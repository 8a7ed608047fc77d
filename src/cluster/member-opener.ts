import { MdError } from "../base/md-error.ts";
import type { OpenBlockDevice } from "../blockdev/block-device.ts";
import { TimedDevice } from "../blockdev/timed-device.ts";
import type { Clock } from "../env/clock.ts";
import { LeasedDevice, type WriteLease } from "./leased-device.ts";

/**
 * Opens devices for the control plane: they are written under our lease only, and waited for no longer than the timeout.
 * One that was given up by the data plane is not opened until it has answered: a write of before could land on what a
 * recovery has copied there.
 */
export class MemberOpener {
  readonly #open: OpenBlockDevice;
  readonly #lease: WriteLease;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #hung = new Set<string>();

  /** `timeoutMs` 0: for ever. */
  constructor(open: OpenBlockDevice, lease: WriteLease, clock: Clock, timeoutMs: number) {
    this.#open = open;
    this.#lease = lease;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  readonly open: OpenBlockDevice = async (path, how) => {
    if (this.#hung.has(path)) {
      const why = "it was asked to write before, and has not answered yet: that may still happen";
      throw new MdError("E_DEVICE_BUSY", `${path} cannot be used`, { why, hint: "reset the device, or wait" });
    }
    const device = await this.#open(path, how);
    if (this.#timeoutMs === 0) return new LeasedDevice(device, this.#lease);
    const isHung = (): boolean => this.#hung.has(path);
    return new LeasedDevice(new TimedDevice(device, this.#clock, this.#timeoutMs, isHung), this.#lease);
  };

  /** It does not answer; `answered` says that it has. */
  hangs(path: string): void {
    this.#hung.add(path);
  }

  answered(path: string): void {
    this.#hung.delete(path);
  }
}
