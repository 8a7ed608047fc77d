import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isIoOver } from "../../src/blockdev/io-hold.ts";
import { openRing } from "../../src/blockdev/open-ring.ts";
import { haveLoopDevices } from "../support/loop-device.ts";
import { StallingDevice } from "../support/stalling-device.ts";
import { tempDir } from "../support/temp-dir.ts";

const POLL_MS = 10;

let folder: ReturnType<typeof tempDir>;
let hold: string;
beforeEach(() => {
  folder = tempDir("io-hold");
  hold = join(folder.path, "hold");
});
afterEach(() => folder.remove());

describe.each(["io_uring", "threads"] as const)("what a ring holds (%s)", (kind) => {
  it("is held as long as one ring of those that share it is open; no file is no proof", () => {
    expect(isIoOver(hold)).toBe(false);
    const open = () => openRing(kind, { entries: 64, arenaBytes: 1 << 20 });
    const [a, b] = [open(), open()];
    a.holdFile?.(hold);
    b.holdFile?.(hold);
    expect(isIoOver(hold)).toBe(false);
    a.close();
    expect(isIoOver(hold)).toBe(false);
    b.close();
    expect(isIoOver(hold)).toBe(true);
    rmSync(hold);
    expect(isIoOver(hold)).toBe(false);
  });
});

/** A process that holds a file and has a device open. */
class Writer {
  readonly child: ChildProcessByStdio<Writable, Readable, null>;

  constructor(device: string, hold: string) {
    const command = ["--import", "tsx", "test/support/ring-writer.ts", device, hold];
    this.child = spawn(process.execPath, command, { stdio: ["pipe", "pipe", "inherit"] });
  }

  async says(word: string): Promise<void> {
    const [text] = await once(this.child.stdout, "data");
    expect(String(text)).toContain(word);
  }

  async kill(): Promise<void> {
    const ended = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await ended;
  }
}

describe.runIf(haveLoopDevices())("a process that is killed with a write in flight", () => {
  let device: StallingDevice | null = null;
  const writers: Writer[] = [];
  afterEach(async () => {
    for (const { child } of writers.splice(0)) child.kill("SIGKILL");
    await device?.close();
    device = null;
  });

  it("is gone before the write is; what its ring held tells when that is over", { timeout: 120_000 }, async () => {
    const backing = join(folder.path, "backing.img");
    writeFileSync(backing, "");
    truncateSync(backing, 1 << 24);
    device = await StallingDevice.open(backing, join(folder.path, "served.img"));
    const idleHold = join(folder.path, "idle");
    const [writer, idle] = [new Writer(device.path, hold), new Writer(device.path, idleHold)];
    writers.push(writer, idle);
    await Promise.all([writer.says("held"), idle.says("held")]);
    device.stall();
    writer.child.stdin.write("\n");
    await writer.says("submitted");
    await writer.kill();
    expect(existsSync(`/proc/${writer.child.pid}`)).toBe(false);
    // Whose ring has nothing in flight is known to be over meanwhile.
    expect(isIoOver(idleHold)).toBe(false);
    await idle.kill();
    while (!isIoOver(idleHold)) await pause(POLL_MS);
    expect(isIoOver(hold)).toBe(false);
    device.goOn();
    while (!isIoOver(hold)) await pause(POLL_MS);
  });
});
