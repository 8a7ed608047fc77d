import { execFileSync } from "node:child_process";

/** Runs `use` on a loop device over the file, which goes away whatever happens. */
export async function withLoopDevice<T>(file: string, use: (device: string) => Promise<T> | T): Promise<T> {
  const device = execFileSync("losetup", ["--find", "--show", file], { encoding: "utf8" }).trim();
  try {
    return await use(device);
  } finally {
    execFileSync("losetup", ["--detach", device]);
  }
}

/** Whether this machine lets us have one. */
export function haveLoopDevices(): boolean {
  try {
    execFileSync("losetup", ["--find"], { stdio: "pipe" });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}
