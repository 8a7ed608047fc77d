import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../../bin/mdctl.mjs", import.meta.url));

/** A failed command of the demo's, with what it printed. */
export class CommandFailed extends Error {
  override readonly name = "CommandFailed";
}

interface Node {
  readonly socket: string;
  readonly process: ChildProcess;
}

/**
 * One host that plays two: a temporary directory, two member files, two daemons. Everything of it is gone after
 * `close`, whatever happened before.
 */
export class DemoHost {
  readonly folder: string;
  readonly members: readonly [string, string];
  readonly #nodes = new Map<string, Node>();
  readonly #lockServer: string | null;
  #lockd: ChildProcess | null = null;

  /** `parent` is where the temporary directory goes: it says what the members lie on. */
  constructor(lockServer: string | null, memberBytes: number, parent: string = tmpdir()) {
    this.#lockServer = lockServer;
    this.folder = mkdtempSync(join(parent, "mdctl-demo-"));
    this.members = [join(this.folder, "disk-a.img"), join(this.folder, "disk-b.img")];
    for (const member of this.members) {
      closeSync(openSync(member, "w", 0o600));
      truncateSync(member, memberBytes);
    }
  }

  /** What the nodes are told: the operator's lock server, or one of this demo's own that outlives any node. */
  get lockServer(): string {
    return this.#lockServer ?? `unix:${join(this.folder, "lockd.sock")}`;
  }

  socketOf(node: string): string {
    return join(this.folder, `${node}.sock`);
  }

  /** The embedded lock server, started here so that it ends with the demo and not when it finds out by itself. */
  async startLockServer(): Promise<void> {
    if (this.#lockServer !== null) return;
    const socket = join(this.folder, "lockd.sock");
    this.#lockd = this.#start(["lockd", `--socket=${socket}`], "lockd.log");
    await answers(socket, this.#lockd);
  }

  async startNode(node: string, lease: string, more: readonly string[] = []): Promise<void> {
    const stateDir = join(this.folder, node);
    mkdirSync(stateDir, { mode: 0o700, recursive: true });
    const options = [
      `--node=${node}`,
      "--cluster=demo",
      `--lock-server=${this.lockServer}`,
      `--socket=${this.socketOf(node)}`,
      `--state-dir=${stateDir}`,
      `--lease=${lease}`,
      "--file-members",
      ...more,
    ];
    const child = this.#start(["daemon", ...options], `${node}.log`);
    this.#nodes.set(node, { socket: this.socketOf(node), process: child });
    await answers(this.socketOf(node), child);
  }

  #start(args: readonly string[], log: string): ChildProcess {
    const output = openSync(join(this.folder, log), "a", 0o600);
    const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", output, output] });
    closeSync(output);
    return child;
  }

  /** SIGKILL: no handler runs, nothing is flushed, no lock is given back. */
  async kill(node: string): Promise<void> {
    const child = this.#nodes.get(node)?.process;
    this.#nodes.delete(node);
    if (child !== undefined) await end(child, "SIGKILL");
  }

  /** Runs `mdctl` against a node; the `data` of its JSON answer. */
  async mdctl<T>(node: string, ...args: readonly string[]): Promise<T> {
    const { stdout } = await this.run(process.execPath, [
      program,
      `--socket=${this.socketOf(node)}`,
      ...args,
      "--json",
    ]);
    return (JSON.parse(stdout) as { data: T }).data;
  }

  run(command: string, args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
    return new Promise((resolve, reject) => {
      execFile(command, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
        if (error === null) resolve({ stdout, stderr });
        else
          reject(
            new CommandFailed(`${[command, ...args].join(" ")}: ${stderr.trim() || stdout.trim() || error.message}`),
          );
      });
    });
  }

  /** What the processes of this demo complained of, for a failure's story: the logs go with the folder. */
  complaints(): string[] {
    return readdirSync(this.folder)
      .filter((file) => file.endsWith(".log"))
      .flatMap((file) => {
        const lines = readFileSync(join(this.folder, file), "utf8").trim().split("\n");
        return lines
          .filter((line) => /"level":"(warn|error|fatal)"|Error/.test(line))
          .map((line) => `${file}: ${line}`);
      })
      .slice(-COMPLAINTS_SHOWN);
  }

  async close(): Promise<void> {
    const nodes = [...this.#nodes.values()].map(({ process: child }) => end(child, "SIGTERM"));
    this.#nodes.clear();
    await Promise.all(nodes);
    if (this.#lockd !== null) await end(this.#lockd, "SIGTERM");
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The way out when there is no time for `close` to be awaited (a signal came twice). */
  closeNow(): void {
    for (const { process: child } of this.#nodes.values()) child.kill("SIGKILL");
    this.#lockd?.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const COMPLAINTS_SHOWN = 20;
const START_MS = 15_000;
const STOP_MS = 10_000;

/** Resolves when somebody listens on the socket; rejects when its process ended first or takes too long. */
async function answers(socket: string, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + START_MS;
  while (!(await isListening(socket))) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new CommandFailed(`it ended before it listened on ${socket}`);
    }
    if (Date.now() > deadline) throw new CommandFailed(`nobody listens on ${socket} after ${START_MS / 1000} s`);
    await pause(20);
  }
}

/** The file alone proves nothing: a killed process leaves its socket behind. */
function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  await exited;
  clearTimeout(killer);
}
