import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MdError, type MdErrorCode, mdErrorCodes } from "../../src/base/md-error.ts";
import { exitStatus } from "../../src/cli/exit-status.ts";
import { generalHelp, verbHelp } from "../../src/cli/help.ts";
import { verbs } from "../../src/cli/options/verbs.ts";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import type { CreateParams, ManageData, ManageParams } from "../../src/daemon/control-api.ts";
import { arrayInfo, resyncing, statusData } from "../support/array-info.ts";
import { FakeWorld, type FakeWorldOptions } from "../support/fake-world.ts";
import { tempDir } from "../support/temp-dir.ts";

async function run(line: string, options: FakeWorldOptions = {}) {
  const world = new FakeWorld(options);
  const exitCode = await runCommandLine(
    line.split(" ").filter((word) => word !== ""),
    world,
  );
  return { exitCode, out: world.out, err: world.err, requests: world.requests, json: () => JSON.parse(world.out) };
}

const refusing = (code: MdErrorCode, message: string, details = {}): never => {
  throw new MdError(code, message, { details });
};

describe("errors of create: the exact first line and the exit status", () => {
  it.each([
    ["create --cluster a b", "a RAID level is needed to create an array", 2],
    ["create --cluster --level=5 a b", "level raid5 is not supported; mdctl does raid1 and raid10", 2],
    ["create --cluster -l linear a b", "level linear is not supported; mdctl does raid1 and raid10", 2],
    [
      "create md0 --cluster -l1 -n3 ./a ./b",
      "raid-devices is 3 but 2 members were given; add a member or the word 'missing'",
      2,
    ],
    ["create md0 --cluster -l1 -n2 ./a ./b ./c", "raid-devices is 2 and spare-devices 0 but 3 members were given", 2],
    [
      "create md0 --cluster -l1 -n2 -x2 ./a ./b ./c",
      "raid-devices is 2 and spare-devices 2 but 3 members were given; add a member or the word 'missing'",
      2,
    ],
    [
      "create md0 --cluster -l1 -x2 ./a ./b",
      "raid-devices is 1 and spare-devices 2 but 2 members were given; add a member or the word 'missing'",
      2,
    ],
    ["create md0 --cluster -l1 -n2 -x1 ./a ./b missing", "a spare cannot be missing", 2],
    ["create md0 --cluster -l1 missing missing", "at least one member must be real", 2],
    ["create md0 --cluster -l1 --nodes=1 ./a ./b", "a clustered array needs at least 2 nodes, got 1", 2],
    ["create md0 -l1 --cluster -b internal ./a ./b", "--cluster and --bitmap=internal contradict each other", 2],
    [
      "create md0 -l1 -b /boot/bitmap ./a ./b",
      'bitmap: "/boot/bitmap" is not possible: none, internal and clustered are',
      2,
    ],
    ["create md0 -l1 --cluster -e 1.0 ./a ./b", "metadata 1.0 is not possible: 1.2 is", 2],
    ["create md0 -l1 --cluster -W ./a ./b", "write-mostly is not possible with a clustered bitmap", 2],
    ["create md0 -l1 --cluster --bitmap-chunk=0 ./a ./b", 'bitmap-chunk: "0" is not a size', 2],
    ["create md0 -l1 --cluster -d zero ./a ./b", 'delay: "zero" is not a whole number from 1 to 65535', 2],
    ["create md0 -l1 --cluster", "no members are given for md0", 2],
    ["create", "no members are given", 2],
  ])("%s", async (line, message, code) => {
    const { exitCode, out, err } = await run(line);
    expect(err.split("\n")[0]).toBe(`mdctl: ${message}`);
    expect(exitCode).toBe(code);
    expect(out).toBe("");
  });
});

