import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, describe, expect, it, vi } from "vitest";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import { MemberTable } from "../../src/engine/member-table.ts";
import { FakeWorld } from "../support/fake-world.ts";

async function mdctl(line: string): Promise<{ readonly exitCode: number; readonly out: string }> {
  const world = new FakeWorld();
  const exitCode = await runCommandLine(line.split(" "), world);
  return { exitCode, out: world.out };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a seed that fails", () => {
  it("is named, shrunk, told as a transcript, and fails again by the command that is given", async () => {
    // The bug: a member that has failed is written to.
    vi.spyOn(MemberTable.prototype, "takesWrites").mockImplementation(function (this: MemberTable, disk) {
      return this.isOpen(disk);
    });
    const found = await mdctl(
      "simulate --first-seed=1 --seeds=40 --workers=1 --nodes=3 --steps=1500 --faults=writeErrors,stop,slowNode,slowDisk --trace=500",
    );
    expect(found.exitCode).toBe(1);
    const [, seed] = /^seed (\d+): FAILED {2}3 nodes/m.exec(found.out) ?? [];
    const [broken] = /writes \[\d+, \d+\) to \S+, which is faulty to it/.exec(found.out) ?? [];
    expect([seed, broken]).not.toContain(undefined);
    const [, before, after] = /^shrunk by \d+ runs from (\d+) events to (\d+):$/m.exec(found.out) ?? [];
    // How much smaller it gets hangs on the seed: test/sim/shrink.test.ts.
    expect(Number(after)).toBeLessThanOrEqual(Number(before));
    // What was done to the cluster, and below it what it did.
    expect(found.out).toMatch(new RegExp(`^# seed ${seed}, \\d nodes: .*faulty to it$`, "m"));
    expect(found.out).toMatch(/^\/sim\/d\d: writeErrors in \[\d+, \d+\)\n----\n/m);
    expect(found.out).toMatch(/^\d+\.\d{3} n\d\.\d says METADATA_UPDATED \d \(message \d+\)$/m);
    expect(found.out).toMatch(/^\d+\.\d{3} VIOLATION n\d\.\d writes/m);

    const [, again] = /^again: mdctl (.*)$/m.exec(found.out) ?? [];
    expect(again).toContain(`simulate --seed=${seed} `);
    const [, last] = /^# seed .*: ([\d.]+ ms: .*)$/m.exec(found.out) ?? [];
    const repeated = await mdctl(again ?? "");
    expect(repeated.exitCode).toBe(1);
    expect(repeated.out).toContain(`broken: ${last}`);
    vi.restoreAllMocks();
    expect(await mdctl(again ?? "")).toMatchObject({ exitCode: 0 });
  }, 180_000);
});

describe("the same seed", () => {
  it("is the same run in another process, whatever its language, calendar and memory", async () => {
    const script = fileURLToPath(new URL("../../bin/mdctl.mjs", import.meta.url));
    const words = "simulate --first-seed=11 --seeds=2 --workers=1 --steps=1200 --faults=all".split(" ");
    const run = async (env: Readonly<Record<string, string>>, options: readonly string[]): Promise<string> => {
      const { stdout } = await promisify(execFile)(process.execPath, [...options, script, ...words], {
        env: { ...process.env, ...env },
      });
      return stdout;
    };
    const here = await run({ TZ: "UTC", LC_ALL: "C" }, []);
    const there = await run({ TZ: "Asia/Kathmandu", LC_ALL: "tr_TR.UTF-8", LANG: "tr_TR.UTF-8" }, [
      "--max-old-space-size=700",
      "--no-opt",
    ]);
    expect(here).toMatch(/^seed 11: ok .* hash [0-9a-f]{8}\nseed 12: ok .* hash [0-9a-f]{8}\n$/);
    expect(there).toBe(here);
  }, 120_000);
});

describe("a layout or a kind of bitmap that is fixed", () => {
  it("is what all seeds run with", async () => {
    const line =
      "simulate --first-seed=1 --seeds=2 --workers=1 --steps=400 --nodes=1 --layout=f3 --bitmap=internal --json";
    const { exitCode, out } = await mdctl(line);
    expect(exitCode).toBe(0);
    const scenario = expect.objectContaining({ level: 10, layout: "f3", bitmap: "internal", nodes: 1 });
    expect(JSON.parse(out).data.runs).toEqual(
      [1, 2].map((seed) => expect.objectContaining({ seed, ok: true, scenario })),
    );
  });

  it.each([
    ["--layout=q2", "E_VALUE"],
    ["--bitmap=external --nodes=1", "E_VALUE"],
    ["--bitmap=internal", "E_USAGE"],
    ["--bitmap=none --nodes=2", "E_USAGE"],
    ["--layout=f2 --nodes=1", "E_LAYOUT_UNSUPPORTED"],
  ])("%s is refused with %s", async (words, code) => {
    const { exitCode, out } = await mdctl(`simulate --seed=1 ${words} --json`);
    expect([exitCode, JSON.parse(out).error.code]).toEqual([2, code]);
  });
});

it("the help of simulate tells what each kind of fault is", async () => {
  const { out } = await mdctl("simulate --help");
  expect(out.replace(/\s+/g, " ")).toMatch(/lateDisk \(a disk answers when others may have taken over\)/);
  expect(out).toContain("--contention");
});
