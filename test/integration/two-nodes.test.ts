import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type {
  ArrayInfo,
  AssembleData,
  CreateData,
  LocksData,
  ManageData,
  Mapping,
  StatusData,
} from "../../src/daemon/control-api.ts";
import { Host, runProgram } from "../support/daemons.ts";
import { haveLoopDevices, withLoopDevice } from "../support/loop-device.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 32 * MIB;
const CREATE = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members"];

describe.each(["the embedded lock server", "Redis"])("two daemons with %s", (kind) => {
  let host: Host;
  let redis: RedisServer | null = null;

  const startHost = async (): Promise<{ a: string; b: string }> => {
    redis = kind === "Redis" ? await startRedis() : null;
    host = new Host(redis === null ? {} : { lockServer: redis.url });
    // At once: both look for a lock server, and one of the two that they start gives way.
    await Promise.all([host.start("n1"), host.start("n2")]);
    return { a: host.memberFile("a.img", MEMBER_BYTES), b: host.memberFile("b.img", MEMBER_BYTES) };
  };

  afterEach(async () => {
    await host.close();
    await redis?.stop();
  });

  it("mirror, fail, refill, and survive the death of one", async () => {
    const { a, b } = await startHost();
    const created = await host.data<CreateData>("n1", ...CREATE, a, b);
    expect(created.array).toMatchObject({ name: "md0", raidDevices: 2, clustered: true, nodesMax: 4, slot: 0 });
    expect(created.op).toMatchObject({ state: "done" });

    const { arrays } = await host.data<AssembleData>("n2", "assemble", "md0", a, b);
    expect(arrays).toMatchObject([{ name: "md0", started: true, array: { slot: 1 } }]);
    await host.data("n1", "wait", "md0");
    await host.data("n2", "wait", "md0");

    // Written through one node, read through the other.
    const uri = async (node: string): Promise<string> =>
      (await host.data<{ mapping: Mapping }>(node, "map", "md0")).mapping.uri;
    const content = Buffer.alloc(8 * MIB, "what one node writes, the other reads. ");
    const file = host.path("content");
    writeFileSync(file, content);
    expect(await runProgram("nbdcopy", [file, await uri("n1")])).toMatchObject({ exitCode: 0 });
    const back = host.path("back");
    expect(await runProgram("nbdcopy", [await uri("n2"), back])).toMatchObject({ exitCode: 0 });
    expect(readFileSync(back).subarray(0, content.length).equals(content)).toBe(true);

    // A member that fails on one node is known on the other when the command returns.
    await host.data<ManageData>("n1", "fail", "md0", b);
    const degraded = await host.data<{ array: ArrayInfo }>("n2", "detail", "md0");
    expect(degraded.array).toMatchObject({ health: "degraded", degradedBy: 1, failedDevices: 1 });
    expect((await host.run("n2", "--detail", "--test", "md0")).exitCode).toBe(1);
    expect((await host.run("n2", "mdstat")).stdout).toContain("[2/1] [U_]");
    const last = await host.json<ManageData>("n2", "md0", "--fail", a);
    expect(last).toMatchObject({ ok: false, exitCode: 3, error: { code: "E_LAST_COPY" } });

    // Out and back in; no array is named, since there is only one.
    expect((await host.run("n1", "--remove", b)).exitCode).toBe(0);
    const added = await host.run("n1", "--add", b);
    expect(added).toMatchObject({ exitCode: 0, stdout: "" });
    expect(added.stderr).toBe(`mdctl: using md0, the only array assembled on this node\nmdctl: re-added ${b} to md0\n`);
    await host.data("n1", "wait", "md0");
    await host.data("n2", "wait", "md0");
    expect((await host.data<{ array: ArrayInfo }>("n2", "detail")).array.health).toBe("optimal");

    // What stock mdadm says of the member.
    const mdadm = await runProgram("mdadm", ["--examine", a]);
    expect(mdadm.stdout).toContain("Cluster Name : test");
    expect(mdadm.stdout).toMatch(/Checksum : [0-9a-f]+ - correct/);

    // n1 dies with a write on its way that it has not cleared from its bitmap.
    expect(await runProgram("qemu-io", ["-f", "raw", "-c", "write -P 0x5a 12M 1M", await uri("n1")])).toMatchObject({
      exitCode: 0,
    });
    await host.end("n1", "SIGKILL");
    const takeover = await host.event("n2", ({ event }) => event === "TAKEOVER");
    expect(takeover.array).toBe("md0");
    await host.event("n2", ({ event, array }) => event === "NODEDOWN" && array === null);
    await host.data("n2", "wait", "md0");
    const status = await host.data<StatusData>("n2", "status");
    expect(status.verdict).toBe("degraded");
    expect(status.nodes).toMatchObject([
      { name: "n2", state: "up", slot: 1 },
      { name: "n1", state: "down" },
    ]);
    expect(status.arrays).toMatchObject([{ health: "optimal", sync: { status: "none" } }]);
    expect(await runProgram("qemu-io", ["-f", "raw", "-c", "read -P 0x5a 12M 1M", await uri("n2")])).toMatchObject({
      exitCode: 0,
    });

    // And comes back.
    await host.start("n1");
    await host.event("n2", ({ event }) => event === "NODEUP");
    await host.data("n1", "assemble", "md0", a, b);
    expect((await host.data<LocksData>("n1", "locks")).resources.map(({ name }) => name)).toContain("bitmap0001");
    await host.data("n1", "stop", "md0");
    await host.data("n2", "stop", "md0");
    const { dataOffsetBytes } = degraded.array;
    const [left, right] = [a, b].map((path) => readFileSync(path).subarray(dataOffsetBytes));
    expect(left?.equals(right ?? Buffer.alloc(0))).toBe(true);
  });

  it("create on the same members at the same moment: one wins (F27)", async () => {
    const { a, b } = await startHost();
    const outcomes = await Promise.all([
      host.json<CreateData>("n1", ...CREATE, a, b),
      host.json<CreateData>("n2", ...CREATE, a, b),
    ]);
    const winners = outcomes.filter(({ ok }) => ok);
    const losers = outcomes.filter(({ ok }) => !ok);
    expect(winners).toHaveLength(1);
    expect(losers[0]?.error?.code).toBe("E_DEVICE_BUSY");
    const [winner] = winners;
    const uuid = winner?.data?.array?.uuid ?? "";
    for (const member of [a, b]) {
      const { stdout } = await runProgram("mdadm", ["--examine", member]);
      expect(stdout).toContain(uuid);
    }
  });
});

