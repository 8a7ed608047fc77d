import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Guard } from "../../src/daemon/guard.ts";
import { SharedBlock } from "../../src/engine/shared-block.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realClock, realEnv } from "../../src/env/real-env.ts";
import { tempDir } from "../support/temp-dir.ts";

const sourceOf = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);

describe("the guard's thread", () => {
  let folder: ReturnType<typeof tempDir>;
  beforeEach(() => {
    folder = tempDir("guard");
  });
  afterEach(() => folder.remove());

  it("ends a process whose main thread is in an endless loop, though nothing of its own runs any more (F08)", async () => {
    const script = join(folder.path, "script.mts");
    writeFileSync(
      script,
      `import { Guard } from ${sourceOf("daemon/guard.ts")};
       import { realEnv } from ${sourceOf("env/real-env.ts")};
       import { silentLogger } from ${sourceOf("env/logger.ts")};
       await Guard.start({ env: realEnv(silentLogger), leaseMs: 1000, watchdog: null, usesPill: false, onDeath: () => {} });
       process.stdout.write("ready");
       setTimeout(() => { for (;;); }, 100);`,
    );
    const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), script], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    const [code, signal] = (await once(child, "close")) as [number | null, string | null];
    expect({ code, signal }, said).toEqual({ code: null, signal: "SIGKILL" });
    expect(JSON.parse(said)).toMatchObject({ evt: "guard.kill", msg: /the control plane has not come round/ });
  });

  it("pets the watchdog while an array is safe, not while it is not, and disarms it in the end", async () => {
    const device = join(folder.path, "watchdog0");
    writeFileSync(device, "");
    const petted = (): number => readFileSync(device, "latin1").length;
    const guard = await Guard.start({
      env: realEnv(silentLogger),
      leaseMs: 1000,
      watchdog: { device, timeoutMs: 1000 },
      usesPill: false,
      onDeath: () => {},
    });
    const shared = new SharedBlock();
    shared.setLease(realClock.now() + 60_000);
    const forget = guard.watch(shared);
    const before = petted();
    await expect.poll(petted, { timeout: 10_000 }).toBeGreaterThan(before + 2);
    shared.operations = 1;
    shared.setLease(0);
    // A look that was under way may still pet once.
    await expect.poll(() => steady(petted), { timeout: 10_000 }).toBe(true);
    forget();
    const resting = petted();
    await expect.poll(petted, { timeout: 10_000 }).toBeGreaterThan(resting);
    await guard.stop();
    expect(readFileSync(device, "latin1").endsWith("V")).toBe(true);
  });

  it("refuses a watchdog that cannot be opened", async () => {
    const device = join(folder.path, "no", "watchdog0");
    const options = {
      env: realEnv(silentLogger),
      leaseMs: 1000,
      watchdog: { device, timeoutMs: 1000 },
      usesPill: false,
    };
    await expect(Guard.start({ ...options, onDeath: () => {} })).rejects.toMatchObject({ code: "E_VALUE" });
    expect(existsSync(device)).toBe(false);
  });
});

/** Does it stay the same for several looks of the guard? */
async function steady(value: () => number): Promise<boolean> {
  const before = value();
  await new Promise((resolve) => setTimeout(resolve, 500));
  return value() === before;
}
