import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import { BLOCK_BYTES } from "../../src/cli/demo/pattern.ts";
import { VerifyingWriter } from "../../src/cli/demo/verifying-writer.ts";
import type { ArrayInfo, Mapping } from "../../src/daemon/control-api.ts";
import { realRandom } from "../../src/env/real-env.ts";
import { Host, runProgram } from "../support/daemons.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 24 * MIB;
const BLOCKS = (8 * MIB) / BLOCK_BYTES;
const DEPTH = 4;
const POLL_MS = 20;
const LOG_BYTES = 256 * 1024;

/** In a mount of its own, its state directory, which is soon full, has its log, too. Its process stays the same one. */
const FULL = `mkdir -p "$0" && mount -t tmpfs -o size=${LOG_BYTES},nr_inodes=16,mode=700 none "$0" && touch "$0/log" &&
  { tail --pid=$$ -c +1 -f "$0/log" >&2 & } && exec "$@" 2>>"$0/log"`;

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await pause(POLL_MS);
}

/** Mounts, and limits of another process. */
const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)(
  "F10: without what every program needs a node does less, and says nothing that is not so",
  {
    timeout: 180_000,
  },
  () => {
    let host: Host;
    let client: NbdClient;
    let stop: AbortController;
    let running: Promise<Error | null>;
    let writer: VerifyingWriter;
    const members = (): readonly string[] => ["a.img", "b.img"].map((name) => host.path(name));

    beforeEach(async () => {
      const full = (node: string): readonly string[] =>
        node === "n1" ? ["unshare", "--mount", "sh", "-c", FULL, host.path("n1")] : [];
      host = new Host({ lease: "10s", under: full, daemonOptions: ["--log-level=trace"] });
      // The lock server is the first one's child, and must not be short of anything.
      await host.start("n0");
      await host.start("n1");
      for (const name of ["a.img", "b.img"]) host.memberFile(name, MEMBER_BYTES);
      const create = ["create", "md0", "--level=1", "--cluster", "--assume-clean", "--run", "--file-members"];
      await host.data("n1", ...create, ...members());
      await host.data("n0", "assemble", "md0", ...members());
      await begin();
    });

    afterEach(async () => {
      stop.abort();
      await running;
      await client.close();
      await host.close();
    });

    /** Clients of n1 write; resolves when they have. */
    async function begin(): Promise<void> {
      writer = new VerifyingWriter({ firstBlock: 0, blocks: BLOCKS }, realRandom);
      client = await connect("n1");
      stop = new AbortController();
      const store = {
        read: (offset: number, length: number) => client.read(offset, length),
        write: async (offset: number, data: Buffer) => {
          await pause(1);
          await client.write(offset, data);
        },
      };
      running = writer.run(store, DEPTH, stop.signal);
      await progress();
    }

    /** A path in the mounts of a node's daemon. */
    const asSeenBy = (node: string, path: string): string => join("/proc", String(host.pidOf(node)), "root", path);

    async function connect(node: string): Promise<NbdClient> {
      const { mapping } = await host.data<{ mapping: Mapping }>(node, "map", "md0");
      const path = asSeenBy(node, mapping.device);
      return NbdClient.connect(`nbd+unix:///md0?socket=${encodeURIComponent(path)}`);
    }

    /** Resolves when so many more writes are acknowledged; rejects when one fails. */
    async function progress(writes = 50): Promise<void> {
      const ended = running.then((error) => Promise.reject(error ?? new Error("the load has ended")));
      await Promise.race([writer.acknowledged(writer.acknowledgedWrites + writes), ended]);
    }

    /** Ends the load: what was acknowledged is there, whoever is asked, and on both copies. */
    async function verify(nodes: readonly string[] = ["n0", "n1"]): Promise<void> {
      stop.abort();
      await running;
      for (const node of nodes) {
        await host.data(node, "wait", "md0");
        const reader = await connect(node);
        const { wrong, blocks } = await writer.verify(reader);
        await reader.close();
        expect([node, wrong]).toEqual([node, []]);
        expect(blocks).toBeGreaterThan(0);
      }
      await check("n0");
      expect((await array("n0")).mismatch.sectors).toBe(0);
    }

    /** Of all copies, to its end. It says a lot in the log. */
    async function check(node: string): Promise<void> {
      await host.data(node, "action", "md0", "check");
      await until(async () => (await array(node)).mismatch.state === "finished");
    }

    const array = async (node: string): Promise<ArrayInfo> =>
      (await host.data<{ array: ArrayInfo }>(node, "detail", "md0")).array;

    const prlimit = async (limit: string): Promise<void> => {
      expect(await runProgram("prlimit", ["--pid", String(host.pidOf("n1")), limit])).toMatchObject({ exitCode: 0 });
    };

    it("ENOSPC for the log and the state directory: IO goes on, an export is refused, lost lines are counted", async () => {
      const full = asSeenBy("n1", host.path("n1"));
      const log = join(full, "log");
      // No block is left for the log, and no name for a socket.
      const fillers = Array.from({ length: 16 }, (_, i) => join(full, `filler${i}`));
      expect(() => writeFileSync(join(full, "filler"), Buffer.alloc(LOG_BYTES))).toThrow("ENOSPC");
      expect(() => {
        for (const path of fillers) writeFileSync(path, "");
      }).toThrow("ENOSPC");
      const before = statSync(log).size;
      await check("n1");
      await progress();
      expect(statSync(log).size - before).toBeLessThan(4096);

      const other = ["c.img", "d.img"].map((name) => host.memberFile(name, 8 * MIB));
      const created = await host.json("n1", "create", "md1", "--level=1", "--assume-clean", "--file-members", ...other);
      expect(created).toMatchObject({
        ok: false,
        error: { code: "E_PARTIAL", message: expect.stringContaining("md1") },
      });
      await progress();

      for (const path of [...fillers, join(full, "filler")]) rmSync(path, { force: true });
      await until(() => readFileSync(log, "utf8").includes("lines of the log could not be written"));
      await host.data("n1", "map", "md1");
      await verify();
    });

    it("EMFILE: clients that are there are served, others wait or are refused, until there are descriptors again", async () => {
      const { mapping } = await host.data<{ mapping: Mapping }>("n1", "map", "md0");
      const open = new Set(readdirSync(`/proc/${host.pidOf("n1")}/fd`).map(Number));
      let free = 0;
      while (open.has(free)) free++;
      // The next one that it asks for would have this number.
      await prlimit(`--nofile=${free}:`);
      expect(await host.json("n1", "ping")).toMatchObject({ ok: false });
      const later = NbdClient.connect(`nbd+unix:///md0?socket=${encodeURIComponent(asSeenBy("n1", mapping.device))}`);
      await progress(4000);
      await prlimit("--nofile=1024:");
      await (await later).close();
      await progress();
      await verify();
    });

    it("out of memory: what dies has acknowledged nothing that is not there, and the others go on", async () => {
      const pid = host.pidOf("n1");
      const needed = Number(/VmSize:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
      await prlimit(`--as=${needed}`);
      // It serves as long as it can do with what it has.
      const asking = new AbortController();
      const asked = (async () => {
        while (!asking.signal.aborted) await host.json("n1", "detail", "md0").catch(() => {});
      })();
      await Promise.race([running, writer.acknowledged(writer.acknowledgedWrites + 2000)]);
      asking.abort();
      await asked;
      await host.end("n1", "SIGKILL");
      await running;
      await until(async () => (await array("n0")).nodes.every(({ name, state }) => name !== "n1" || state !== "up"));
      await verify(["n0"]);
    });
  },
);
