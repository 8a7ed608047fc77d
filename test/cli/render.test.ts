import { describe, expect, it } from "vitest";
import { detailText } from "../../src/cli/render/detail-text.ts";
import { mdstatText } from "../../src/cli/render/mdstat-text.ts";
import { mismatchLines } from "../../src/cli/render/mismatch-text.ts";
import { safeText } from "../../src/cli/render/safe-text.ts";
import { statusText } from "../../src/cli/render/status-text.ts";
import type { ArrayInfo, Sync } from "../../src/daemon/control-api.ts";
import { arrayInfo, frozen, idle, member, node, resyncing, statusData } from "../support/array-info.ts";

const degraded = (overrides: Partial<ArrayInfo> = {}): ArrayInfo =>
  arrayInfo("md0", {
    health: "degraded",
    degradedBy: 1,
    activeDevices: 1,
    failedDevices: 1,
    workingDevices: 1,
    members: [
      member(0, "/dev/sda"),
      member(1, "/dev/sdb", {
        role: "faulty",
        inSync: false,
        slot: null,
        errors: { read: 0, corrected: 0, write: 1, checksum: null, lastAt: null },
      }),
    ],
    ...overrides,
  });

/** What an independent reader of /proc/mdstat (node_exporter's procfs library) looks for. */
function parseMdstat(text: string) {
  const arrays: {
    name: string;
    state: string;
    level: string | null;
    devices: string[];
    blocks: number;
    up: string;
    sync: string | null;
  }[] = [];
  const lines = text.split("\n");
  expect(lines[0]).toMatch(/^Personalities : (\[\w+\] )+$/);
  for (const [at, line] of lines.entries()) {
    const head = /^(\S+) : (active|inactive)(?: \([a-z-]+\))?(?: (raid\d+))? (.+)$/.exec(line);
    if (head === null || line.startsWith("Personalities")) continue;
    const status = /^ {6}(\d+) blocks super 1\.2 (?:.* )?\[(\d+)\/(\d+)\] \[([U_]+)\]$/.exec(lines[at + 1] ?? "");
    expect(status, lines[at + 1]).not.toBeNull();
    const next = lines[at + 2] ?? "";
    const bar =
      /^ {6}\[[=>.]{21}\] {2}(resync|recovery|check) =([ \d]{3}\.\d)% \((\d+)\/(\d+)\) finish=(\d+\.\d)min speed=(\d+)K\/sec$/.exec(
        next,
      );
    const word = /^ {6}\t(resync|recover|reshape)=(PENDING|DELAYED|REMOTE)$/.exec(next);
    arrays.push({
      name: head[1] ?? "",
      state: head[2] ?? "",
      level: head[3] ?? null,
      devices: (head[4] ?? "").split(" "),
      blocks: Number(status?.[1]),
      up: status?.[4] ?? "",
      sync: bar?.[1] ?? word?.slice(1).join("=") ?? null,
    });
  }
  expect(lines.at(-2)).toBe("unused devices: <none>");
  return arrays;
}

