/**
 * A whole resync of 1 GiB by our daemon, as an operator starts it, against QEMU's live resync (a blockdev-mirror job) and
 * the plainest copy that io_uring allows at its best block size and depth: the same two files on a disk, O_DIRECT, in
 * turns. Then what a member that comes back costs by the chunks it missed, and what a resync costs those who read and write.
 *
 *   --mib=1024 --rounds=5
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import { DemoHost } from "../../src/cli/demo/demo-host.ts";
import type { ArrayInfo, HistoryEvent, Mapping } from "../../src/daemon/control-api.ts";
import { fill } from "./fill.ts";
import { fioP99 } from "./fio.ts";
import { qemuMirrorSeconds } from "./qemu-mirror.ts";
import type { Area } from "./qemu-quorum.ts";
import { machine, median, type Report, type Row } from "./report.ts";
import { type CopyShape, uringCopySeconds } from "./uring-copy.ts";

const MIB = 1024 * 1024;
/** Of a member, before its data. */
const HEAD_BYTES = 16 * MIB;
const DIRTY_CHUNKS = [10, 100, 1000] as const;
const CHUNK_BYTES = 64 * 1024;
const LATENCY_ROUNDS = 3;
/** A node that copies as fast as it can, as the peers do; and one as it is by default. */
const FAST = "n1";
const USUAL = "n2";
const SHAPES: readonly CopyShape[] = [256 * 1024, MIB, 4 * MIB].flatMap((blockBytes) =>
  [2, 4, 8, 16].map((depth) => ({ blockBytes, depth })),
);