describe("other command lines that cannot be", () => {
  it.each([
    ["crate", 'unknown verb "crate"'],
    ["status --frob", "unknown option --frob"],
    ["stop", "stop needs the name of an array, or --scan"],
    ["unmap", "unmap needs an array or what map printed"],
    ["detail md0 md1", 'detail does not take "md1"'],
    ["assemble", "assemble needs an array, members or --scan"],
    ["examine", "no devices are given"],
    ["md0 --fail --write-mostly /dev/sdc", "write-mostly is possible with create, add and re-add only: /dev/sdc"],
    ["action md0", "action is not told what to do"],
    ["action md0 check repair", "action takes one word, not check and repair"],
    ["action md0 check --source=/dev/sda", "--source is for repair only"],
    ["action md0 idle --from=1G", "--from is for check and repair only"],
    ["action md0 check --from=7", 'from: "7" has no unit'],
    ["action md0 check --to=700B", "to: 700 bytes is not a multiple of 512"],
    ["scrub md0 --repair=checksum", 'repair: "checksum" is not possible: arrays have no checksums'],
    ["action md0 --limit=20", 'limit: "20" has no unit'],
    ["action md0 --limit=fast", 'limit: "fast" is not a size'],
    ["action md0 md1 --limit=20M", "action takes one array, not 2"],
    ["status --timeout=soon", 'timeout: "soon" is not a duration'],
  ])("%s", async (line, message) => {
    const { exitCode, out, err, requests } = await run(line, { daemon: {} });
    expect(err.split("\n")[0]).toBe(`mdctl: ${message}`);
    expect([exitCode, out, requests]).toEqual([2, "", []]);
  });
});

