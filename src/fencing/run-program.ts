import { spawn } from "node:child_process";
import type { Clock } from "../env/clock.ts";

/** Characters of output that are kept, of the end: what a program says last tells why it failed. */
const KEPT_OUTPUT = 2000;
/** Milliseconds between the request to end and the end. */
const LAST_WISH_MS = 1000;
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
  /** Milliseconds; then the program and all that it started are ended. */
  readonly limitMs: number;
  readonly clock: Clock;
  /** Ends them at once. */
  readonly signal?: AbortSignal;
}

/**
 * Runs a program in a process group of its own, to its end, that of the time limit, or until it is given up: then the whole
 * group gets SIGTERM, and SIGKILL. Never rejects. Output is read to its
 * end, so that a talkative program is not held up, but only little of it is kept.
 */
export function runProgram(path: string, args: readonly string[], options: ProgramOptions): Promise<ProgramRun> {
  if (options.signal?.aborted) return Promise.resolve({ status: null, output: "", killed: "it was not started" });
  return new Promise((resolve) => {
    const child = spawn(path, [...args], { detached: true, stdio: ["pipe", "pipe", "pipe"], cwd: "/" });
    let output = "";
    let killed: string | null = null;
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString("latin1")).slice(-KEPT_OUTPUT);
    };
    const { clock, limitMs, signal: over } = options;
    /** It may set something right before it dies; whatever is left of it then is killed. */
    const end = (why: string): void => {
      if (killed !== null) return;
      killed = why;
      signalGroup(child.pid, "SIGTERM");
      const kill = clock.after(LAST_WISH_MS, () => signalGroup(child.pid, "SIGKILL"));
      child.once("exit", () => {
        kill.cancel();
        signalGroup(child.pid, "SIGKILL");
      });
    };
    const giveUp = (): void => end("it was given up");
    const limit = clock.after(limitMs, () => end(`it did not end within ${limitMs} ms`));
    over?.addEventListener("abort", giveUp);
    let finished = false;
    const finish = (status: number | null): void => {
      if (finished) return;
      finished = true;
      limit.cancel();
      over?.removeEventListener("abort", giveUp);
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
      // What it has done counts, also if it is given up before its last words are read.
      limit.cancel();
      over?.removeEventListener("abort", giveUp);
      if (signal !== null) killed ??= `it was ended by ${signal}`;
      clock.after(LAST_WORDS_MS, () => finish(status));
      child.once("close", () => finish(status));
    });
    child.stdin.end(options.input);
  });
}

function signalGroup(pid: number | undefined, signal: "SIGTERM" | "SIGKILL"): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
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
