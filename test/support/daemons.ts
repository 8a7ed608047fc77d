import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Envelope } from "../../src/cli/envelope.ts";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import type { World } from "../../src/cli/world.ts";
import type { HistoryEvent } from "../../src/daemon/control-api.ts";
import { ControlClient } from "../../src/daemon/control-client.ts";
import { realClock } from "../../src/env/real-env.ts";
import type { LifeLog } from "./life-log.ts";
import { tempDir } from "./temp-dir.ts";

const ownProgram = fileURLToPath(new URL("../../bin/mdctl.mjs", import.meta.url));

const inOwnPids = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", process.execPath];

export interface CommandOutcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface HostOptions {
  /** redis://..., of all nodes or of each; absent: a lock server of the host's own, started by the first daemon. */
  readonly lockServer?: string | ((node: string) => string);
  /** Default 2s. */
  readonly lease?: string;
  /** For all daemons, e.g. --log-level=debug. */
  readonly daemonOptions?: readonly string[];
  /** Each has a pid namespace of its own, as if it were on a host of its own: none can see that another is gone. Root only. */
  readonly ownPids?: boolean;
  /** Another mdctl.mjs than this project's: of a build. */
  readonly program?: string;
  /** A command that becomes the one behind it, in the same process, before a node's daemon. */
  readonly under?: (node: string) => readonly string[];
}

interface NodeProcess {
  readonly child: ChildProcess;
  readonly log: string[];
  /** Milliseconds of CLOCK_MONOTONIC. */
  killedAt: number | null;
}

/** A host in a temporary folder: member files, and as many daemons as a test wants. `close` leaves nothing of it. */
export class Host {
  readonly folder = tempDir("host");
  readonly #options: HostOptions;
  readonly #program: string;
  readonly #nodes = new Map<string, NodeProcess>();
  /** All that ever ran here, also those that have ended. */
  readonly #lives: { readonly node: string; readonly process: NodeProcess }[] = [];

  constructor(options: HostOptions = {}) {
    this.#options = options;
    this.#program = options.program ?? ownProgram;
  }

  path(name: string): string {
    return join(this.folder.path, name);
  }

  /** A sparse file. */
  memberFile(name: string, bytes: number): string {
    const path = this.path(name);
    closeSync(openSync(path, "w", 0o600));
    truncateSync(path, bytes);
    return path;
  }

  socketOf(node: string): string {
    return this.path(`${node}.sock`);
  }

  lockServerOf(node: string): string {
    const { lockServer } = this.#options;
    if (lockServer === undefined) return `unix:${this.path("lockd.sock")}`;
    return typeof lockServer === "string" ? lockServer : lockServer(node);
  }

