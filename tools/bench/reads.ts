/**
 * Random reads of a mirror of two members beside those of one of its members alone. The members serve so many reads a
 * second and no more, as disks do, so that two of them can serve twice as many; how evenly reads are spread is what is
 * left to see. Then the same with one member at a tenth of that: the other one must lose nothing by it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DemoHost } from "../../src/cli/demo/demo-host.ts";
import type { ArrayInfo, Mapping } from "../../src/daemon/control-api.ts";
import { fioIops, type Load } from "./fio.ts";
import { machine, median, type Report, type Row } from "./report.ts";
import { startThrottledFile, type ThrottledFile } from "./throttled-file.ts";

const MEMBER_BYTES = 64 * 1024 * 1024;
/** Few enough for a machine that does other things besides. */
const READS_PER_SECOND = 400;
const SLOW = READS_PER_SECOND / 10;
const ROUNDS = 3;
/** FUSE takes twelve requests of a file at a time, and has whoever brings another one wait: no real device is like that. */
const load: Load = { rw: "randread", depth: 16, seconds: 4 };

export async function run(progress: (text: string) => void): Promise<Report> {
  const rows: Row[] = [];
  const ratios: Record<string, number> = {};
  for (const [name, second] of [
    ["reads_over_one_member", READS_PER_SECOND],
    ["reads_beside_a_slow_member", SLOW],
  ] as const) {
    const folder = mkdtempSync(join(tmpdir(), "mdctl-bench-"));
    try {
      const { array, member } = await compare(folder, second);
      rows.push({ case: name, subject: "mdctl", value: median(array), unit: "IO/s" });
      rows.push({ case: name, subject: "one member", value: median(member), unit: "IO/s" });
      ratios[name] = median(array.map((value, round) => value / (member[round] ?? Number.NaN)));
      progress(`${name}: ${Math.round(median(array))} of the mirror, ${Math.round(median(member))} of one member`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return { name: "reads", machine: machine(), rows, ratios };
}

interface Figures {
  readonly array: readonly number[];
  readonly member: readonly number[];
}

/** In turns, so that what else the machine does is the same for both. */
async function compare(folder: string, second: number): Promise<Figures> {
  const files: ThrottledFile[] = [];
  const host = new DemoHost(null, MEMBER_BYTES, folder);
  try {
    for (const [i, rate] of [READS_PER_SECOND, second].entries()) {
      files.push(await startThrottledFile(join(folder, `slow${i}`), MEMBER_BYTES, rate));
    }
    await host.startLockServer();
    await host.startNode("n1", "10s");
    const options = ["--level=1", "--cluster", "--assume-clean", "--run", "--file-members", "--no-map"];
    const paths = files.map(({ path }) => path);
    const { array } = await host.mdctl<{ array: ArrayInfo }>("n1", "create", "md0", ...options, ...paths);
    await host.mdctl("n1", "wait", "md0");
    const { mapping } = await host.mdctl<{ mapping: Mapping }>("n1", "map", "md0");
    const ours: number[] = [];
    const alone: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      ours.push(fioIops({ uri: mapping.uri }, load, array.sizeBytes));
      alone.push(fioIops({ files: paths.slice(0, 1), offset: array.dataOffsetBytes }, load, array.sizeBytes));
    }
    return { array: ours, member: alone };
  } finally {
    await host.close();
    for (const file of files) await file.stop();
  }
}
