import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { statSync, truncateSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** A file that is like a slow device: whatever reads it, and from how many threads, gets so many reads a second and no more. */
export interface ThrottledFile {
  readonly path: string;
  stop(): Promise<void>;
}

/** A file of `bytes` bytes at `path`, served out of `path`.raw by FUSE; needs /dev/fuse. Writes are not held back. */
export async function startThrottledFile(path: string, bytes: number, readsPerSecond: number): Promise<ThrottledFile> {
  const raw = `${path}.raw`;
  writeFileSync(raw, "");
  truncateSync(raw, bytes);
  writeFileSync(path, "");
  const child: ChildProcess = spawn(
    "qemu-storage-daemon",
    [
      ...["--object", `throttle-group,id=rate,x-iops-read=${readsPerSecond}`],
      ...["--blockdev", `driver=file,node-name=raw,filename=${raw},discard=unmap`],
      ...["--blockdev", "driver=throttle,node-name=slow,throttle-group=rate,file=raw"],
      ...["--export", `type=fuse,id=export,node-name=slow,mountpoint=${path},writable=on`],
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  while (statSync(path).size !== bytes) {
    if (child.exitCode !== null) throw new Error("qemu-storage-daemon did not start: is there a /dev/fuse?");
    await sleep(20);
  }
  return {
    path,
    async stop() {
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
    },
  };
}