describe("the user's own lines", () => {
  const create = (params: CreateParams) => ({
    array: arrayInfo(params.name ?? "md0", { sync: resyncing }),
    op: null,
    changes: [],
  });

  it("mdctl create --level=1 --cluster A B", async () => {
    const { exitCode, out, err, requests } = await run(
      "create --level=1 --cluster /dev/disk/by-id/A /dev/disk/by-id/B",
      { daemon: { create } },
    );
    expect(requests).toEqual([
      {
        method: "create",
        params: expect.objectContaining({
          name: null,
          members: ["/dev/disk/by-id/A", "/dev/disk/by-id/B"],
          homeCluster: null,
          run: false,
          map: true,
        }),
      },
    ]);
    expect([exitCode, out]).toEqual([0, ""]);
    expect(err).toBe(
      [
        "mdctl: creating md0: raid1, 2 members, clustered for 4 nodes, cluster alpha",
        "mdctl:   /dev/sda  100.00 GiB",
        "mdctl:   /dev/sdb  100.00 GiB",
        "mdctl: array /dev/mdctl/md0 started, resync 100.00 GiB running",
        "mdctl:   follow: mdctl wait md0   other nodes: mdctl assemble md0",
        "",
      ].join("\n"),
    );
  });

  it("mdctl --add /dev/sdX", async () => {
    const ops = [
      { op: "add" as const, member: "/dev/sdX", error: null, number: 2, by: null, perNode: [], as: "spare" as const },
    ];
    const { exitCode, err, requests } = await run("--add /dev/sdX", {
      daemon: {
        manage: () => ({
          array: "md0",
          ops: ops.map((op) => ({ ...op, result: "done" as const })),
          changes: [{ what: "add", target: "/dev/sdX", before: null, after: 2 }],
        }),
      },
    });
    expect(requests).toEqual([{ method: "manage", params: { array: null, ops: [{ op: "add", member: "/dev/sdX" }] } }]);
    expect([exitCode, err]).toEqual([0, "mdctl: added /dev/sdX to md0\n"]);
  });

  it("words, numbers and paths of members reach the daemon as it takes them", async () => {
    const manage = () => ({ array: "md0", ops: [], changes: [] });
    const line = "md0 --re-add missing --re-add ./x --add-spare y --fail detached --cluster-confirm 2:./z 3:missing";
    const { requests } = await run(line, { daemon: { manage } });
    const here = "/nowhere";
    const ops = [
      { op: "re-add", member: "missing" },
      { op: "re-add", member: `${here}/x` },
      { op: "add-spare", member: `${here}/y` },
      { op: "fail", member: "detached" },
      { op: "cluster-confirm", member: `2:${here}/z` },
      { op: "cluster-confirm", member: "3:missing" },
    ];
    expect(requests).toEqual([{ method: "manage", params: { array: "md0", ops } }]);
    const verb = await run("re-add md0 missing", { daemon: { manage } });
    expect(verb.requests).toEqual([{ method: "manage", params: { array: "md0", ops: ops.slice(0, 1) } }]);
  });

  it("replace: each member with its spare, in their order, and told as mdadm tells it", async () => {
    const manage = ({ ops }: ManageParams): ManageData => ({
      array: "md0",
      ops: ops.map(({ op, member, with: spare }, i) => ({
        ...{ op, member, as: null, perNode: [], error: null, number: i, result: "done" as const },
        by: { number: i + 5, path: spare ?? "/dev/any" },
      })),
      changes: [],
    });
    const line = "md0 --replace /dev/a /dev/b /dev/c --with /dev/x /dev/y";
    const { requests, err } = await run(line, { daemon: { manage } });
    const ops = [
      { op: "replace", member: "/dev/a", with: "/dev/x" },
      { op: "replace", member: "/dev/b", with: "/dev/y" },
      { op: "replace", member: "/dev/c" },
    ];
    expect(requests).toEqual([{ method: "manage", params: { array: "md0", ops } }]);
    expect(err.split("\n").slice(2, 6)).toEqual([
      "mdctl: Marked /dev/b (device 1 in md0) for replacement",
      "mdctl: Marked /dev/y in md0 as replacement for device 1",
      "mdctl: Marked /dev/c (device 2 in md0) for replacement",
      "mdctl: Marked /dev/any in md0 as replacement for device 2",
    ]);
    const verb = await run("replace md0 /dev/a --with /dev/x", { daemon: { manage } });
    expect(verb.requests).toEqual([{ method: "manage", params: { array: "md0", ops: ops.slice(0, 1) } }]);
    const named = await run("replace data /dev/a --with /dev/x", {
      daemon: { manage, status: () => statusData([arrayInfo("data")]) },
    });
    expect(named.requests.at(-1)).toEqual({ method: "manage", params: { array: "data", ops: ops.slice(0, 1) } });
  });

  it.each([
    "md0 --add a --with x",
    "md0 --replace a --with x y",
    "md0 --replace a --fail b --with x",
    "replace md0 a --with x y",
  ])("%s: a spare for nothing is refused", async (line) => {
    const { exitCode, requests, err } = await run(line, { daemon: {} });
    expect([exitCode, requests]).toEqual([2, []]);
    expect(err).toContain("follows no --replace that it could be for");
  });

  it("the last members of create are the spares", async () => {
    const { requests } = await run("create md0 -l1 --cluster -x1 /dev/x /dev/y /dev/z", { daemon: { create } });
    expect(requests).toMatchObject([{ params: { members: ["/dev/x", "/dev/y"], spares: ["/dev/z"] } }]);
    const counted = await run("create md0 -l1 --cluster -n2 -x1 /dev/x /dev/y /dev/z", { daemon: { create } });
    expect(counted.requests).toEqual(requests);
  });

  it.each([
    ["20M", 20_480, "20480 KiB per second"],
    ["max", 0, "as fast as it can"],
  ])("action --limit=%s", async (rate, limitKib, text) => {
    const { requests, err } = await run(`action md0 --limit=${rate}`, {
      daemon: { action: () => ({ array: "md0", changes: [] }) },
    });
    expect(requests).toEqual([{ method: "action", params: { array: "md0", limitKib } }]);
    expect(err).toBe(`mdctl: resync of md0 may copy ${text} on this node\n`);
  });

  it("action --limit-min: what does not yield to clients", async () => {
    const { requests } = await run("action md0 --limit-min=5M", {
      daemon: { action: () => ({ array: "md0", changes: [] }) },
    });
    expect(requests).toEqual([{ method: "action", params: { array: "md0", leastKib: 5120 } }]);
  });

  it.each([
    ["readonly md0", "md0", "readonly", "is read-only on this node"],
    ["--readonly /dev/mdctl/md0", "/dev/mdctl/md0", "readonly", "is read-only on this node"],
    ["-o md0", "md0", "readonly", "is read-only on this node"],
    ["readonly --auto md0", "md0", "read-auto", "is read-only on this node until the first write"],
    ["readwrite", null, "read-write", "is read-write on this node"],
    ["-w md0", "md0", "read-write", "is read-write on this node"],
  ])("%s", async (line, array, access, text) => {
    const { requests, err } = await run(line, { daemon: { access: () => ({ array: "md0", changes: [] }) } });
    expect(requests).toEqual([{ method: "access", params: { array, access } }]);
    expect(err).toBe(`mdctl: md0 ${text}\n`);
  });

  it("both spellings of create ask the daemon for the same thing", async () => {
    const verb = await run("create data --level=raid1 --cluster --nodes=8 /dev/x /dev/y", { daemon: { create } });
    const option = await run("-C /dev/md/data -l1 -n2 -b clustered --nodes 8 /dev/x /dev/y", { daemon: { create } });
    expect(option.requests).toEqual(verb.requests);
  });
});