export async function run(progress: (text: string) => void, flags: readonly string[]): Promise<Report> {
  const { values } = parseArgs({
    args: [...flags],
    options: { mib: { type: "string", default: "1024" }, rounds: { type: "string", default: "5" } },
  });
  const folder = mkdtempSync(join(tmpdir(), "mdctl-bench-"));
  const host = new DemoHost(null, HEAD_BYTES, folder);
  try {
    for (const member of host.members) fill(member, HEAD_BYTES + Number(values.mib) * MIB);
    await host.startLockServer();
    // The one as fast as it can, as the peers; where clients are looked at, the other, as it comes.
    await host.startNode(FAST, "10s", ["--sync-speed-max=0"]);
    await host.startNode(USUAL, "10s");
    const bench = new ResyncBench(host, progress, Number(values.rounds));
    await bench.copies();
    await bench.bitmap();
    await bench.latency();
    return { name: "resync", machine: machine(), rows: bench.rows, ratios: bench.ratios };
  } finally {
    await host.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

class ResyncBench {
  readonly rows: Row[] = [];
  readonly ratios: Record<string, number> = {};
  readonly #host: DemoHost;
  readonly #progress: (text: string) => void;
  readonly #rounds: number;
  #node = FAST;

  constructor(host: DemoHost, progress: (text: string) => void, rounds: number) {
    this.#host = host;
    this.#progress = progress;
    this.#rounds = rounds;
  }

  async copies(): Promise<void> {
    const area = await this.#area();
    const { members } = this.#host;
    // One of each beforehand, and the best: how large and how many is the peer's to choose.
    const tried = SHAPES.map((shape) => ({ shape, seconds: uringCopySeconds(members, area, shape) }));
    const [best = tried[0]] = tried.sort((a, b) => a.seconds - b.seconds);
    const shape = best?.shape ?? { blockBytes: MIB, depth: 4 };
    const plain = `io_uring, ${shape.depth} x ${shape.blockBytes / 1024} KiB`;
    const rates = { ours: [] as number[], qemu: [] as number[], plain: [] as number[] };
    const ratios = { resync_over_qemu_mirror: [] as number[], resync_over_uring_copy: [] as number[] };
    for (let round = 0; round < this.#rounds; round++) {
      const seconds = {
        qemu: await qemuMirrorSeconds(join(this.#host.folder, `qmp-${round}.sock`), members, area),
        ours: await this.#resyncSeconds(),
        plain: uringCopySeconds(members, area, shape),
      };
      for (const who of ["ours", "qemu", "plain"] as const) rates[who].push(area.size / MIB / seconds[who]);
      ratios.resync_over_qemu_mirror.push(seconds.qemu / seconds.ours);
      ratios.resync_over_uring_copy.push(seconds.plain / seconds.ours);
      this.#progress(`round ${round + 1}: ${JSON.stringify(seconds)} s`);
    }
    const subjects = { ours: "mdctl", qemu: "qemu mirror", plain } as const;
    for (const who of ["ours", "qemu", "plain"] as const)
      this.rows.push({ case: "full_resync", subject: subjects[who], value: median(rates[who]), unit: "MiB/s" });
    // Rounds are compared each by itself: what else the machine does changes from one to the next.
    for (const [name, each] of Object.entries(ratios)) this.ratios[name] = median(each);
  }

  /** A member is away while so many chunks are written, and comes back. */
  async bitmap(): Promise<void> {
    await this.#create("--assume-clean", `--bitmap-chunk=${CHUNK_BYTES / 1024}K`);
    const { sizeBytes } = await this.#detail();
    const [, away] = this.#host.members;
    for (const dirty of DIRTY_CHUNKS) {
      await this.#host.mdctl(this.#node, "md0", "--fail", away, "--remove", away);
      const client = await NbdClient.connect(await this.#uri());
      const chunks = Math.floor(sizeBytes / CHUNK_BYTES);
      const block = Buffer.alloc(4096, dirty);
      // Far from each other, all over the array.
      for (let i = 0; i < dirty; i++) await client.write(Math.floor((i * chunks) / dirty) * CHUNK_BYTES, block);
      await client.close();
      const before = (await this.#detail()).copiedBytes;
      const from = await this.#lastEvent();
      await this.#host.mdctl(this.#node, "re-add", "md0", away);
      await this.#host.mdctl(this.#node, "wait", "md0");
      const took = await this.#tookMs(from);
      const copied = (await this.#detail()).copiedBytes - before;
      const subject = `${dirty} dirty chunks`;
      this.rows.push({ case: "bitmap_resync_copied", subject, value: copied / MIB, unit: "MiB" });
      this.rows.push({
        case: "bitmap_resync",
        subject,
        value: took,
        unit: "ms, from its return",
      });
      this.ratios[`copied_over_dirty_${dirty}`] = copied / (dirty * CHUNK_BYTES);
      this.#progress(`${subject}: ${copied / MIB} MiB copied`);
    }
    await this.#host.mdctl(this.#node, "stop", "md0");
  }

  /** What one who reads and writes 4 KiB at random, one request at a time, waits for while nothing else happens, and during a resync. */
  async latency(): Promise<void> {
    const times: Record<"idle" | "resync", number[]> = { idle: [], resync: [] };
    this.#node = USUAL;
    for (let round = 0; round < LATENCY_ROUNDS; round++) {
      for (const when of ["idle", "resync"] as const) {
        await this.#create(...(when === "idle" ? ["--assume-clean"] : []));
        const { sizeBytes } = await this.#detail();
        times[when].push(fioP99(await this.#uri(), sizeBytes));
        const { sync } = await this.#detail();
        if (when === "resync" && sync.status !== "running")
          throw new Error("the resync was over too soon to be measured");
        await this.#host.mdctl(this.#node, "stop", "md0");
      }
      this.#progress(`p99: ${JSON.stringify(times)} ms`);
    }
    for (const when of ["idle", "resync"] as const)
      this.rows.push({ case: "foreground_p99", subject: when, value: median(times[when]), unit: "ms" });
    this.ratios["p99_resync_over_idle"] = median(times.resync) / median(times.idle);
  }

  /** From the array's start to the word that it is whole, by the daemon's journal. */
  async #resyncSeconds(): Promise<number> {
    const from = await this.#lastEvent();
    await this.#create();
    await this.#host.mdctl(this.#node, "wait", "md0");
    const took = await this.#tookMs(from);
    await this.#host.mdctl(this.#node, "stop", "md0");
    return took / 1000;
  }

  /** Milliseconds from the first event after number `since`, which has the copying begin, to its end. */
  async #tookMs(since: number): Promise<number> {
    const events = (await this.#events()).filter(({ sequence }) => sequence > since);
    const finish = events.find(({ event }) => event === "FINISH");
    return Date.parse(finish?.time ?? "") - Date.parse(events[0]?.time ?? "");
  }

  /** An array anew on the same members; of 64 KiB chunks where dirty ones are counted. */
  async #create(...more: readonly string[]): Promise<void> {
    const options = ["--level=1", "--cluster", "--run", "--force", "--file-members", "--no-map"];
    await this.#host.mdctl(this.#node, "create", "md0", ...options, ...more, ...this.#host.members);
  }

  async #area(): Promise<Area> {
    await this.#create("--assume-clean");
    const { dataOffsetBytes: offset, sizeBytes: size } = await this.#detail();
    await this.#host.mdctl(this.#node, "stop", "md0");
    return { offset, size };
  }

  async #uri(): Promise<string> {
    return (await this.#host.mdctl<{ mapping: Mapping }>(this.#node, "map", "md0")).mapping.uri;
  }

  async #detail(): Promise<ArrayInfo> {
    return (await this.#host.mdctl<{ array: ArrayInfo }>(this.#node, "detail", "md0")).array;
  }

  async #events(): Promise<readonly HistoryEvent[]> {
    return (await this.#host.mdctl<{ events: readonly HistoryEvent[] }>(this.#node, "events")).events;
  }

  async #lastEvent(): Promise<number> {
    return (await this.#events()).at(-1)?.sequence ?? 0;
  }
}
