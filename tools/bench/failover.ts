/**
 * How long a survivor's writes stand still when a node is killed, and what is copied then. Each node has a pid namespace of
 * its own, so that nobody can see that a process is gone: as between hosts, only the lease tells. The victim is killed
 * while it writes (its dirty chunks are resynced; the survivor's writes go on all the time) and while it resyncs (a write
 * into its last window waits until the survivor has taken over). Real daemons, a real Redis.
 *
 *   --leases=1,2,10 --rounds=2
 *
 * Rejects when more or less is copied than was dirty.
 */
import { parseArgs } from "node:util";
import { examine } from "../../src/array/examine.ts";
import { openFileDevice } from "../../src/blockdev/file-device.ts";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import type { ArrayInfo, Mapping } from "../../src/daemon/control-api.ts";
import { Host } from "../../test/support/daemons.ts";
import { startRedis } from "../../test/support/redis.ts";
import { machine, type Report, type Row } from "./report.ts";
import { SurvivorLoad } from "./survivor-load.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 96 * MIB;
const CHUNK_BYTES = 64 * 1024;
/** So slow that a resync does not end before its node is killed. */
const SYNC_KIB = 24 * 1024;
/** What the victim writes to, from the front of the array; the survivor's steady writes go to the end. */
const VICTIM_BYTES = 32 * MIB;
const SURVIVOR_BYTES = 16 * MIB;
const VICTIM_WRITES = 100;
const BLOCK = Buffer.alloc(4096, 0xa5);
const CREATE = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members", "--run", "--no-map"];

const cases = ["writing", "resyncing"] as const;
type Case = (typeof cases)[number];

/** Times are milliseconds after SIGKILL. */
interface Failover {
  readonly takenOverMs: number;
  /** A write that had to wait for the takeover; null: no write had to. */
  readonly resumedMs: number | null;
  /** The longest time without an acknowledgement of the steady writes, from the kill until nothing is left to copy. */
  readonly pauseMs: number;
  readonly dirtyBytes: number;
  readonly copiedBytes: number;
}

export async function run(progress: (text: string) => void, flags: readonly string[]): Promise<Report> {
  const { values } = parseArgs({
    args: [...flags],
    options: { leases: { type: "string", default: "1,2,10" }, rounds: { type: "string", default: "2" } },
  });
  if (process.getuid?.() !== 0) throw new Error("pid namespaces of their own need root: run this bench as root");
  const rows: Row[] = [];
  const over = { resumed: Number.NEGATIVE_INFINITY, takenOver: Number.NEGATIVE_INFINITY, dirty: 0 };
  for (const lease of values.leases.split(",").map(Number)) {
    for (const killed of cases) {
      const results: Failover[] = [];
      for (let round = 0; round < Number(values.rounds); round++) {
        const result = await failOver(lease, killed);
        progress(`lease ${lease} s, killed ${killed}: ${JSON.stringify(result)}`);
        results.push(result);
      }
      const worst = (of: (result: Failover) => number): number => Math.max(...results.map(of)) / 1000;
      const takenOver = worst(({ takenOverMs }) => takenOverMs);
      const resumed = worst(({ resumedMs, takenOverMs }) => resumedMs ?? takenOverMs);
      const add = (name: string, value: number, unit: string): void => {
        rows.push({ case: `${killed}_${name}`, subject: `lease ${lease} s`, value, unit });
      };
      add("taken_over", takenOver, "s after SIGKILL, worst");
      if (killed === "resyncing") add("first_resumed_write", resumed, "s after SIGKILL, worst");
      add("longest_pause_elsewhere", worst(({ pauseMs }) => pauseMs) * 1000, "ms, worst");
      add("resynced", (worst(({ dirtyBytes }) => dirtyBytes) * 1000) / MIB, "MiB, as much as was dirty");
      over.dirty = Math.max(over.dirty, ...results.map(({ copiedBytes, dirtyBytes }) => copiedBytes / dirtyBytes));
      over.resumed = Math.max(over.resumed, resumed - lease);
      over.takenOver = Math.max(over.takenOver, takenOver - lease);
    }
  }
  const ratios = {
    worst_over_lease_s: over.resumed,
    takeover_over_lease_s: over.takenOver,
    resynced_over_dirty: over.dirty,
  };
  return { name: "failover", machine: machine(), rows, ratios };
}

