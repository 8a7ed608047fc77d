import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface SeedRange {
  readonly first: number;
  readonly count: number;
}

export interface WorkerReport {
  /** Seeds that ended well. */
  readonly passed: number;
  /** What a worker said of a seed that failed, and how to see it again. */
  readonly failures: readonly string[];
}

/** At most this many seeds a worker: a core that is done early takes another share. */
const SHARE = 250;

/** Shares of the range, in order. */
export function sharesOf({ first, count }: SeedRange, workers: number): readonly SeedRange[] {
  const size = Math.max(1, Math.min(SHARE, Math.ceil(count / workers)));
  const shares: SeedRange[] = [];
  for (let at = 0; at < count; at += size) shares.push({ first: first + at, count: Math.min(size, count - at) });
  return shares;
}

/**
 * Runs seeds in several processes of this program, a core each. `words`: what each is told besides its seeds. The first
 * failure ends all of them; `onSeed` hears of each seed that ended well.
 */
export async function runWorkers(
  range: SeedRange,
  workers: number,
  words: readonly string[],
  { onSeed, signal }: { readonly onSeed: () => void; readonly signal: AbortSignal },
): Promise<WorkerReport> {
  const shares = [...sharesOf(range, workers)];
  const failures: string[] = [];
  let passed = 0;
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const work = async (): Promise<void> => {
    for (let share = shares.shift(); share !== undefined && !either.aborted; share = shares.shift()) {
      const failure = await runShare(share, words, either, () => {
        passed++;
        onSeed();
      });
      if (failure === null) continue;
      failures.push(failure);
      stop.abort();
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  return { passed, failures };
}

/** Null: all its seeds ended well, or it was told to stop. */
async function runShare(
  { first, count }: SeedRange,
  words: readonly string[],
  signal: AbortSignal,
  onSeed: () => void,
): Promise<string | null> {
  const script = process.argv[1] ?? "";
  const own = ["simulate", `--first-seed=${first}`, `--seeds=${count}`, "--workers=1", ...words];
  const child = spawn(process.execPath, [...process.execArgv, script, ...own], { stdio: ["ignore", "pipe", "pipe"] });
  const end = (): void => void child.kill();
  signal.addEventListener("abort", end);
  const said: string[] = [];
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code));
  });
  for await (const line of createInterface({ input: child.stdout })) {
    if (said.length === 0 && /^seed \d+: ok/.test(line)) onSeed();
    else said.push(line);
  }
  const code = await ended;
  const wasStopped = signal.aborted && code !== 1;
  signal.removeEventListener("abort", end);
  if (code === 0 || wasStopped) return null;
  return [...said, errors].join("\n").trim() || `a worker for seeds from ${first} ended with ${code}`;
}
