import { spawn } from "node:child_process";
import type { Clock } from "../env/clock.ts";

/** Characters of output that are kept, of the end: what a program says last tells why it failed. */
const KEPT_OUTPUT = 2000;
/** Milliseconds that a program's last words may take, when something that it left behind keeps the pipes open. */
const LAST_WORDS_MS = 100;

export interface ProgramRun {
  /** Null: it was killed, or could not be started. */
  readonly status: number | null;
  /** Both outputs as they came, printable characters only, cut at the front. */
  readonly output: string;
  /** What kept it from ending by itself; null if it did. */
  readonly killed: string | null;
}

export interface ProgramOptions {
  readonly input: string;
  /** Milliseconds; then the program and all that it started are killed. */
  readonly limitMs: number;
  readonly clock: Clock;
}

/**
 * Runs a program in a process group of its own, to its end or that of the time limit. Never rejects. Output is read to its
 * end, so that a talkative program is not held up, but only little of it is kept.
 */
export function runProgram(path: string, args: readonly string[], options: ProgramOptions): Promise<ProgramRun> {
  return new Promise((resolve) => {
    const child = spawn(path, [...args], { detached: true, stdio: ["pipe", "pipe", "pipe"], cwd: "/" });
    let output = "";
    let killed: string | null = null;
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString("latin1")).slice(-KEPT_OUTPUT);
    };
    const limit = options.clock.after(options.limitMs, () => {
      killed = `it did not end within ${options.limitMs} ms`;
      killGroup(child.pid);
    });
    let finished = false;
    const finish = (status: number | null): void => {
      if (finished) return;
      finished = true;
      limit.cancel();
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
      resolve({ status: killed === null ? status : null, output: printable(output), killed });
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    // Who does not read its input may end before it is written.
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on("error", () => {});
    child.once("error", (error) => {
      killed = `it could not be started (${"code" in error ? String(error.code) : error.message})`;
      finish(null);
    });
    child.once("exit", (status, signal) => {
      if (signal !== null) killed ??= `it was ended by ${signal}`;
      options.clock.after(LAST_WORDS_MS, () => finish(status));
      child.once("close", () => finish(status));
    });
    child.stdin.end(options.input);
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended in this moment.
  }
}

const printable = (text: string): string =>
  text
    .replace(/[^\x20-\x7e\n]/g, "?")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .join(" | ");
