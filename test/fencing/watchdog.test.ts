import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkWatchdog, Watchdog } from "../../src/fencing/watchdog.ts";
import { tempDir } from "../support/temp-dir.ts";

describe("a watchdog", () => {
  let folder: ReturnType<typeof tempDir>;
  let device: string;
  let sysfs: string;
  beforeEach(() => {
    folder = tempDir("watchdog");
    sysfs = join(folder.path, "sys");
    device = join(folder.path, "watchdog1");
    mkdirSync(join(sysfs, "watchdog1"), { recursive: true });
    writeFileSync(join(sysfs, "watchdog1", "timeout"), "10\n");
    writeFileSync(device, "");
  });
  afterEach(() => folder.remove());

  it("is taken when it is there and set to what is configured", () => {
    expect(() => checkWatchdog({ device, timeoutMs: 10_000, sysfs })).not.toThrow();
    const link = join(folder.path, "by-name");
    symlinkSync(device, link);
    expect(() => checkWatchdog({ device: link, timeoutMs: 10_000, sysfs })).not.toThrow();
    expect(readFileSync(device, "latin1")).toBe("");
  });

  it("is known by its old name, too", () => {
    const old = join(folder.path, "watchdog");
    writeFileSync(old, "");
    mkdirSync(join(sysfs, "watchdog0"));
    writeFileSync(join(sysfs, "watchdog0", "timeout"), "10\n");
    expect(() => checkWatchdog({ device: old, timeoutMs: 10_000, sysfs })).not.toThrow();
  });

  it("is refused when its timeout is another one: all reckoning would be wrong", () => {
    expect(() => checkWatchdog({ device, timeoutMs: 5000, sysfs })).toThrow(/its timeout is 10 s, 5 s are configured/);
  });

  it("is refused when it is not there, or says nothing of its timeout", () => {
    const nowhere = join(folder.path, "nowhere");
    expect(() => checkWatchdog({ device: nowhere, timeoutMs: 10_000, sysfs })).toThrow(/does not exist/);
    const mute = join(folder.path, "watchdog7");
    writeFileSync(mute, "");
    expect(() => checkWatchdog({ device: mute, timeoutMs: 10_000, sysfs })).toThrow(/timeout cannot be read/);
    expect(() => new Watchdog({ device: join(folder.path, "no", "such"), timeoutMs: 1 })).toThrow(/cannot be opened/);
  });

  it("is petted, and disarmed by the letter that only an orderly end writes", () => {
    const watchdog = new Watchdog({ device, timeoutMs: 10_000 });
    watchdog.pet();
    watchdog.pet();
    expect(readFileSync(device, "latin1")).toBe("\0\0");
    watchdog.disarm();
    expect(readFileSync(device, "latin1")).toBe("\0\0V");
  });
});
