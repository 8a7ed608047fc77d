import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { wantedAt } from "../../src/cli/completion/wanted.ts";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import { arrayInfo, member, node, statusData } from "../support/array-info.ts";
import { FakeWorld, type FakeWorldOptions } from "../support/fake-world.ts";
import { tempDir } from "../support/temp-dir.ts";

const members = [
  member(0, "/dev/sda"),
  member(1, "/dev/sdb", { role: "faulty" }),
  member(2, "/dev/sdc", { role: "spare", slot: null }),
];
const status = {
  ...statusData([arrayInfo("md0", { members }), arrayInfo("md1", { members: [member(0, "/dev/sdx")] })]),
  nodes: [node("n1", 0), node("n2", 1)],
};
const withDaemon: FakeWorldOptions = { daemon: { status: () => status } };

/** What is offered at the end of this line; it ends in a space where a new word begins. */
async function offered(line: string, options = withDaemon): Promise<string[]> {
  const world = new FakeWorld(options);
  const words = line.split(" ").slice(1);
  expect(await runCommandLine(["completion", "bash", "--", ...words], world)).toBe(0);
  expect(world.err).toBe("");
  return world.out.split("\n").slice(0, -1);
}

describe("what is offered", () => {
  it.each([
    ["mdctl cre", ["create"]],
    ["mdctl md", ["md0", "md1", "mdstat"]],
    ["mdctl --add", ["--add", "--add-spare"]],
    ["mdctl --action=", []],
    ["mdctl create --bit", ["--bitmap-chunk=", "--bitmap="]],
    ["mdctl create --bitmap=", ["--bitmap=clustered", "--bitmap=internal", "--bitmap=none"]],
    ["mdctl create --bitmap i", ["internal"]],
    ["mdctl --create -b n", ["none"]],
    ["mdctl create --cluster ", []],
    ["mdctl --json status --te", ["--test"]],
    ["mdctl detail ", ["md0", "md1"]],
    ["mdctl detail md0 ", []],
    ["mdctl stop md0 ", ["md0", "md1"]],
    ["mdctl fail md0 ", ["/dev/sda"]],
    ["mdctl fail ", ["/dev/sda", "/dev/sdx", "md0", "md1"]],
    ["mdctl remove md0 ", ["/dev/sdb", "/dev/sdc", "detached", "faulty"]],
    ["mdctl re-add md0 m", ["missing"]],
    ["mdctl replace md0 /dev/sda --with ", ["/dev/sdb", "/dev/sdc"]],
    ["mdctl md0 ", ["md0", "md1"]],
    ["mdctl md0 --f", ["--fail", "--failfast", "--file-members", "--force"]],
    ["mdctl md0 --fail ", ["/dev/sda"]],
    ["mdctl md0 --fail /dev/sda --remove ", ["/dev/sdb", "/dev/sdc", "detached", "faulty"]],
    ["mdctl md0 -f ", ["/dev/sda"]],
    ["mdctl action md0 c", ["check"]],
    ["mdctl action md0 check --source=/dev/sd", ["--source=/dev/sda"]],
    ["mdctl node ", ["drain", "evict", "list"]],
    ["mdctl node evict ", ["n1", "n2"]],
    ["mdctl completion f", ["fish"]],
    ["mdctl help creat", ["create"]],
    ["mdctl frobnicate --", expect.arrayContaining(["--add", "--json"])],
  ])("%s", async (line, words) => {
    expect(await offered(line)).toEqual(words);
  });

  it("without a daemon what needs none is offered all the same", async () => {
    expect(await offered("mdctl create --bitmap=c", {})).toEqual(["--bitmap=clustered"]);
    expect(await offered("mdctl fail md0 ", {})).toEqual([]);
  });

  it("devices that are no members are offered to add, files where only the shell knows", () => {
    for (const line of ["add md0", "md0 --add", "create"]) {
      expect(wantedAt(line.split(" "), "").names, line).toEqual(expect.arrayContaining(["free", "file"]));
    }
    expect(wantedAt(["examine"], "").names).toEqual(["file"]);
    expect(wantedAt(["--config"], "").names).toEqual(["file"]);
  });

  it.each([
    ["completion", "completion needs a shell: bash, zsh or fish"],
    ["completion tcsh", "there is no completion for tcsh: bash, zsh or fish"],
  ])("%s", async (line, message) => {
    const world = new FakeWorld({});
    expect(await runCommandLine(line.split(" "), world)).toBe(2);
    expect(world.err.split("\n")[0]).toBe(`mdctl: ${message}`);
  });
});

