import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Load {
  readonly rw: "randread" | "randwrite";
  readonly depth: 1 | 16 | 32;
  readonly seconds: number;
}

/** A target is an NBD URI, or a list of files that fio writes or reads in turn through io_uring with O_DIRECT. */
export type Target = { readonly uri: string } | { readonly files: readonly string[]; readonly offset: number };

/** 4 KiB operations per second that the target served. */
export function fioIops(target: Target, load: Load, sizeBytes: number): number {
  const engine =
    "uri" in target
      ? ["--ioengine=nbd", `--uri=${target.uri}`]
      : ["--ioengine=io_uring", "--direct=1", `--filename=${target.files.join(":")}`, `--offset=${target.offset}`];
  // Both sides warm: code that is compiled as it runs, caches, the place of each thread.
  const amount = ["--time_based", `--runtime=${load.seconds}`, "--ramp_time=1", `--size=${sizeBytes}`];
  const jobs = fio([...engine, `--rw=${load.rw}`, "--bs=4k", `--iodepth=${load.depth}`, ...amount]);
  return jobs.reduce((sum, job) => sum + job.read.iops + job.write.iops, 0);
}

/** Milliseconds that 99 of 100 requests of 4 KiB do not exceed, reads and writes by turns, one at a time, for two seconds. */
export function fioP99(uri: string, sizeBytes: number): number {
  const amount = ["--time_based", "--runtime=2", `--size=${sizeBytes}`];
  const jobs = fio(["--ioengine=nbd", `--uri=${uri}`, "--rw=randrw", "--bs=4k", "--iodepth=1", ...amount]);
  const of = ({ clat_ns }: FioSide): number => (clat_ns.percentile?.["99.000000"] ?? 0) / 1e6;
  return Math.max(...jobs.flatMap(({ read, write }) => [of(read), of(write)]));
}

interface FioSide {
  readonly iops: number;
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

function fio(options: readonly string[]): readonly { readonly read: FioSide; readonly write: FioSide }[] {
  const folder = mkdtempSync(join(tmpdir(), "mdctl-fio-"));
  const output = join(folder, "out.json");
  try {
    const always = ["--name=bench", "--norandommap", "--randrepeat=0", "--output-format=json", `--output=${output}`];
    const result = spawnSync("fio", [...always, ...options], { encoding: "utf8" });
    if (result.status !== 0) throw new Error(`fio failed: ${result.stderr}${result.stdout}`);
    const text = readFileSync(output, "utf8");
    return (JSON.parse(text.slice(text.indexOf("{"))) as { jobs: { read: FioSide; write: FioSide }[] }).jobs;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
