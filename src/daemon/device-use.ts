import { closeSync, constants, openSync, readdirSync, readFileSync, type Stats, statSync } from "node:fs";
import { MdError } from "../base/md-error.ts";

/** A device or file as the host sees it, before anything is opened for writing. */
export interface DeviceIdentity {
  readonly path: string;
  /** Equal for two names of one thing. */
  readonly key: string;
  readonly isBlockDevice: boolean;
}

/**
 * Looks at what is to become a member without opening it for writing. E_NO_DEVICE, E_NOT_BLOCKDEV (a regular file
 * without `fileMembers`), E_DEVICE_BUSY when it is mounted, swap, or held by another driver.
 */
export function checkDeviceUse(path: string, fileMembers: boolean): DeviceIdentity {
  const stats = look(path);
  if (stats.isBlockDevice()) {
    refuseMounted(path, stats.rdev);
    refuseHeld(path);
    return { path, key: `dev ${stats.rdev}`, isBlockDevice: true };
  }
  if (!stats.isFile()) {
    throw new MdError("E_NOT_BLOCKDEV", `${path} is neither a block device nor a regular file`);
  }
  if (!fileMembers) {
    throw new MdError("E_NOT_BLOCKDEV", `${path} is a regular file, not a block device`, {
      why: "files as members are for laboratories and tests",
      hint: "add --file-members",
    });
  }
  return { path, key: `file ${stats.dev}:${stats.ino}`, isBlockDevice: false };
}

function look(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EACCES") throw new MdError("E_PERMISSION", `${path} cannot be looked at`, { why: message });
    throw new MdError("E_NO_DEVICE", `${path} does not exist on this node`, { why: message });
  }
}

/** MAJOR:MINOR, as in /sys/dev/block. */
export const deviceNumbers = (device: number): string =>
  `${(device >>> 8) & 0xfff}:${(device & 0xff) | ((device >>> 12) & 0xfff00)}`;

/** Mounted or used as swap: itself, or one of its partitions. */
function refuseMounted(path: string, device: number): void {
  const own = new Set([deviceNumbers(device), ...partitionsOf(deviceNumbers(device))]);
  for (const line of readLines("/proc/self/mountinfo")) {
    const [, , at, , folder] = line.split(" ");
    if (at !== undefined && own.has(at)) throw new MdError("E_DEVICE_BUSY", `${path} is mounted on ${folder}`);
  }
  for (const line of readLines("/proc/swaps").slice(1)) {
    const [swap = ""] = line.split(/\s+/);
    const stats = statSync(swap, { throwIfNoEntry: false });
    if (stats?.isBlockDevice() && own.has(deviceNumbers(stats.rdev))) {
      throw new MdError("E_DEVICE_BUSY", `${path} is used as swap`);
    }
  }
}

/** MAJOR:MINOR of each. */
export function partitionsOf(device: string): readonly string[] {
  const folder = `/sys/dev/block/${device}`;
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) => readLines(`${folder}/${name}/dev`).slice(0, 1))
      .filter((text) => /^\d+:\d+$/.test(text));
  } catch {
    return [];
  }
}

/** O_EXCL on a block device: refused while a file system, md, dm or swap has claimed it. */
function refuseHeld(path: string): void {
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_EXCL));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== "EBUSY")
      throw new MdError(code === "EACCES" ? "E_PERMISSION" : "E_IO", `cannot open ${path}`, { why: message });
    throw new MdError("E_DEVICE_BUSY", `${path} is in use by another driver`, {
      why: "md, dm or a mount holds it",
      hint: `lsblk ${path}`,
    });
  }
}

/** None if it cannot be read. */
export function readLines(file: string): readonly string[] {
  try {
    return readFileSync(file, "utf8").trim().split("\n");
  } catch {
    return [];
  }
}