describe("the scripts in their shells", () => {
  const folder = tempDir("completion");
  beforeAll(() => {
    const program = fileURLToPath(new URL("../../bin/mdctl.mjs", import.meta.url));
    writeFileSync(join(folder.path, "mdctl"), `#!/bin/sh\nexec ${process.execPath} ${program} "$@"\n`);
    chmodSync(join(folder.path, "mdctl"), 0o755);
  });
  afterAll(() => folder.remove());

  /** Lines that a shell prints; it finds no daemon. */
  function inShell(shell: string, ...args: readonly string[]): string[] {
    const env = {
      ...process.env,
      PATH: `${folder.path}:${process.env["PATH"]}`,
      HOME: folder.path,
      MDCTL_SOCKET: join(folder.path, "none"),
    };
    return execFileSync(shell, args, { env, encoding: "utf8" })
      .split("\n")
      .filter((line) => line !== "");
  }

  const inBash = (line: string): string[] =>
    inShell(
      "bash",
      "-c",
      `source <(mdctl completion bash); complete -p mdctl >/dev/null || exit 1
       COMP_LINE="$1" COMP_POINT=\${#1}; _mdctl; printf '%s\\n' "\${COMPREPLY[@]}"`,
      "bash",
      line,
    );

  it("bash: whole words, and behind a = only what follows it", () => {
    expect(inBash("mdctl crea")).toEqual(["create"]);
    expect(inBash("mdctl create --bitmap=")).toEqual(["clustered", "internal", "none"]);
    expect(inBash("mdctl create --bitmap in")).toEqual(["internal"]);
    expect(inBash("mdctl node ")).toEqual(["drain", "evict", "list"]);
    expect(inBash("mdctl stop nothing-like-this")).toEqual([]);
  });

  it("zsh: words that go on and words that do not", () => {
    const inZsh = (...words: string[]): string[] =>
      inShell(
        "zsh",
        "-f",
        "-c",
        `compdef() { :; }; compadd() { print -l -- "\${(@P)argv[-1]}"; }; _files() { print files; }
         source <(mdctl completion zsh); words=("$@"); CURRENT=$#; _mdctl`,
        "zsh",
        ...words,
      );
    expect(inZsh("mdctl", "crea")).toEqual(["create"]);
    expect(inZsh("mdctl", "create", "--bitmap=")).toEqual(["--bitmap=clustered", "--bitmap=internal", "--bitmap=none"]);
    expect(inZsh("mdctl", "create", "--bit")).toEqual(["--bitmap-chunk=", "--bitmap="]);
    expect(inZsh("mdctl", "node", "")).toEqual(["drain", "evict", "list"]);
    expect(inZsh("mdctl", "examine", "")).toEqual(["files"]);
  });

  it("fish: what its own completion makes of it", () => {
    const inFish = (line: string): string[] =>
      inShell("fish", "--no-config", "-c", `mdctl completion fish | source; complete -C '${line}'`);
    expect(inFish("mdctl crea")).toEqual(["create"]);
    expect(inFish("mdctl create --bitmap=")).toEqual(["--bitmap=clustered", "--bitmap=internal", "--bitmap=none"]);
    expect(inFish("mdctl node ")).toEqual(["drain", "evict", "list"]);
    expect(inFish(`mdctl examine ${folder.path}/md`)).toEqual([`${folder.path}/mdctl`]);
  });
});
