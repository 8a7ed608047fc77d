import { execFileSync } from "node:child_process";

/** Runs `use` on a loop device over the file, which goes away whatever happens. */
export async function withLoopDevice<T>(file: string, use: (device: string) => Promise<T> | T): Promise<T> {
  const device = attachLoop(file);
  try {
    return await use(device);
  } finally {
    detachLoop(device);
  }
}

/** A loop device over the file, with blocks of so many bytes; somebody has to detach it. */
export const attachLoop = (file: string, blockBytes = 512): string =>
  execFileSync("losetup", ["--find", "--show", `--sector-size=${blockBytes}`, file], { encoding: "utf8" }).trim();

export const detachLoop = (device: string): void => void execFileSync("losetup", ["--detach", device]);

/** Whether this machine lets us have one. */
export function haveLoopDevices(): boolean {
  try {
    execFileSync("losetup", ["--find"], { stdio: "pipe" });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}
