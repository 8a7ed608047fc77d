import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CreateData, Mapping } from "../../src/daemon/control-api.ts";
import { buildProgram } from "../support/built-program.ts";
import { Host, runProgram } from "../support/daemons.ts";
import { MemoryGroup } from "../support/memory-group.ts";
import { RawNbd, requestBytes } from "../support/raw-nbd.ts";

const MIB = 1024 * 1024;
const LIMIT = 200 * MIB;
const MEMBER_BYTES = 400 * MIB;
const DEAF = 4;
/** In a queue without bounds they would be sixteen times the limit. */
const ASKED = 800;
const READ = 0;

const LOAD = [
  ...["--name=load", "--ioengine=nbd", "--thread", "--numjobs=4", "--iodepth=128", "--rw=randrw", "--bsrange=4k-1m"],
  // Each block once: what is written and read at the same time could be either.
  ...["--size=96m", "--offset_increment=96m", "--fsync=64"],
  ...["--verify=crc32c", "--verify_fatal=1", "--verify_backlog=64", "--verify_state_save=0"],
];

/** The most that was ever resident. */
const peakResident = (pid: number): number =>
  Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;

describe("a daemon with 200 MiB", () => {
  let built: ReturnType<typeof buildProgram>;
  const group = MemoryGroup.make("mdctl-limit", LIMIT);
  beforeAll(() => {
    built = buildProgram();
  });
  afterAll(() => {
    built.remove();
    group?.remove();
  });

  it("serves four jobs of 128 requests, a resync, and clients that fetch nothing", { timeout: 240_000 }, async () => {
    const under = (node: string): readonly string[] => (node === "n1" ? (group?.enter ?? []) : []);
    const host = new Host({ lease: "20s", program: built.program, under });
    const deaf: RawNbd[] = [];
    try {
      // The lock server is the first one's child.
      await host.start("n0");
      await host.start("n1");
      const members = ["a.img", "b.img"].map((name) => host.memberFile(name, MEMBER_BYTES));
      const create = ["create", "md0", "--level=1", "--raid-devices=2", "--cluster", "--file-members", "--run"];
      await host.data<CreateData>("n1", ...create, ...members);
      const { uri } = (await host.data<{ mapping: Mapping }>("n1", "map", "md0")).mapping;
      const path = new URL(uri).searchParams.get("socket") ?? "";
      for (let i = 0; i < DEAF; i++) {
        const client = await RawNbd.connect({ path });
        deaf.push(client);
        await client.negotiate("md0");
        client.socket.pause();
        client.send(...Array.from({ length: ASKED }, () => requestBytes(READ, { length: MIB })));
      }
      const { exitCode, stdout, stderr } = await runProgram("fio", [...LOAD, `--uri=${uri}`]);
      expect(exitCode, `${stdout}${stderr}`).toBe(0);
      await host.data("n1", "wait", "md0");
      expect(peakResident(host.pidOf("n1"))).toBeLessThan(LIMIT);
      // The kernel takes caches back only when the limit is reached: so that it was never is not asked for.
      if (group?.peakBytes !== null) expect(group?.peakBytes ?? 0).toBeLessThanOrEqual(LIMIT);
    } finally {
      for (const client of deaf) client.destroy();
      await host.close();
    }
  });
});