describe("mdstat", () => {
  it("is what the kernel would write of a resync", () => {
    const array = arrayInfo("md0", { sync: { ...resyncing, speedBytesPerSecond: 204_800 * 1024 } });
    expect(mdstatText([array])).toMatchInlineSnapshot(`
      "Personalities : [raid1] [raid10] 
      md0 : active raid1 sdb[1] sda[0]
            104857600 blocks super 1.2 [2/2] [UU]
            [=======>.............]  resync = 37.5% (39321600/104857600) finish=5.3min speed=204800K/sec
            bitmap: 1/1 pages [4KB], 65536KB chunk

      unused devices: <none>
      "
    `);
  });

  it("tells of a RAID10's stripes, and of its chunks where it is more than one mirror", () => {
    const raid10 = { level: "raid10", layout: "n2", chunkBytes: 524_288 } as const;
    const lines = (array: ArrayInfo): string | undefined => mdstatText([array]).split("\n")[2];
    const four = arrayInfo("md0", { ...raid10, raidDevices: 4 });
    expect(lines(four)).toContain("104857600 blocks super 1.2 512K chunks 2 near-copies [4/2] ");
    expect(lines(arrayInfo("md0", raid10))).toContain("blocks super 1.2 2 near-copies [2/2] [UU]");
    const as = (layout: string): string | undefined => lines(arrayInfo("md0", { ...raid10, layout, raidDevices: 4 }));
    expect(as("f2")).toContain("512K chunks 2 far-copies [4/2] ");
    expect(as("o3")).toContain("512K chunks 3 offset-copies [4/2] ");
    expect(as("n2f2")).toContain("512K chunks 2 near-copies 2 far-copies [4/2] ");
    expect(detailText(four, { devices: false, utcOffset: () => 0 })).toEqual(
      expect.arrayContaining(["            Layout : near=2", "        Chunk Size : 512K"]),
    );
  });

  const waiting = (status: Sync["status"], action: Sync["action"] = "resync"): Sync => ({ ...idle, action, status });
  it.each<[string, ArrayInfo, string | null, string]>([
    ["idle", arrayInfo("md0"), null, "UU"],
    ["resync", arrayInfo("md0", { sync: resyncing }), "resync", "UU"],
    [
      "recovery",
      degraded({
        sync: { ...resyncing, action: "recover" },
        members: [member(0, "/dev/sda"), member(1, "/dev/sdc", { inSync: false, number: 2 })],
      }),
      "recovery",
      "U_",
    ],
    ["check", arrayInfo("md0", { sync: { ...resyncing, action: "check" } }), "check", "UU"],
    ["PENDING", arrayInfo("md0", { sync: waiting("pending") }), "resync=PENDING", "UU"],
    ["DELAYED", arrayInfo("md0", { sync: waiting("delayed") }), "resync=DELAYED", "UU"],
    ["REMOTE", arrayInfo("md0", { sync: waiting("remote") }), "resync=REMOTE", "UU"],
    ["REMOTE recovery", degraded({ sync: waiting("remote", "recover") }), "recover=REMOTE", "U_"],
    ["degraded", degraded(), null, "U_"],
    ["read-only", arrayInfo("md0", { state: "readonly" }), null, "UU"],
  ])("is understood by another parser: %s", (_state, array, sync, up) => {
    expect(parseMdstat(mdstatText([array]))).toMatchObject([
      { name: "md0", state: "active", level: "raid1", sync, up },
    ]);
  });

  it("marks faulty members and spares, and lists no empty slot", () => {
    const members = [
      member(0, "/dev/sda"),
      member(1, "/dev/sdb", { role: "faulty", slot: null, inSync: false }),
      member(2, "/dev/sdc", { role: "spare", slot: null, inSync: false }),
      member(1, "/x", { number: -1, path: null, role: "missing", inSync: false }),
    ].map((one, number) => ({ ...one, number: one.number < 0 ? -1 : number }));
    const [array] = parseMdstat(mdstatText([degraded({ members })]));
    expect(array?.devices).toEqual(["sdc[2](S)", "sdb[1](F)", "sda[0]"]);
  });

  it("marks a replacement, which in detail is a spare that is filled", () => {
    const members = [
      member(0, "/dev/sda"),
      member(1, "/dev/sdb", { flags: ["want-replacement"] }),
      member(1, "/dev/sdc", { number: 2, role: "replacement", inSync: false }),
    ];
    const [array] = parseMdstat(mdstatText([arrayInfo("md0", { members })]));
    expect(array).toMatchObject({ devices: ["sdc[2](R)", "sdb[1]", "sda[0]"], up: "UU" });
    const lines = detailText(arrayInfo("md0", { members }), { devices: true, utcOffset: () => 0 }).filter((line) =>
      line.includes("/dev/sd"),
    );
    expect(lines.map((line) => line.trim().replace(/ +/g, " "))).toEqual([
      "0 0 0 0 active sync /dev/sda",
      "1 0 0 1 active sync /dev/sdb",
      "2 0 0 1 spare rebuilding /dev/sdc",
    ]);
  });

  it("shows several arrays, and the first percents with one decimal", () => {
    const early = {
      ...resyncing,
      percent: 5.04,
      doneBytes: 5 * 1024 ** 3,
      speedBytesPerSecond: null,
      etaSeconds: null,
    };
    const text = mdstatText([arrayInfo("md0", { sync: early }), arrayInfo("data")]);
    expect(parseMdstat(text).map(({ name }) => name)).toEqual(["md0", "data"]);
    expect(text).toContain("[=>...................]  resync =  5.0% (5242880/104857600) finish=0.0min speed=0K/sec");
  });
});

