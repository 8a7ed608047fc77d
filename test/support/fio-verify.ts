import { readFileSync } from "node:fs";
import { join } from "node:path";
import { runProgram } from "./daemons.ts";
import { tempDir } from "./temp-dir.ts";

const MIB = 1024 * 1024;
/** A block that is taken for another's, or half of one, has another checksum. */
const VERIFIED = ["--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--verify_backlog=64"];

export interface FioRegion {
  readonly uri: string;
  /** Bytes of the export. Nobody else writes there meanwhile. */
  readonly offset: number;
  /** A multiple of 4 MiB. */
  readonly bytes: number;
}

/** Requests of each kind that were answered without an error. */
export interface FioCounts {
  readonly reads: number;
  readonly writes: number;
  readonly trims: number;
  readonly syncs: number;
}

/**
 * One pass of fio over a region, an amount of IO and not a time: reads and writes at random, 512 bytes to 1 MiB and
 * unaligned, with flushes between, each block read back; then a quarter of the region, which was full, is trimmed and must
 * read as zeros. Rejects if fio finds any fault.
 */
export async function fioVerify({ uri, offset, bytes }: FioRegion, seed: number): Promise<FioCounts> {
  const quarter = bytes / 4;
  const job = (name: string, rw: string, part: number, parts: number, ...options: string[]): readonly string[] => [
    ...[`--name=${name}`, `--rw=${rw}`, `--offset=${offset + part * quarter}`, `--size=${parts * quarter}`],
    ...options,
  ];
  const folder = tempDir("fio");
  const output = join(folder.path, "out.json");
  try {
    const { exitCode, stdout, stderr } = await runProgram("fio", [
      ...["--ioengine=nbd", `--uri=${uri}`, "--thread", "--iodepth=8", "--fsync=16", `--randseed=${seed}`],
      ...["--output-format=json", `--output=${output}`, ...VERIFIED],
      ...job("large", "randrw", 0, 2, `--bsrange=512-${MIB}`),
      ...job("small", "randrw", 2, 1, "--bsrange=512-16k"),
      ...job("full", "randwrite", 3, 1, "--bsrange=4k-256k"),
      ...job("trimmed", "randtrim", 3, 1, `--bsrange=512-${MIB}`, "--stonewall", "--verify=0"),
      ...job("zeros", "randread", 3, 1, `--bsrange=512-${MIB}`, "--stonewall"),
      ...["--verify=pattern", "--verify_pattern=0x00"],
    ]);
    if (exitCode !== 0)
      throw new Error(`fio (seed ${seed}, offset ${offset}) ended with ${exitCode}: ${stdout}${stderr}`);
    return countsOf(readFileSync(output, "utf8"));
  } finally {
    folder.remove();
  }
}

interface FioJob {
  readonly error: number;
  readonly read: { readonly total_ios: number };
  readonly write: { readonly total_ios: number };
  readonly trim: { readonly total_ios: number };
  readonly sync: { readonly total_ios: number };
}

function countsOf(text: string): FioCounts {
  // What libnbd has to say comes first.
  const { jobs } = JSON.parse(text.slice(text.indexOf("{"))) as { readonly jobs: readonly FioJob[] };
  const sum = (of: (job: FioJob) => number): number => jobs.reduce((total, job) => total + of(job), 0);
  const failed = jobs.filter(({ error }) => error !== 0);
  if (failed.length > 0) throw new Error(`fio: ${JSON.stringify(failed)}`);
  return {
    reads: sum(({ read }) => read.total_ios),
    writes: sum(({ write }) => write.total_ios),
    trims: sum(({ trim }) => trim.total_ios),
    syncs: sum(({ sync }) => sync.total_ios),
  };
}
