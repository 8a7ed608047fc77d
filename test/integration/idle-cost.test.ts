import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterEach, describe, expect, it } from "vitest";
import { Host } from "../support/daemons.ts";
import { PassThrough } from "../support/pass-through.ts";
import { startRedis } from "../support/redis.ts";
import { tempDir } from "../support/temp-dir.ts";

const NODES = ["n1", "n2", "n3"];
const MEMBER_BYTES = 32 * 1024 * 1024;
/** The write-intent bitmap of the creation is cleared by then, and JavaScript has warmed up. */
const SETTLE_MS = 12_000;
/** A busy machine adds wake-ups, it takes none away: of several windows the quietest counts. */
const WINDOWS = 3;
const WINDOW_SECONDS = 5;
/** With Redis the first member of a lockspace waits a lease, and there are two lockspaces. */
const TIMEOUT_MS = 150_000;

/** What goes between a lock server and all its nodes, and the calls that it counts itself (null: it does not). */
interface Meter {
  readonly lockServer: string;
  read(): Promise<{ readonly bytes: number; readonly calls: number | null }>;
}

/**
 * A node that is joined twice, as every daemon with an array is: among the daemons of its cluster, and in the array.
 * Wake-ups are the voluntary context switches of the daemon's event loop and of the array's data plane: how often they
 * slept and were woken, with the thread that guards the lease. (V8's helper threads, which collect garbage after the start, are not counted.)
 */
describe("an idle node with an array, at the default lease", () => {
  const cleanup: (() => unknown)[] = [];
  afterEach(async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
  });

  const redisMeter = async (): Promise<Meter> => {
    const server = await startRedis();
    cleanup.push(() => server.stop());
    const admin = new Redis({ port: server.port });
    cleanup.push(() => admin.disconnect());
    const number = (text: string, pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0);
    const read = async (): ReturnType<Meter["read"]> => {
      const stats = await admin.info("stats");
      const commands = await admin.info("commandstats");
      const bytes = number(stats, /total_net_input_bytes:(\d+)/) + number(stats, /total_net_output_bytes:(\d+)/);
      const calls = number(commands, /cmdstat_fcall:calls=(\d+)/) + number(commands, /cmdstat_ping:calls=(\d+)/);
      return { bytes, calls };
    };
    return { lockServer: server.url, read };
  };

  const embeddedMeter = async (): Promise<Meter> => {
    const folder = tempDir("idle");
    cleanup.push(() => folder.remove());
    const path = `${folder.path}/lockd.sock`;
    const program = fileURLToPath(new URL("../../bin/mdctl.mjs", import.meta.url));
    const child = spawn(process.execPath, [program, "lockd", `--socket=${path}`], { stdio: "ignore" });
    cleanup.push(() => endOf(child));
    while (!existsSync(path)) await pause(20);
    const through = await PassThrough.listen(`${folder.path}/through.sock`, { path });
    cleanup.push(() => through.stop());
    return {
      lockServer: `unix:${folder.path}/through.sock`,
      read: () => Promise.resolve({ bytes: through.bytes, calls: null }),
    };
  };

  it.each([
    ["Redis", redisMeter],
    ["the embedded lock server", embeddedMeter],
  ] as const)(
    "wakes at most 5 times and sends and gets at most 1 kB a second with %s",
    async (_, start) => {
      const meter = await start();
      const host = new Host({ lockServer: meter.lockServer, lease: "10s" });
      cleanup.push(() => host.close());
      for (const node of NODES) await host.start(node);
      const members = ["a.img", "b.img"].map((name) => host.memberFile(name, MEMBER_BYTES));
      const threads = new Map(NODES.map((node) => [node, threadsOf(host.pidOf(node))]));
      const create = ["create", "md0", "--level=1", "--cluster", "--assume-clean", "--file-members", ...members];
      await host.data("n1", ...create);
      for (const node of NODES.slice(1)) await host.data(node, "assemble", "md0", ...members);
      await pause(SETTLE_MS);

      const counted = (node: string): number[] => {
        const pid = host.pidOf(node);
        const known = threads.get(node) ?? [];
        return [pid, ...threadsOf(pid).filter((thread) => !known.includes(thread))];
      };
      const wakesOf = (node: string): number =>
        counted(node).reduce((sum, thread) => sum + voluntarySwitches(host.pidOf(node), thread), 0);
      const perSecond = (value: number): number => value / WINDOW_SECONDS;
      const quietest = NODES.map(() => Number.POSITIVE_INFINITY);
      const first = await meter.read();
      for (let window = 0; window < WINDOWS; window++) {
        const before = NODES.map(wakesOf);
        await pause(WINDOW_SECONDS * 1000);
        for (const [i, node] of NODES.entries()) {
          quietest[i] = Math.min(quietest[i] ?? 0, perSecond(wakesOf(node) - (before[i] ?? 0)));
        }
      }
      const last = await meter.read();
      expect(Math.max(...quietest), `wake-ups: ${quietest.join(", ")}`).toBeLessThanOrEqual(5);
      const perNode = (value: number): number => perSecond(value) / WINDOWS / NODES.length;
      expect(perNode(last.bytes - first.bytes), "bytes").toBeLessThanOrEqual(1000);
      // Renewals in two lockspaces, and a read of each mailbox that ends empty.
      expect(perNode((last.calls ?? 0) - (first.calls ?? 0)), "calls").toBeLessThanOrEqual(2.25);
    },
    TIMEOUT_MS,
  );
});

const threadsOf = (pid: number): number[] => readdirSync(`/proc/${pid}/task`).map(Number);

/** Of the kernel's own threads, which end by themselves, too. */
function voluntarySwitches(pid: number, thread: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

async function endOf(child: ChildProcess): Promise<void> {
  child.kill("SIGTERM");
  if (child.exitCode === null && child.signalCode === null) await once(child, "close");
}