describe("the one question", () => {
  const findings = [{ path: "/dev/x", text: '/dev/x contains an ext2/3/4 filesystem "data"' }];
  const create = ({ run: go }: CreateParams) =>
    go
      ? { array: arrayInfo("md0"), op: null, changes: [] }
      : refusing("E_CONFIRM", '/dev/x contains an ext2/3/4 filesystem "data"', { findings });
  const daemon = { create };
  const line = "create md0 -l1 --cluster /dev/x /dev/y";

  it("is not asked without a terminal: exit 3, and nothing is changed", async () => {
    const { exitCode, err, requests } = await run(line, { daemon });
    expect(exitCode).toBe(3);
    expect(err).toContain('mdctl: /dev/x contains an ext2/3/4 filesystem "data"\n');
    expect(requests).toHaveLength(1);
  });

  it.each([
    ["y", 0],
    ["yes", 0],
    ["n", 3],
    ["", 3],
  ])("at a terminal the answer %j gives exit %i", async (answer, code) => {
    const { exitCode, err } = await run(line, { daemon, terminal: true, typed: [answer] });
    expect(exitCode).toBe(code);
    expect(err).toContain("Continue creating array [y/N]? ");
    expect(err.includes("assuming no.")).toBe(code === 3);
  });

  it("is answered by --yes, by --run, by y on a pipe in the option spelling; never asked with --no-input", async () => {
    expect((await run(`${line} --yes`, { daemon })).exitCode).toBe(0);
    expect((await run(`${line} --run`, { daemon })).exitCode).toBe(0);
    const option = "--create md0 -l1 -b clustered -n2 /dev/x /dev/y";
    expect((await run(option, { daemon, typed: ["y"] })).exitCode).toBe(0);
    expect((await run(option, { daemon })).exitCode).toBe(3);
    expect((await run(`${line} --no-input`, { daemon, terminal: true, typed: ["y"] })).exitCode).toBe(3);
    expect((await run(line, { daemon, terminal: true, typed: ["y"], env: { MDCTL_NO_INPUT: "1" } })).exitCode).toBe(3);
  });
});

