import { closeSync, openSync, readFileSync, realpathSync, writeSync } from "node:fs";
import { MdError } from "../base/md-error.ts";

export interface WatchdogOptions {
  readonly device: string;
  /** Milliseconds: what the device must be set to already; it is not changed here. */
  readonly timeoutMs: number;
  /** Where the kernel tells of watchdogs. */
  readonly sysfs?: string;
}

const refusal = (device: string, why: string, hint: string): MdError =>
  new MdError("E_VALUE", `fence: the watchdog ${device} cannot be used: ${why}`, { hint });

/** E_VALUE: it is not there, or its timeout is not the configured one. Opens nothing: opening arms it. */
export function checkWatchdog({ device, timeoutMs, sysfs = "/sys/class/watchdog" }: WatchdogOptions): void {
  let name: string;
  try {
    name = realpathSync(device).split("/").at(-1) ?? "";
  } catch {
    throw refusal(device, "it does not exist", "modprobe softdog, or load the driver of the hardware's own");
  }
  // /dev/watchdog is the first one under its old name.
  const file = `${sysfs}/${name === "watchdog" ? "watchdog0" : name}/timeout`;
  let seconds: number;
  try {
    seconds = Number(readFileSync(file, "latin1").trim());
  } catch {
    throw refusal(device, `its timeout cannot be read from ${file}`, "name the device as in /sys/class/watchdog");
  }
  if (seconds * 1000 === timeoutMs) return;
  const wanted = timeoutMs / 1000;
  throw refusal(
    device,
    `its timeout is ${seconds} s, ${wanted} s are configured`,
    `wdctl --settimeout ${wanted} ${device}, or watchdog-timeout=${seconds}s`,
  );
}

/** An armed watchdog: the machine is reset when it is not petted in time, also when this process ends without `disarm`. */
export class Watchdog {
  readonly #fd: number;

  /** Arms it. E_VALUE: it is in use by another program, or not for us. */
  constructor({ device }: WatchdogOptions) {
    try {
      this.#fd = openSync(device, "w");
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
      const why = code === "EBUSY" ? "another program has it open" : `it cannot be opened (${code})`;
      throw refusal(device, why, "stop the other program: only one can pet a watchdog");
    }
  }

  pet(): void {
    writeSync(this.#fd, "\0");
  }

  /** For an orderly end. A driver that was told "nowayout" goes on all the same. */
  disarm(): void {
    writeSync(this.#fd, "V");
    closeSync(this.#fd);
  }
}
