import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import type { GrowData, GrowParams } from "../../src/daemon/control-api.ts";
import { FakeWorld, type FakeWorldOptions } from "../support/fake-world.ts";

const MIB = 1024 * 1024;

async function run(line: string, options: FakeWorldOptions = {}) {
  const world = new FakeWorld(options);
  const exitCode = await runCommandLine(line.split(" "), world);
  return { exitCode, out: world.out, err: world.err, asked: world.requests.map(({ params }) => params as GrowParams) };
}

const answer = (more: Partial<GrowData> = {}): GrowData => ({
  array: "md0",
  changes: [{ what: "size", target: "md0", before: 20 * MIB, after: 10 * MIB }],
  shrinks: false,
  content: null,
  sync: null,
  ...more,
});

const daemon = (more: Partial<GrowData> = {}) => ({ daemon: { grow: () => answer(more) } });

describe("what grow asks the daemon for", () => {
  const plain = { sizeBytes: null, sizeMax: false, raidDevices: null, bitmapChunkBytes: null, add: [] };
  it.each([
    ["grow md0 --size=max", { sizeMax: true }],
    ["--grow md0 --size=max", { sizeMax: true }],
    ["-G md0 -z max", { sizeMax: true }],
    ["grow md0 --size=10240", { sizeBytes: 10 * MIB }],
    ["grow md0 --bitmap-chunk=128M", { bitmapChunkBytes: 128 * MIB }],
    ["--grow md0 -n3 --add /dev/x /dev/y", { raidDevices: 3, add: ["/dev/x", "/dev/y"] }],
    ["grow md0 --bitmap=none", { bitmap: "none" }],
    ["-G md0 -b clustered --nodes=8", { bitmap: "clustered", nodes: 8 }],
    ["--grow md0 --nodes=6", { bitmap: null, nodes: 6 }],
    ["grow md0 --chunk=128", { chunkBytes: 128 * 1024 }],
    ["-G md0 --raid-devices=3 -a /dev/x", { raidDevices: 3, add: ["/dev/x"] }],
  ])("%s", async (line, expected) => {
    const { exitCode, asked } = await run(line, daemon());
    expect(exitCode).toBe(0);
    expect(asked.at(-1)).toMatchObject({ array: "md0", ...plain, ...expected, dryRun: false });
  });

  it("leaves the array out where only a member is named", async () => {
    const { asked } = await run("grow --raid-devices=3 --add /dev/x", daemon());
    expect(asked.at(-1)).toMatchObject({ array: null, add: ["/dev/x"] });
  });

  it("with --dry-run is only what would change", async () => {
    const { out, asked } = await run("grow md0 --raid-devices=3 --dry-run", daemon());
    expect(asked.map(({ dryRun }) => dryRun)).toEqual([true]);
    expect(out).toBe("would change: size of md0 from 20971520 to 10485760\n");
  });
});

describe("what is said of a change", () => {
  it.each([
    [{ what: "bitmap", target: "md0", before: "clustered", after: "none" }, "bitmap of md0 has been set to none"],
    [{ what: "nodes", target: "md0", before: 4, after: 6 }, "md0 may be used by 6 nodes at once"],
    [{ what: "chunk", target: "md0", before: 65_536, after: 131_072 }, "chunk size of md0 has been set to 128K"],
  ])("%s", async (change, text) => {
    const { err } = await run("grow md0 --nodes=6", daemon({ changes: [change] }));
    expect(err).toBe(`mdctl: ${text}\n`);
  });

  it("of what is no kind of bitmap nothing is asked", async () => {
    const { exitCode, err, asked } = await run("grow md0 --bitmap=lockless", daemon());
    expect([exitCode, asked]).toEqual([2, []]);
    expect(err).toContain('bitmap: "lockless" is not possible: none, internal and clustered are');
  });
});

describe("assemble --update=nodes", () => {
  it.each([
    ["--update=nodes --nodes=8", 8],
    ["-U nodes --nodes=2", 2],
    ["", null],
  ])("%s", async (options, updateNodes) => {
    const world = new FakeWorld({ daemon: { assemble: () => ({ arrays: [] }) } });
    await runCommandLine(`assemble md0 ${options}`.trim().split(" "), world);
    expect(world.requests.map(({ params }) => params)).toEqual([expect.objectContaining({ updateNodes })]);
  });

  it.each(["--update=nodes", "--nodes=8", "--update=uuid --nodes=8", "--update=nodes --nodes=1"])(
    "is refused as %s",
    async (options) => {
      const world = new FakeWorld({ daemon: { assemble: () => ({ arrays: [] }) } });
      expect(await runCommandLine(`assemble md0 ${options}`.split(" "), world)).toBe(2);
      expect(world.requests).toEqual([]);
    },
  );
});

describe("shrinking", () => {
  const shrinks = { shrinks: true, content: 'an xfs filesystem "data"' };

  it("is asked about by name, after what the array holds was told", async () => {
    const refused = await run("grow md0 --size=10M", { ...daemon(shrinks), terminal: true, typed: ["yes"] });
    expect([refused.exitCode, refused.asked.length]).toEqual([3, 1]);
    expect(refused.err).toContain('md0 contains an xfs filesystem "data"');
    const done = await run("grow md0 --size=10M", { ...daemon(shrinks), terminal: true, typed: ["md0"] });
    expect([done.exitCode, done.asked.at(-1)?.mayShrink]).toEqual([0, true]);
  });

  it("is not done by --yes, nor without a terminal, nor on an array that was not named", async () => {
    for (const line of ["grow md0 --size=10M --yes", "grow md0 --size=10M", "grow --size=10M --force --confirm=md0"]) {
      const { asked, exitCode } = await run(line, daemon(shrinks));
      expect([line, asked.map(({ dryRun }) => dryRun)]).toEqual([line, [true]]);
      expect(exitCode).not.toBe(0);
    }
    const { asked } = await run("grow md0 --size=10M --force --confirm=md0", daemon(shrinks));
    expect(asked.at(-1)).toMatchObject({ dryRun: false, mayShrink: true });
  });
});

it.each([
  ["grow md0", "grow is not told what to change"],
  ["grow md0 --array-size=10M", "array-size is not possible with a clustered array: other nodes would not know of it"],
  ["grow md0 --size=0", 'size: "0" is not a size'],
  ["grow md0 --size=10M /dev/x", 'grow does not take "/dev/x"'],
  ["grow md0 --size=10M --add /dev/x", "--add goes with --raid-devices"],
  ["grow md0 --raid-devices=0", 'raid-devices: "0" is not a whole number from 1 to 1920'],
])("%s is refused before the daemon is asked", async (line, message) => {
  const { exitCode, err, asked } = await run(line, daemon());
  expect([exitCode, err.split("\n")[0], asked]).toEqual([2, `mdctl: ${message}`, []]);
});

it("what a node refuses is told as it says it", async () => {
  const grow = () => {
    throw new MdError("E_DEVICE_SMALL", "n2 refuses BITMAP_RESIZE: /dev/sdb has 1 sectors for data, 2 are needed");
  };
  const { err } = await run("grow md0 --raid-devices=3", { daemon: { grow } });
  expect(err.split("\n")[0]).toBe("mdctl: n2 refuses BITMAP_RESIZE: /dev/sdb has 1 sectors for data, 2 are needed");
});
