/**
 * Our NBD export of a two-member array (bitmap on, lease checked) against QEMU's quorum driver on the data area of
 * the same files: on tmpfs, where the servers' own cost shows, and with O_DIRECT on the disk, where the device is the
 * limit; there also against fio on the raw files.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fill } from "./fill.ts";
import { fioIops, type Load } from "./fio.ts";
import { startMdctlMirror } from "./mdctl-mirror.ts";
import { type Server, startQuorum } from "./qemu-quorum.ts";
import { machine, median, type Report, type Row } from "./report.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 257 * MIB;
const SECONDS = 2;
/** At depth 1 the figure hangs on which CPU the scheduler puts each server's thread: more rounds even that out. */
const roundsOf = ({ depth }: Load): number => (depth === 1 ? 9 : 3);

const loads: readonly Load[] = (["randread", "randwrite"] as const).flatMap((rw) =>
  ([1, 32] as const).map((depth) => ({ rw, depth, seconds: SECONDS })),
);

export async function run(progress: (text: string) => void): Promise<Report> {
  const rows: Row[] = [];
  const ratios: Record<string, number> = {};
  for (const [place, parent, direct] of [
    ["tmpfs", "/dev/shm", false],
    ["disk", tmpdir(), true],
  ] as const) {
    const folder = mkdtempSync(join(parent, "mdctl-bench-"));
    try {
      await comparePlace(place, folder, direct, { rows, ratios, progress });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return { name: "nbd", machine: machine(), rows, ratios };
}

interface Collected {
  readonly rows: Row[];
  readonly ratios: Record<string, number>;
  readonly progress: (text: string) => void;
}

async function comparePlace(place: string, folder: string, direct: boolean, out: Collected): Promise<void> {
  const running: Server[] = [];
  const started = async <S extends Server>(starting: Promise<S>): Promise<S> => {
    const server = await starting;
    running.push(server);
    return server;
  };
  try {
    const ours = await started(startMdctlMirror(folder, MEMBER_BYTES, fill));
    // The peer serves the very same blocks, in turns: where a file lies on the disk makes a difference of its own.
    const { members, data } = ours;
    const quorum = await started(startQuorum(join(folder, "quorum.sock"), members, data, direct, "quorum"));
    const fifo = await started(startQuorum(join(folder, "fifo.sock"), members, data, direct, "fifo"));
    for (const load of loads) {
      const name = `4k_${load.rw}_qd${load.depth}`;
      const figures: Record<string, number[]> = {};
      const measure = (subject: string, target: Parameters<typeof fioIops>[0]): void => {
        figures[subject] = [...(figures[subject] ?? []), fioIops(target, load, data.size)];
      };
      for (let round = 0; round < roundsOf(load); round++) {
        measure("mdctl", ours);
        measure("quorum", quorum);
        // Reading one child instead of comparing both is the fairer peer for reads; for writes there is no difference.
        if (load.rw === "randread") measure("quorum-fifo", fifo);
        if (direct)
          measure("raw", { files: load.rw === "randwrite" ? members.slice(0, 1) : members, offset: data.offset });
      }
      const mdctl = median(figures["mdctl"] ?? []);
      for (const [subject, values] of Object.entries(figures)) {
        out.rows.push({ case: `${place}_${name}`, subject, value: median(values), unit: "IO/s" });
        if (subject !== "mdctl") out.ratios[`${place}_${subject}_${name}`] = mdctl / median(values);
      }
      out.progress(`${place} ${name}: mdctl ${Math.round(mdctl)} IO/s`);
    }
  } finally {
    await Promise.all(running.map((server) => server.stop()));
  }
}
