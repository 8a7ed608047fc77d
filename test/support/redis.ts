import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { tempDir } from "./temp-dir.ts";

export interface RedisServer {
  /** redis://127.0.0.1:PORT */
  readonly url: string;
  readonly port: number;
  readonly directory: string;
  readonly process: ChildProcess;
  /** Ends it without a word (SIGKILL by default) and removes its directory. */
  stop(): Promise<void>;
  /** Ends it with SIGKILL; its directory stays. */
  kill(): Promise<void>;
  /**
   * Starts it on the same port, after `kill` if it still runs: with what it had written to disk, with nothing, or with
   * what `backup` has kept.
   */
  restart(data?: "kept" | "empty" | Backup): Promise<void>;
  /** A copy of what is on its disk now. */
  backup(): Backup;
  /** What `redis-cli` prints for a command. Rejects if the server refuses it. */
  command(...words: readonly string[]): Promise<string>;
  /** Resolves when it has all that its primary has. */
  replicated(): Promise<void>;
}

export interface Backup {
  readonly path: string;
}

/** Another server than the one of this host: MDCTL_TEST_REDIS=/usr/bin/valkey-server npx vitest run test/dlm */
export const redisProgram = process.env["MDCTL_TEST_REDIS"] ?? "redis-server";

/** Everything that Redis answers has been written and synced. */
export const aofAlways = ["--appendonly", "yes", "--appendfsync", "always"] as const;

/** A redis-server of its own for a test, on a free port of the loopback, without persistence unless asked for. */
export async function startRedis(args: readonly string[] = []): Promise<RedisServer> {
  const folder = tempDir("redis");
  const data = join(folder.path, "data");
  const port = await freePort();
  let backups = 0;
  let process = await launch(port, data, args);
  const kill = async (): Promise<void> => {
    if (process.exitCode !== null || process.signalCode !== null) return;
    process.kill("SIGKILL");
    await once(process, "close");
  };
  const command = (...words: readonly string[]): Promise<string> => redisCli(port, words);
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    directory: data,
    get process() {
      return process;
    },
    stop: async () => {
      await kill();
      folder.remove();
    },
    kill,
    restart: async (from = "kept") => {
      await kill();
      if (from !== "kept") rmSync(data, { recursive: true, force: true });
      if (typeof from === "object") cpSync(from.path, data, { recursive: true });
      process = await launch(port, data, args);
    },
    backup: () => {
      const path = join(folder.path, `backup-${++backups}`);
      cpSync(data, path, { recursive: true, filter: (source) => !source.endsWith(".sock") });
      return { path };
    },
    command,
    replicated: async () => {
      for (;;) {
        const info = await command("info", "replication");
        const behind = !info.includes("master_link_status:up") || info.includes("master_sync_in_progress:1");
        if (!behind) return;
        await pause(20);
      }
    },
  };
}

function redisCli(port: number, words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile("redis-cli", ["-e", "-p", String(port), ...words], (error, stdout, stderr) => {
      if (error === null) resolve(stdout.trim());
      else reject(new Error(`redis-cli ${words.join(" ")}: ${stderr.trim() || stdout.trim() || error.message}`));
    });
  });
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  probe.close();
  await once(probe, "close");
  return port;
}

async function launch(port: number, directory: string, args: readonly string[]): Promise<ChildProcess> {
  mkdirSync(directory, { recursive: true });
  const base = ["--port", String(port), "--bind", "127.0.0.1", "--dir", directory, "--save", "", "--daemonize", "no"];
  const logs = ["--logfile", "", "--unixsocket", join(directory, "redis.sock")];
  const child = spawn(redisProgram, [...base, ...logs, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.includes("Ready to accept connections")) break;
  }
  child.stdout.resume();
  if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}`);
  return child;
}
