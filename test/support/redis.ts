import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { tempDir } from "./temp-dir.ts";

export interface RedisServer {
  /** redis://127.0.0.1:PORT */
  readonly url: string;
  readonly port: number;
  readonly directory: string;
  readonly process: ChildProcess;
  /** Ends it without a word (SIGKILL by default) and removes its directory. */
  stop(): Promise<void>;
  /** Ends it with SIGKILL and starts it again on the same port, with what it had written to disk. */
  restart(): Promise<void>;
}

/** A redis-server of its own for a test, on a free port of the loopback, without persistence unless asked for. */
export async function startRedis(args: readonly string[] = []): Promise<RedisServer> {
  const directory = tempDir("redis");
  const port = await freePort();
  let process = await launch(port, directory.path, args);
  const kill = async (): Promise<void> => {
    if (process.exitCode !== null || process.signalCode !== null) return;
    process.kill("SIGKILL");
    await once(process, "close");
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    directory: directory.path,
    get process() {
      return process;
    },
    stop: async () => {
      await kill();
      directory.remove();
    },
    restart: async () => {
      await kill();
      process = await launch(port, directory.path, args);
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  probe.close();
  await once(probe, "close");
  return port;
}

async function launch(port: number, directory: string, args: readonly string[]): Promise<ChildProcess> {
  const base = ["--port", String(port), "--bind", "127.0.0.1", "--dir", directory, "--save", "", "--daemonize", "no"];
  const logs = ["--logfile", "", "--unixsocket", join(directory, "redis.sock")];
  const child = spawn("redis-server", [...base, ...logs, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.includes("Ready to accept connections")) break;
  }
  child.stdout.resume();
  if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}`);
  return child;
}
