import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Load {
  readonly rw: "randread" | "randwrite";
  readonly depth: 1 | 32;
  readonly seconds: number;
}

/** A target is an NBD URI, or a list of files that fio writes or reads in turn through io_uring with O_DIRECT. */
export type Target = { readonly uri: string } | { readonly files: readonly string[]; readonly offset: number };

/** 4 KiB operations per second that the target served. */
export function fioIops(target: Target, load: Load, sizeBytes: number): number {
  const folder = mkdtempSync(join(tmpdir(), "mdctl-fio-"));
  const output = join(folder, "out.json");
  const engine =
    "uri" in target
      ? ["--ioengine=nbd", `--uri=${target.uri}`]
      : ["--ioengine=io_uring", "--direct=1", `--filename=${target.files.join(":")}`, `--offset=${target.offset}`];
  try {
    const result = spawnSync(
      "fio",
      [
        "--name=bench",
        ...engine,
        `--rw=${load.rw}`,
        "--bs=4k",
        `--iodepth=${load.depth}`,
        `--size=${sizeBytes}`,
        "--time_based",
        `--runtime=${load.seconds}`,
        // Both sides warm: code that is compiled as it runs, caches, the place of each thread.
        "--ramp_time=1",
        "--norandommap",
        "--randrepeat=0",
        "--output-format=json",
        `--output=${output}`,
      ],
      { encoding: "utf8" },
    );
    if (result.status !== 0) throw new Error(`fio failed: ${result.stderr}${result.stdout}`);
    const text = readFileSync(output, "utf8");
    const { jobs } = JSON.parse(text.slice(text.indexOf("{"))) as {
      jobs: { read: { iops: number }; write: { iops: number } }[];
    };
    return jobs.reduce((sum, job) => sum + job.read.iops + job.write.iops, 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
