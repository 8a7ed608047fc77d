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
  /** Paths of devices that do not answer; and of such as have not answered something that was given up. */
  readonly #hung = new Set<string>();
  readonly #owing = new Set<string>();
  /** The same of what we have asked ourselves: how many times it is open so. */
  readonly #late = new Map<string, number>();

  /** `timeoutMs` 0: for ever. */
  constructor(open: OpenBlockDevice, lease: WriteLease, clock: Clock, timeoutMs: number) {
    this.#open = open;
    this.#lease = lease;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  readonly open: OpenBlockDevice = async (path, how) => {
    if (this.#hung.has(path) || this.#owing.has(path) || this.#late.has(path)) {
      const why = "it was asked to write before, and has not answered yet: that may still happen";
      throw new MdError("E_DEVICE_BUSY", `${path} cannot be used`, { why, hint: "reset the device, or wait" });
    }
    const device = await this.#open(path, how);
    if (this.#timeoutMs === 0) return new LeasedDevice(device, this.#lease);
    const timed = new TimedDevice(device, this.#clock, this.#timeoutMs, () => this.#hung.has(path));
    timed.onLate = () => this.#countLate(path, 1);
    timed.onAnswered = () => this.#countLate(path, -1);
    return new LeasedDevice(timed, this.#lease);
  };

  /** It does not answer; `answered` says that it has. */
  hangs(path: string): void {
    this.#hung.add(path);
  }

  /** The data plane has given up something that it was asked, a read perhaps: it may be in use, but is not opened anew. */
  owes(path: string): void {
    this.#owing.add(path);
  }

  answered(path: string): void {
    this.#hung.delete(path);
    this.#owing.delete(path);
  }

  #countLate(path: string, by: number): void {
    const count = (this.#late.get(path) ?? 0) + by;
    if (count > 0) this.#late.set(path, count);
    else this.#late.delete(path);
  }
}
