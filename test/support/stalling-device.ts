import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { statSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { attachLoop, detachLoop } from "./loop-device.ts";

const POLL_MS = 20;

/** A block device that stops answering when it is told to: a loop device over a file that another process serves (FUSE). */
export class StallingDevice {
  readonly path: string;
  readonly #server: ChildProcess;

  private constructor(path: string, server: ChildProcess) {
    this.path = path;
    this.#server = server;
  }

  /** `backing`: a file of the size that the device is to have; `at`: a path for the file that is served. */
  static async open(backing: string, at: string): Promise<StallingDevice> {
    writeFileSync(at, "");
    const server = spawn(
      "qemu-storage-daemon",
      [
        ...["--blockdev", `driver=file,node-name=backing,filename=${backing}`],
        ...["--export", `fuse,id=export,node-name=backing,mountpoint=${at},writable=on`],
      ],
      { stdio: "ignore" },
    );
    while (statSync(at).size === 0) {
      if (server.exitCode !== null) throw new Error(`qemu-storage-daemon ended with ${server.exitCode}`);
      await pause(POLL_MS);
    }
    return new StallingDevice(attachLoop(at), server);
  }

  stall(): void {
    this.#server.kill("SIGSTOP");
  }

  goOn(): void {
    this.#server.kill("SIGCONT");
  }

  async close(): Promise<void> {
    this.goOn();
    detachLoop(this.path);
    const ended = once(this.#server, "exit");
    this.#server.kill("SIGTERM");
    await ended;
  }
}