/** One failure on a cluster of its own. */
async function failOver(lease: number, killed: Case): Promise<Failover> {
  const redis = await startRedis();
  const daemonOptions = [`--sync-speed-max=${SYNC_KIB}`];
  const host = new Host({ lockServer: redis.url, lease: `${lease}s`, ownPids: true, daemonOptions });
  try {
    await Promise.all([host.start("n1"), host.start("n2")]);
    const members = ["a.img", "b.img"].map((name) => host.memberFile(name, MEMBER_BYTES));
    await host.data("n1", ...CREATE, ...(killed === "writing" ? ["--assume-clean"] : []), ...members);
    await host.data("n2", "assemble", "md0", "--no-map", ...members);
    return await measure(host, members, killed);
  } finally {
    await host.close();
    await redis.stop();
  }
}

async function measure(host: Host, members: readonly string[], killed: Case): Promise<Failover> {
  const { sizeBytes } = await detail(host, "n2");
  const survivor = await clientOf(host, "n2");
  const load = new SurvivorLoad(survivor, { from: sizeBytes - SURVIVOR_BYTES, to: sizeBytes });
  const waiting = await clientOf(host, "n2");
  try {
    await load.reaches(200);
    if (killed === "writing") await writeOn(host);
    const takenOver = host.event("n2", ({ event, fields }) => event === "TAKEOVER" && fields["node"] === "n1");
    const { copiedBytes: before } = await detail(host, "n2");
    const killedAt = killed === "writing" ? performance.now() : await haltResyncing(host);
    await host.end("n1", "SIGKILL");
    const since = (): number => performance.now() - killedAt;
    const [window] = (await detail(host, "n2")).suspended;
    const resumed = window === undefined ? null : waiting.write(window.loBytes, BLOCK).then(since);
    const dirtyBytes = (await dirtyChunks(members[0] ?? "", 0)) * CHUNK_BYTES;
    await takenOver;
    const takenOverMs = since();
    const resumedMs = await resumed;
    await host.data("n2", "wait", "md0");
    const pauseMs = load.longestPause(killedAt, performance.now());
    const copiedBytes = (await detail(host, "n2")).copiedBytes - before;
    if (copiedBytes !== dirtyBytes) throw new Error(`${copiedBytes} bytes were copied, ${dirtyBytes} were dirty`);
    return { takenOverMs, resumedMs, pauseMs, dirtyBytes, copiedBytes };
  } finally {
    await load.stop();
    await survivor.close();
    await waiting.close();
  }
}

/** Stops n1 while the others know of a window of its resync, which thus stays where it is. Resolves with the time of it. */
async function haltResyncing(host: Host): Promise<number> {
  for (;;) {
    const at = performance.now();
    process.kill(host.pidOf("n1"), "SIGSTOP");
    const [first] = (await detail(host, "n2")).suspended;
    // A message may have been on its way.
    const [window] = (await detail(host, "n2")).suspended;
    if (window !== undefined && window.loBytes === first?.loBytes) return at;
    process.kill(host.pidOf("n1"), "SIGCONT");
    await detail(host, "n1");
  }
}

async function writeOn(host: Host): Promise<void> {
  const victim = await clientOf(host, "n1");
  const blocks = VICTIM_BYTES / BLOCK.length;
  for (let i = 0; i < VICTIM_WRITES; i++) await victim.write(((i * 7919) % blocks) * BLOCK.length, BLOCK);
  await victim.close();
}

async function clientOf(host: Host, node: string): Promise<NbdClient> {
  const { mapping } = await host.data<{ mapping: Mapping }>(node, "map", "md0");
  return NbdClient.connect(mapping.uri);
}

const detail = async (host: Host, node: string): Promise<ArrayInfo> =>
  (await host.data<{ array: ArrayInfo }>(node, "detail", "md0")).array;

/** Chunks with a bit in a slot, as they are on disk now. */
async function dirtyChunks(path: string, slot: number): Promise<number> {
  const device = await openFileDevice(path, { readOnly: true });
  try {
    return (await examine(device)).bitmap?.slots[slot]?.dirty ?? 0;
  } finally {
    await device.close();
  }
}