describe("detail", () => {
  const utc = { devices: true, utcOffset: () => 0 };

  it("has mdadm's fields in mdadm's order, and what a cluster adds", () => {
    const array = arrayInfo("md0", {
      sync: { ...resyncing },
      members: [member(0, "/dev/sda", { major: 8, minor: 0 }), member(1, "/dev/sdb", { major: 8, minor: 16 })],
      suspended: [
        { loBytes: 37.5 * 1024 ** 3, hiBytes: 37.53125 * 1024 ** 3, byNode: "n2", reason: "resync", since: null },
      ],
    });
    expect(detailText(array, utc).join("\n")).toMatchInlineSnapshot(`
      "/dev/mdctl/md0:
                 Version : 1.2
           Creation Time : Fri Nov 20 10:00:00 2026
              Raid Level : raid1
              Array Size : 104857600 (100.00 GiB 107.37 GB)
           Used Dev Size : 104857600 (100.00 GiB 107.37 GB)
            Raid Devices : 2
           Total Devices : 2
             Persistence : Superblock is persistent

           Intent Bitmap : Internal(Clustered)

             Update Time : Fri Nov 20 10:03:20 2026
                   State : active, resyncing
          Active Devices : 2
         Working Devices : 2
          Failed Devices : 0
           Spare Devices : 0

      Consistency Policy : bitmap

           Resync Status : 37.5% complete, 5 min 20 s left (4-7 min), on n2

                    Name : any:md0
            Cluster Name : alpha
                    UUID : 7b37c478:a77d09b7:cb2120fb:6e0d1c55
                  Events : 17
               Node Slot : 0 of 4 (n1)
                 IO Ring : io_uring

          Number   Major   Minor   RaidDevice State
             0       8        0        0      active sync   /dev/sda
             1       8       16        1      active sync   /dev/sdb

            Slot   Node      State      Bitmap             Lock          Suspended
               0   n1        up         3 dirty of 1600    bitmap0000 PW -
               1   n2        up         0 dirty of 1600    bitmap0001 PW 37.50-37.53 GiB (resync)"
    `);
  });

  it("names what is not as it should be", () => {
    const members = [
      member(0, "/dev/sda"),
      member(1, "/dev/sdc", { number: 2, inSync: false, recoveryOffsetBytes: 0 }),
      member(1, "/dev/sdb", { role: "faulty", slot: null, inSync: false }),
    ];
    const lines = detailText(degraded({ members, sync: { ...resyncing, action: "recover" } }), utc);
    expect(lines).toContain("             State : active, degraded, recovering");
    expect(lines).toContain("    Rebuild Status : 37.5% complete, 5 min 20 s left (4-7 min), on n2");
    expect(lines.filter((line) => line.includes("/dev/sd")).map((line) => line.slice(39))).toEqual([
      " active sync   /dev/sda",
      " spare rebuilding   /dev/sdc",
      " faulty   /dev/sdb",
    ]);
    const marked = [member(0, "/dev/sda", { flags: ["write-mostly", "failfast"] })];
    const [line] = detailText(arrayInfo("md0", { members: marked }), utc).filter((one) => one.includes("/dev/sda"));
    expect(line).toContain(" active sync writemostly failfast   /dev/sda");
    const pending = detailText(arrayInfo("md0", { sync: { ...idle, action: "resync", status: "pending" } }), utc);
    expect(pending).toContain("             State : active, resyncing (PENDING)");
  });
});