  /** Starts a daemon and waits until it says that it listens. */
  async start(node: string): Promise<void> {
    const args = [
      ...[this.#program, "daemon", `--node=${node}`, "--cluster=test", `--lock-server=${this.lockServerOf(node)}`],
      ...[
        `--socket=${this.socketOf(node)}`,
        `--state-dir=${this.path(node)}`,
        `--lease=${this.#options.lease ?? "2s"}`,
      ],
      ...["--file-members", "--log-format=json", ...(this.#options.daemonOptions ?? [])],
    ];
    const interpreter = this.#options.ownPids === true ? inOwnPids : [process.execPath];
    const [command = "", ...before] = [...(this.#options.under?.(node) ?? []), ...interpreter];
    const child = spawn(command, [...before, ...args], { stdio: ["ignore", "ignore", "pipe"] });
    const log: string[] = [];
    const running: NodeProcess = { child, log, killedAt: null };
    this.#nodes.set(node, running);
    this.#lives.push({ node, process: running });
    const ready = new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stderr }).on("line", (line) => {
        log.push(line);
        if (line.includes('"evt":"ready"')) resolve();
      });
      child.once("exit", (code) => reject(new Error(`${node} ended with ${code}:\n${log.join("\n")}`)));
    });
    await ready;
  }

  /** What the daemon has logged so far. */
  logOf(node: string): string {
    return this.#nodes.get(node)?.log.join("\n") ?? "";
  }

  /** What every daemon that ever ran here has logged. */
  lives(): readonly LifeLog[] {
    return this.#lives.map(({ node, process }) => ({
      life: `${node} (pid ${process.child.pid})`,
      lines: process.log,
      killedAt: process.killedAt,
    }));
  }

  /** Of the daemon itself. */
  pidOf(node: string): number {
    const pid = this.#nodes.get(node)?.child.pid ?? 0;
    if (this.#options.ownPids !== true) return pid;
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8"));
  }

  /** Sends the signal and waits for the end; the exit status, or null when the signal ended it. */
  async end(node: string, signal: NodeJS.Signals): Promise<number | null> {
    const running = this.#nodes.get(node);
    this.#nodes.delete(node);
    if (running === undefined) return null;
    if (signal === "SIGKILL") running.killedAt = realClock.now();
    return endOf(running.child, signal);
  }

  /** Runs `mdctl` against a node's daemon, as a process. */
  run(node: string, ...args: readonly string[]): Promise<CommandOutcome> {
    return runProgram(process.execPath, [this.#program, `--socket=${this.socketOf(node)}`, ...args]);
  }

  /** Begins `mdctl`; the function ends it with SIGINT and tells its exit status. */
  begin(node: string, ...args: readonly string[]): () => Promise<number | null> {
    const child = spawn(process.execPath, [this.#program, `--socket=${this.socketOf(node)}`, ...args], {
      stdio: "ignore",
    });
    return () => endOf(child, "SIGINT");
  }

  /** Runs `mdctl`, sends it SIGINT when it has said its first word, and tells its exit status. */
  async interrupted(node: string, ...args: readonly string[]): Promise<number | null> {
    const child = spawn(process.execPath, [this.#program, `--socket=${this.socketOf(node)}`, ...args], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    child.stderr.once("data", () => child.kill("SIGINT"));
    const [code] = (await once(child, "exit")) as [number | null];
    return code;
  }

  /** The envelope that `mdctl ... --json` prints; the same code as of the program, without a process for it. */
  async json<T>(node: string, ...args: readonly string[]): Promise<Envelope<T>> {
    let text = "";
    const world: World = {
      env: {},
      cwd: this.folder.path,
      hostname: "test",
      stdinIsTerminal: false,
      stderrIsTerminal: false,
      stdout: (printed) => {
        text += printed;
      },
      stderr: () => {},
      readLine: () => Promise.resolve(null),
      connect: (path) => ControlClient.open(path),
      now: () => Date.now(),
      onInterrupt: () => {},
    };
    await runCommandLine([`--socket=${this.socketOf(node)}`, ...args, "--json"], world);
    return JSON.parse(text) as Envelope<T>;
  }

  /** The data of a command that must succeed. */
  async data<T>(node: string, ...args: readonly string[]): Promise<T> {
    const { ok, data, error } = await this.json<T>(node, ...args);
    if (!ok || data === null) throw new Error(`mdctl ${args.join(" ")}: ${JSON.stringify(error)}`);
    return data;
  }

  client(node: string): Promise<ControlClient> {
    return ControlClient.open(this.socketOf(node));
  }

  /** Number of the last event of a node's journal: what comes later is after it. */
  async lastEvent(node: string): Promise<number> {
    const { events } = await this.data<{ events: readonly HistoryEvent[] }>(node, "events");
    return events.at(-1)?.sequence ?? 0;
  }

  /** The first event of the journal that fits, after number `since`; waits for it to happen. */
  async event(node: string, fits: (event: HistoryEvent) => boolean, since = 0): Promise<HistoryEvent> {
    const client = await this.client(node);
    const enough = new AbortController();
    try {
      return await new Promise<HistoryEvent>((resolve, reject) => {
        const onEvent = (event: HistoryEvent): void => {
          if (fits(event)) resolve(event);
        };
        client
          .request("events", { array: null, since, follow: true }, { onEvent, signal: enough.signal })
          .catch(reject);
      });
    } finally {
      enough.abort();
      client.close();
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#nodes.keys()].map((node) => this.end(node, "SIGTERM")));
    this.#endLockServer();
    this.folder.remove();
  }

  /** The lock server is nobody's child: its own daemons start it. It is known by the log beside its socket. */
  lockServerPid(): number | null {
    let log: string;
    try {
      log = readFileSync(`${this.path("lockd.sock")}.log`, "utf8");
    } catch {
      return null; // none was ever started
    }
    const ready = log.split("\n").filter((line) => line.includes('"evt":"ready"'));
    const last = ready.at(-1);
    return last === undefined ? null : (JSON.parse(last) as { pid: number }).pid;
  }

  #endLockServer(): void {
    if (this.#options.lockServer !== undefined) return;
    try {
      const pid = this.lockServerPid();
      if (pid !== null) process.kill(pid, "SIGTERM");
    } catch {
      // It has ended.
    }
  }
}

const STOP_MS = 15_000;

async function endOf(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exited = once(child, "exit");
  child.kill(signal);
  const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  const [code] = (await exited) as [number | null];
  clearTimeout(killer);
  return code;
}

/** Runs a program to its end; never rejects for how it ended. */
export function runProgram(command: string, args: readonly string[], input = ""): Promise<CommandOutcome> {
  return new Promise((resolve) => {
    const child = execFile(command, args, { maxBuffer: 64 << 20, encoding: "utf8" }, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ exitCode, stdout, stderr });
    });
    // Who does not read its input may end before it is written.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}
