import { existsSync, realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { deviceNumbers } from "./device-use.ts";

/** What a member lies on: equal for two partitions of one disk, and for two names of one thing. */
export function diskOf(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return path;
  if (!stats.isBlockDevice()) return `file ${stats.dev}:${stats.ino}`;
  const node = `/sys/dev/block/${deviceNumbers(stats.rdev)}`;
  if (!existsSync(node)) return `dev ${stats.rdev}`;
  const device = realpathSync(node);
  return existsSync(`${device}/partition`) ? dirname(device) : device;
}
