import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isProcessGone, isRebooted, ownProcess } from "../../src/dlm/local-process.ts";
import { runLockServer } from "../../src/dlm/socket/lock-server.ts";
import { connectSocketMaster } from "../../src/dlm/socket/socket-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { joinRecorded } from "../support/lockspace-node.ts";
import { tempDir } from "../support/temp-dir.ts";

const env = realEnv(silentLogger);

describe("the proof that a process has ended", () => {
  const startedOf = (pid: number): string =>
    readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ")[19] ?? "";

  it("is not given for a living process, nor for one of another host", () => {
    const self = ownProcess();
    expect(self.pid).toBe(process.pid);
    expect(isProcessGone(self)).toBe(false);
    expect(isProcessGone({ ...self, pid: 2 ** 22 + 1 })).toBe(true);
    expect(isProcessGone({ ...self, pid: 2 ** 22 + 1, host: "another" })).toBe(false);
  });

  it("is given for the same machine before its last boot, of which nothing runs any more", () => {
    const self = ownProcess();
    const [machine, boot, namespace] = self.host.split("/");
    const on = (host: string): boolean => isRebooted({ ...self, host });
    expect([on(self.host), on(`${machine}/another/${namespace}`)]).toEqual([false, machine !== ""]);
    expect([on(`another/${boot}/${namespace}`), on(`another/another/${namespace}`)]).toEqual([false, false]);
    expect(on(`/another/${namespace}`)).toBe(false);
  });

  it("is given when the pid belongs to another process now", () => {
    expect(isProcessGone({ ...ownProcess(), started: "1" })).toBe(true);
  });

  it("is given once a killed process is gone, and not while it is stopped", async () => {
    const child = spawn("sleep", ["1000"]);
    await once(child, "spawn");
    const pid = child.pid ?? 0;
    const identity = { ...ownProcess(), pid, started: startedOf(pid) };
    child.kill("SIGSTOP");
    expect(isProcessGone(identity)).toBe(false);
    child.kill("SIGKILL");
    await once(child, "close");
    expect(isProcessGone(identity)).toBe(true);
  });
});

describe("a node that is killed on this host", () => {
  it("loses its locks long before its lease has run out", { timeout: 9000 }, async () => {
    const directory = tempDir("lockd");
    const socketPath = join(directory.path, "lockd.sock");
    const server = await runLockServer({ socketPath, env });
    const master = await connectSocketMaster({ socketPath, env });
    const lease = { leaseMs: 10_000 };
    const survivor = await joinRecorded(master, env, "n2", { process: ownProcess(), isProcessGone, lease });
    const holder = spawn(process.execPath, ["--import", "tsx", "test/support/lock-holder.ts", socketPath], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      expect(String((await once(holder.stdout, "data"))[0])).toBe("held\n");
      const lock = await survivor.lockspace.open("message", { lvb: true });
      const waiting = lock.convert("EX");
      holder.kill("SIGKILL");
      expect(await waiting).toMatchObject({ status: "granted", lvbValid: false });
      expect(survivor.log).toContain("slot 1 n1");
    } finally {
      holder.kill("SIGKILL");
      await survivor.lockspace.leave();
      await master.close();
      await server?.close();
      directory.remove();
    }
  });
});