describe("status", () => {
  it("of a healthy cluster is four lines", () => {
    const arrays = [arrayInfo("md0", { state: "clean" }), arrayInfo("md1")];
    expect(statusText(statusData(arrays))).toBe(
      [
        "alpha: OK, 2 of 2 nodes, 2 arrays, lock service ok",
        "md0   raid1   100.00 GiB  [UU]  clean    n1 n2",
        "md1   raid1   100.00 GiB  [UU]  active    n1 n2",
        "nothing to do",
        "",
      ].join("\n"),
    );
  });

  it("says what is wrong, what goes on and what to do", () => {
    const array = degraded({ sync: { ...resyncing, action: "recover", node: "n1" } });
    const text = statusText(
      statusData([array], {
        verdict: "degraded",
        nodes: [node("n1", 0), node("n3", 2, { state: "down", lastSeenSeconds: 12 })],
        advice: [{ text: "replace serial S4X7 of md0, then", command: "mdctl remove md0 faulty" }],
      }),
    );
    expect(text).toContain("alpha: DEGRADED, ");
    expect(text).toContain("[U_]  active, degraded, recovering on n1");
    expect(text).toContain("recover 37.5%, 5 min 20 s left (4-7 min), 195.3 MiB/s");
    expect(text).toContain("sdb is faulty: 1 write and 0 read errors here");
    expect(text).toContain("n3  down 12 s, slot 2");
    expect(text).toContain("next: replace serial S4X7 of md0, then: mdctl remove md0 faulty");
  });

  it("names the disk that begins to fail", () => {
    const errors = { read: 3, corrected: 24, write: 0, checksum: null, lastAt: null };
    const members = [member(0, "/dev/sda"), member(1, "/dev/sdb", { serial: "S4X7", errors })];
    const text = statusText(statusData([arrayInfo("md0", { members })]));
    expect(text).toContain("      sdb (serial S4X7): 3 read errors here, 24 sectors rewritten so far\n");
    expect(text).not.toContain("sda");
  });

  it("that is frozen says so first: why, what ends it, when at the latest", () => {
    const { cluster } = statusData([]);
    const text = statusText(
      statusData([arrayInfo("md0", { frozen })], {
        verdict: "frozen",
        cluster: { ...cluster, lockService: "lost", service: { ...cluster.service, frozen } },
        advice: [{ text: "wait for the nodes that have not reported", command: null }],
      }),
    );
    expect(text).toBe(
      [
        "alpha: FROZEN, 2 of 2 nodes, 1 array, lock service lost",
        "frozen: lock service redis://10.0.0.5:6379 lost its state 3.2 s ago; writes to clustered arrays wait",
        "        re-mastering: 2 of 3 nodes reported; IO resumes when n3 reports or is evicted, at the latest in 6.8 s",
        "        14 requests wait on this node",
        "md0   raid1   100.00 GiB  [UU]  active    n1 n2",
        "next: wait for the nodes that have not reported",
        "",
      ].join("\n"),
    );
    const detail = detailText(arrayInfo("md0", { frozen }), { devices: false, utcOffset: () => 0 });
    expect(detail).toContain("             State : active, FROZEN");
    expect(detail.filter((line) => /Frozen|Next/.test(line))).toEqual([
      "            Frozen : lock service redis://10.0.0.5:6379 lost its state 3.2 s ago; writes to clustered arrays wait",
      "              Next : re-mastering: 2 of 3 nodes reported; IO resumes when n3 reports or is evicted, at the latest in 6.8 s",
    ]);
  });

  it("gives no number for what is queued, and calls it no fault", () => {
    const pending: Sync = { ...idle, action: "resync", status: "pending", waitingFor: "resync lock" };
    const text = statusText(statusData([arrayInfo("md0", { sync: pending })]));
    expect(text).toContain("active, resync pending (resync lock)");
    expect(text).not.toContain("%");
  });
});

it("calls copies equal only when all of them were compared", () => {
  const { mismatch } = arrayInfo("md0");
  const clean = { ...mismatch, sectors: 0, lastAction: "check", reachedBytes: 65536 } as const;
  const text = (change: Partial<typeof mismatch>) =>
    mismatchLines({ name: "md0", sizeBytes: 131_072, mismatch: { ...clean, ...change } }).join("\n");
  expect(text({ state: "finished" })).toBe("md0: check finished, all copies are equal");
  expect(text({ state: "finished", fromBytes: 0, toBytes: 131_072 })).toBe("md0: check finished, all copies are equal");
  expect(text({ state: "finished", fromBytes: 65_536, toBytes: 131_072 })).toBe(
    "md0: check finished, all copies are equal from 65536 to 131072 bytes",
  );
  expect(text({ state: "finished", fromBytes: 0, toBytes: 65_536 })).toBe(
    "md0: check finished, all copies are equal from 0 to 65536 bytes",
  );
  expect(text({ state: "stopped", why: "idle" })).toBe(
    "md0: check stopped: idle (at 65536 bytes; --from=65536B goes on), no difference up to 65536 bytes",
  );
  expect(text({ state: "running", reachedBytes: 0 })).toMatch(/ running .*, no difference up to 0 bytes$/);
  expect(text({ state: "running", fromBytes: 4096 })).toMatch(/, no difference from 4096 up to 65536 bytes$/);
});

it("shows control characters as escapes", () => {
  expect(safeText("a\x1b[2J\n\x7f\u202eb")).toBe("a\\x1b[2J\\x0a\\x7f\\u202eb");
  expect(safeText("Größe 数")).toBe("Größe 数");
});