describe("one daemon", () => {
  let host: Host;
  afterEach(() => host.close());

  it.runIf(haveLoopDevices())(
    "creates on block devices by the line as typed, and lets no other command have them",
    async () => {
      host = new Host();
      await host.start("n1");
      await withLoopDevice(host.memberFile("a.img", MEMBER_BYTES), async (first) => {
        await withLoopDevice(host.memberFile("b.img", MEMBER_BYTES), async (second) => {
          const created = await host.run("n1", "create", "--level=1", "--cluster", first, second);
          expect(created).toMatchObject({ exitCode: 0, stdout: "" });
          expect(created.stderr).toContain("array /dev/mdctl/md0 started");
          const again = await host.json(
            "n1",
            "create",
            "md7",
            "--level=1",
            "--cluster",
            "--run",
            "--force",
            first,
            second,
          );
          expect(again).toMatchObject({ exitCode: 6, error: { code: "E_DEVICE_BUSY" } });
          const detail = await host.run("n1", "detail");
          expect(detail.stdout).toMatch(new RegExp(`0 {7}7 +\\d+ {8}0 {6}active sync {3}${first}`));
          await host.data("n1", "stop", "md0");
          // By its superblocks, wherever they are; the name is what is written there.
          const { arrays } = await host.data<AssembleData>("n1", "assemble", "md0");
          expect(arrays).toMatchObject([{ name: "md0", started: true }]);
          await host.data("n1", "stop", "md0");
        });
      });
    },
  );

  it("refuses before the first byte is written", async () => {
    host = new Host();
    await host.start("n1");
    const full = host.memberFile("full.img", MEMBER_BYTES);
    await runProgram("mkfs.ext4", ["-q", "-L", "precious", full]);
    const small = host.memberFile("small.img", MIB / 2);
    const blank = host.memberFile("blank.img", MEMBER_BYTES);
    const before = [full, small, blank].map((path) => readFileSync(path));
    const refused = async (code: string, exitCode: number, ...members: string[]): Promise<void> => {
      const line = ["create", "md0", "--level=1", "--cluster", ...members];
      expect(await host.json("n1", ...line), members.join(" ")).toMatchObject({ ok: false, exitCode, error: { code } });
    };
    await refused("E_CONFIRM", 3, full, blank);
    await refused("E_DEVICE_SMALL", 1, small, blank, "--run");
    await refused("E_USAGE", 2, blank, blank);
    await refused("E_USAGE", 2, blank, host.path("./blank.img"));
    await refused("E_NO_DEVICE", 4, blank, host.path("none.img"));
    await refused("E_NOT_BLOCKDEV", 1, blank, host.folder.path);
    await refused("E_VALUE", 2, blank, full, "--run", "--nodes=100");
    await refused("E_NOT_JOINED", 7, blank, full, "--run", "--home-cluster=beta");
    const dry = await host.run("n1", ...CREATE, "--dry-run", "--run", full, blank);
    expect(dry.exitCode).toBe(0);
    for (const [i, path] of [full, small, blank].entries()) {
      expect(readFileSync(path).equals(before[i] ?? Buffer.alloc(0)), path).toBe(true);
    }
    const { error } = await host.json("n1", ...CREATE, full, blank);
    expect(error?.message).toBe(`${full} contains an ext2/3/4 filesystem "precious"`);
    expect((await host.run("n1", "detail")).exitCode).toBe(4);
  });

  it("goes on with an operation whose client was killed, and tells how it ended", async () => {
    host = new Host();
    await host.start("n1");
    const members = ["a.img", "b.img"].map((name) => host.memberFile(name, MEMBER_BYTES));
    const socket = connect(host.socketOf("n1"));
    const params = { name: "md0", level: 1, members, spares: [], run: false, map: false };
    socket.write(`${JSON.stringify({ v: 1, id: 1, method: "create", params })}\n`, () => socket.destroy());
    await host.event("n1", ({ event }) => event === "CREATED");
    const { operations } = await host.data<{ operations: { id: string; state: string }[] }>("n1", "op", "list");
    const [operation] = operations;
    expect(operations).toHaveLength(1);
    expect(["running", "done"]).toContain(operation?.state);
    expect((await host.data<{ array: ArrayInfo }>("n1", "detail", "md0")).array.members).toHaveLength(2);
  });

  it("exports on TCP of this host only, and says what it exports", async () => {
    host = new Host();
    await host.start("n1");
    const members = ["a.img", "b.img"].map((name) => host.memberFile(name, MEMBER_BYTES));
    await host.data("n1", ...CREATE, "--no-map", ...members);
    expect(await host.json("n1", "map", "md0", "--listen=0.0.0.0:10809")).toMatchObject({ error: { code: "E_VALUE" } });
    const { stdout, exitCode } = await host.run("n1", "map", "md0", "--listen=127.0.0.1:0", "--readonly");
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^127\.0\.0\.1:\d+\n$/);
    const { mappings } = await host.data<{ mappings: Mapping[] }>("n1", "list");
    expect(mappings).toMatchObject([{ device: stdout.trim(), readOnly: true }]);
    const info = await runProgram("nbdinfo", ["--json", mappings[0]?.uri ?? ""]);
    expect(JSON.parse(info.stdout)).toMatchObject({ exports: [{ is_read_only: true }] });
    expect((await host.run("n1", "map", "md0")).stdout).toBe(stdout);
    expect((await host.run("n1", "unmap", "md0")).exitCode).toBe(0);
    expect((await host.run("n1", "unmap", "md0")).exitCode).toBe(4);
  });

  it("stops in order on SIGTERM: the next start finds nothing to resync", async () => {
    host = new Host();
    await host.start("n1");
    const members = ["a.img", "b.img"].map((name) => host.memberFile(name, MEMBER_BYTES));
    await host.data("n1", ...CREATE, ...members);
    await host.data("n1", "wait", "md0");
    expect(await host.end("n1", "SIGTERM")).toBe(0);
    await host.start("n1");
    await host.data("n1", "assemble", "md0", ...members);
    const { bitmap } = (await host.data<{ array: ArrayInfo }>("n1", "detail")).array;
    expect(bitmap?.unionDirty).toBe(0);
  });

  it("is the only one on its socket: a second one is refused and changes nothing", async () => {
    host = new Host();
    await host.start("n1");
    const second = await host.run("n1", "daemon", "--node=n9", `--lock-server=${host.lockServerOf("n9")}`);
    expect(second.exitCode).toBe(4);
    expect(second.stderr).toContain(`another daemon listens on ${host.socketOf("n1")}`);
    expect(await host.data("n1", "ping")).toMatchObject({ node: "n1", pid: host.pidOf("n1") });
    expect(await host.data<{ nodes: unknown[] }>("n1", "node", "list")).toMatchObject({ nodes: [{ name: "n1" }] });
  });

  it("that stood still for longer than its lease is out of the array, says so, and may come back (F05)", async () => {
    host = new Host({ lease: "1s" });
    await Promise.all([host.start("n1"), host.start("n2")]);
    const members = ["a.img", "b.img"].map((name) => host.memberFile(name, MEMBER_BYTES));
    await host.data("n1", ...CREATE, "--assume-clean", ...members);
    await host.data("n2", "assemble", "md0", ...members);
    process.kill(host.pidOf("n1"), "SIGSTOP");
    await host.event("n2", ({ event, array }) => event === "TAKEOVER" && array === "md0");
    // The cluster's own lockspace has a lease too: woken between the two ends, n1 would never have been down in it.
    await host.event("n2", ({ event, array }) => event === "NODEDOWN" && array === null);
    process.kill(host.pidOf("n1"), "SIGCONT");
    await host.event("n1", ({ event, array }) => event === "FENCED" && array === "md0");
    const status = await host.data<StatusData>("n1", "status");
    expect(status).toMatchObject({ verdict: "degraded", arrays: [], advice: [{ command: "mdctl assemble md0" }] });
    expect(status.advice[0]?.text).toMatch(/^md0 is gone from this node since \S+Z \(.+\)$/);
    await host.data("n1", "stop", "md0");
    expect((await host.data<StatusData>("n1", "status")).advice).toEqual([]);
    await host.event("n2", ({ event }) => event === "NODEUP");
    await host.data("n1", "assemble", "md0", ...members);
    expect((await host.data<StatusData>("n1", "status")).arrays).toMatchObject([{ name: "md0", health: "optimal" }]);
  });

  it("tells of a resync while it runs; who waits for it may give up or be interrupted", async () => {
    host = new Host({ daemonOptions: ["--sync-speed-max=512"] });
    await host.start("n1");
    const members = ["a.img", "b.img"].map((name) => host.memberFile(name, MEMBER_BYTES));
    await host.data("n1", ...CREATE, ...members);
    const late = await host.json("n1", "wait", "md0", "--timeout=100ms");
    expect(late).toMatchObject({ exitCode: 5, error: { code: "E_TIMEOUT" } });
    expect((await host.run("n1", "mdstat")).stdout).toMatch(/resync = +\d+\.\d% \(\d+\/\d+\) finish=/);
    expect((await host.run("n1", "detail")).stdout).toContain("active, resyncing");
    expect(await host.interrupted("n1", "wait", "md0")).toBe(130);
    expect(await host.data<StatusData>("n1", "status")).toMatchObject({
      verdict: "notice",
      arrays: [{ sync: { action: "resync", status: "running", node: "n1" } }],
    });
    // What is left of it is the next one's.
    await host.data("n1", "stop", "md0");
    await host.data("n1", "assemble", "md0", ...members);
    expect((await host.data<StatusData>("n1", "status")).arrays).toMatchObject([{ sync: { action: "resync" } }]);
  });
});
