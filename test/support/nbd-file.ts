import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { tempDir } from "./temp-dir.ts";

const POLL_MS = 20;

/** Whether this machine lets us show an export as a file: FUSE, and the right to mount it. */
export function haveFuse(): boolean {
  try {
    accessSync("/dev/fuse", constants.R_OK | constants.W_OK);
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}

/** Runs `use` with a file that is the export (nbdfuse, for programs that know no NBD), which goes away whatever happens. */
export async function withNbdFile<T>(uri: string, use: (path: string) => Promise<T>): Promise<T> {
  const folder = tempDir("nbd-file");
  const [file, pidFile] = [join(folder.path, "disk"), join(folder.path, "pid")];
  writeFileSync(file, "");
  const child = spawn("nbdfuse", ["-P", pidFile, file, uri], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (data: Buffer) => {
    said += data.toString();
  });
  try {
    while (!existsSync(pidFile)) {
      if (child.exitCode !== null) throw new Error(`nbdfuse ${uri} ended with ${child.exitCode}: ${said}`);
      await pause(POLL_MS);
    }
    return await use(file);
  } finally {
    await unmounted(child);
    folder.remove();
  }
}

async function unmounted(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  await gone;
}
