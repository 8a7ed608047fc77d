import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { deviceNumbers, partitionsOf, readLines } from "./device-use.ts";

/**
 * Who uses the disk `path` or a partition of it, in words: mounts of any mount namespace that a process here is in, swap,
 * device-mapper and md devices, processes that have it open. This process does not count.
 */
export function holdersOf(path: string): readonly string[] {
  const disk = deviceNumbersOf(path);
  if (disk === null) return [];
  const devices = new Set([disk, ...partitionsOf(disk)]);
  const pids = numericEntries("/proc");
  const mounts = new Set(pids.flatMap((pid) => mountsOf(pid, devices)));
  return [...mounts, ...swapsOn(devices), ...stackedOn(path), ...processesWith(pids, devices)];
}

function mountsOf(pid: number, devices: ReadonlySet<string>): readonly string[] {
  return readLines(`/proc/${pid}/mountinfo`).flatMap((line) => {
    const [, , at = "", , folder = ""] = line.split(" ");
    return devices.has(at) ? [`mounted on ${folder}`] : [];
  });
}

function swapsOn(devices: ReadonlySet<string>): readonly string[] {
  return readLines("/proc/swaps")
    .slice(1)
    .flatMap((line) => {
      const [file = ""] = line.split(/\s+/);
      const numbers = deviceNumbersOf(file);
      return numbers !== null && devices.has(numbers) ? [`swap on ${file}`] : [];
    });
}

/** What the kernel has built on the disk, or on its partitions. */
function stackedOn(path: string): readonly string[] {
  const folder = `/sys/class/block/${basename(path)}`;
  const parts = entries(folder).filter((name) => name.startsWith(basename(path)));
  return [folder, ...parts.map((name) => `${folder}/${name}`)]
    .flatMap((at) => entries(`${at}/holders`))
    .map((name) => `used by /dev/${name}`);
}

function processesWith(pids: readonly number[], devices: ReadonlySet<string>): readonly string[] {
  return pids
    .filter((pid) => pid !== process.pid)
    .filter((pid) =>
      entries(`/proc/${pid}/fd`).some((fd) => {
        const numbers = deviceNumbersOf(`/proc/${pid}/fd/${fd}`);
        return numbers !== null && devices.has(numbers);
      }),
    )
    .map((pid) => `open in process ${pid} (${commandOf(pid)})`);
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "gone";
  }
}

/** Null: it is no block device, or not there. */
function deviceNumbersOf(path: string): string | null {
  try {
    const stats = statSync(path);
    return stats.isBlockDevice() ? deviceNumbers(stats.rdev) : null;
  } catch {
    return null;
  }
}

const numericEntries = (folder: string): readonly number[] =>
  entries(folder)
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

function entries(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
