import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { cacheFolder } from "./cache.ts";

/**
 * One set of guests at a time on this machine, and one download: waits until no other holds the lock. The returned function
 * lets it go, and so does the end of this process, however it ends: the holder reads a pipe that then closes.
 */
export async function takeVmLock(): Promise<() => void> {
  const holder = spawn("flock", [join(cacheFolder(), "lock"), "sh", "-c", "echo held; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(holder, "exit").then(([code]) => {
    throw new Error(`flock ended with ${code}`);
  });
  await Promise.race([once(holder.stdout, "data"), ended]);
  ended.catch(() => {});
  return () => holder.stdin.end();
}