describe("--json", () => {
  it("prints one document for success", async () => {
    const { exitCode, out, err, json } = await run("status --json", {
      daemon: { status: () => statusData([arrayInfo("md0")]) },
    });
    expect([exitCode, err]).toEqual([0, ""]);
    expect(out.endsWith("}\n") && out.trimEnd().includes("\n")).toBe(false);
    expect(json()).toMatchObject({
      schema: "mdctl/1",
      command: "status",
      ok: true,
      exitCode: 0,
      time: "2026-11-20T10:03:20.000Z",
      node: "n1",
      cluster: "alpha",
      warnings: [],
      error: null,
      data: { verdict: "ok" },
    });
  });

  it("prints one document for a failure, too, with the exit status that the process has", async () => {
    const { exitCode, err, json } = await run("--detail md7 --json", {
      daemon: { detail: () => refusing("E_ARRAY_NOT_ACTIVE", "md7 is not assembled on this node") },
    });
    expect([exitCode, err]).toEqual([4, ""]);
    expect(json()).toMatchObject({
      command: "detail",
      ok: false,
      exitCode: 4,
      data: null,
      error: { code: "E_ARRAY_NOT_ACTIVE", message: "md7 is not assembled on this node", hint: null },
    });
  });

  it("prints one document when the command line itself cannot be read", async () => {
    const { exitCode, json } = await run("create --json --lefel=1 a b");
    expect(exitCode).toBe(2);
    expect(json()).toMatchObject({
      command: "create",
      exitCode: 2,
      error: { code: "E_UNKNOWN_OPTION", hint: "--level" },
    });
    expect((await run("frob --json=pretty")).json()).toMatchObject({ ok: false, error: { code: "E_USAGE" } });
    expect((await run("frob", { env: { MDCTL_FORMAT: "json" } })).json()).toMatchObject({ ok: false });
  });

  it("prints a stream as one document a line", async () => {
    const { out } = await run("events --json", { daemon: { events: () => ({ events: [] }) } });
    expect(out.trim().split("\n")).toHaveLength(1);
  });

  it("says the same name for both spellings", async () => {
    const daemon = { detail: () => ({ array: arrayInfo("md0") }) };
    expect((await run("detail md0 --json", { daemon })).json()).toEqual(
      (await run("-D md0 --json", { daemon })).json(),
    );
  });
});

describe("exit status", () => {
  it("is known for every code", () => {
    for (const code of mdErrorCodes) expect(exitStatus(code), code).toBeGreaterThan(0);
  });

  it.each([
    [{}, 0],
    [{ health: "degraded" as const, degradedBy: 1 }, 1],
    [{ health: "failed" as const, degradedBy: 2 }, 2],
    [{ health: "unknown" as const }, 4],
    // Slots count, not the members that happen to be listed as failed.
    [{ health: "optimal" as const, degradedBy: 1 }, 1],
  ])("detail --test of %j is %i", async (overrides, code) => {
    const daemon = { detail: () => ({ array: arrayInfo("md0", overrides) }) };
    expect((await run("detail --test", { daemon })).exitCode).toBe(code);
  });

  it("is that of the worst array for status --test", async () => {
    const arrays = [arrayInfo("md0"), arrayInfo("md1", { health: "degraded", degradedBy: 1 })];
    const daemon = { status: () => statusData(arrays) };
    expect((await run("status --test", { daemon })).exitCode).toBe(1);
    expect((await run("status", { daemon })).exitCode).toBe(0);
  });

  it("of wait with nothing to wait for is 1 in the option spelling, as with mdadm, and 0 in the verb spelling", async () => {
    const daemon = { wait: () => ({ arrays: ["md0"], waited: false }) };
    expect((await run("--wait md0", { daemon })).exitCode).toBe(1);
    expect((await run("wait md0", { daemon })).exitCode).toBe(0);
  });

  it("is 8 when some operations were done before one failed, and that of the error when none was", async () => {
    const op = { op: "fail" as const, member: "sdb", as: null, number: 1, by: null, perNode: [] };
    const error = {
      code: "E_LAST_COPY" as const,
      message: "sda is the last good copy",
      hint: null,
      details: {},
      causes: [],
    };
    const failed = { ...op, member: "sda", result: "failed" as const, error };
    const done = { ...op, result: "done" as const, error: null };
    const manage = (ops: (typeof failed | typeof done)[]) => () => ({ array: "md0", ops, changes: [] });
    const partial = await run("md0 --fail sdb sda --json", { daemon: { manage: manage([done, failed]) } });
    expect(partial.exitCode).toBe(8);
    expect(partial.json()).toMatchObject({ error: { code: "E_PARTIAL" }, data: { ops: [{ result: "done" }, {}] } });
    const none = await run("md0 --fail sda", { daemon: { manage: manage([failed]) } });
    expect([none.exitCode, none.err]).toEqual([3, "mdctl: sda is the last good copy\n"]);
  });

  it("of a defect is 70, in one line", async () => {
    const { exitCode, err } = await run("ping", {
      daemon: {
        ping: () => {
          throw new TypeError("cannot read properties of undefined");
        },
      },
    });
    expect(exitCode).toBe(70);
    expect(err.split("\n")[0]).toBe("mdctl: internal error: cannot read properties of undefined");
    expect(err.trimEnd().split("\n")).toHaveLength(2);
  });
});

describe("names from elsewhere", () => {
  it("never act on a terminal", async () => {
    const name = "evil\x1b]0;owned\x07\n\u202e";
    const daemon = { status: () => statusData([arrayInfo(name)]), detail: () => ({ array: arrayInfo(name) }) };
    for (const line of ["status", "detail", "mdstat", "detail --brief", "detail --export"]) {
      const { out } = await run(line, { daemon });
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
      expect(out, line).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f\u202e]/);
      expect(out, line).toContain("evil");
    }
  });
});

describe("help", () => {
  it("has at least two examples for every verb, before the options", async () => {
    for (const verb of verbs) {
      expect(verb.examples.length, verb.name).toBeGreaterThanOrEqual(2);
      const text = await verbHelp(verb);
      const [first] = verb.examples;
      expect(text.indexOf(first?.command ?? "?"), verb.name).toBeLessThan(text.search(/Options:|Everywhere:/));
      for (const { name } of verb.options) expect(text, verb.name).toContain(`--${name}`);
    }
  });

  it("lists every verb, and shows one with `help VERB`, `VERB --help` and `--help VERB` alike", async () => {
    for (const { name } of verbs) expect(generalHelp()).toContain(`  ${name} `);
    const [a, b, c] = await Promise.all([run("help create"), run("create --help"), run("--help create")]);
    expect([b.out, c.out]).toEqual([a.out, a.out]);
    expect(a.out).toContain("mdctl create --level=1 --cluster");
  });

  it("prints the table of exit status", async () => {
    const { out, exitCode } = await run("--help-exit");
    expect(exitCode).toBe(0);
    expect(out).toContain("refused: needs an answer");
  });
});

describe("examine needs no daemon", () => {
  let folder: ReturnType<typeof tempDir>;
  beforeAll(() => {
    folder = tempDir("cli");
  });
  afterAll(() => folder.remove());

  it("says that a blank file is no member, and leaves it as it is", async () => {
    const path = join(folder.path, "blank.img");
    closeSync(openSync(path, "w"));
    writeFileSync(path, Buffer.alloc(1 << 20, 7));
    const { exitCode, err } = await run("examine blank.img", { cwd: folder.path });
    expect(exitCode).toBe(1);
    expect(err).toMatch(/^mdctl: .*blank\.img.*\n/);
    expect(readFileSync(path).every((byte) => byte === 7)).toBe(true);
  });

  it("says that a device does not exist: exit 4", async () => {
    const { exitCode, json } = await run("-E /nowhere/at/all --json");
    expect(exitCode).toBe(4);
    expect(json()).toMatchObject({ command: "examine", error: { code: "E_NO_DEVICE" } });
  });
});
