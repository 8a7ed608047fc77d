import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import { parseConfigFile } from "../../src/daemon/config-file.ts";
import { daemonOptions } from "../../src/daemon/daemon-options.ts";
import { FakeWorld } from "../support/fake-world.ts";
import { tempDir } from "../support/temp-dir.ts";

let folder: ReturnType<typeof tempDir>;
beforeEach(() => {
  folder = tempDir("config");
});
afterEach(() => folder.remove());

async function config(words: string, text: string, env: Record<string, string> = {}) {
  const file = join(folder.path, "m.conf");
  writeFileSync(file, text, { mode: 0o600 });
  const world = new FakeWorld({ env });
  const exitCode = await runCommandLine(["config", ...words.split(" "), `--config=${file}`], world);
  return { exitCode, out: world.out.replaceAll(`${folder.path}/`, ""), err: world.err };
}

const firstLines = (out: string): string[] => out.split("\n").filter((line) => line.startsWith("mdctl: "));

describe("mdctl config check", () => {
  it("lists everything that is wrong, in the words of the daemon, and does not stop at the first", async () => {
    const { exitCode, out } = await config(
      "check",
      `CLUSTER alpha lease=soon
CLASTER beta
SYNC speed-max=200M speed-mox=3 speed-min=
LOG level=loud
DAEMON socket=relative
LOG format=json "unended
METRICS listen=127.0.0.1:9780
IOTIMEOUT 1ms
`,
    );
    expect(exitCode).toBe(1);
    expect(firstLines(out)).toEqual([
      'mdctl: m.conf:6: a quotation that begins with " does not end',
      'mdctl: m.conf:2: "CLASTER" is no keyword',
      'mdctl: m.conf:3: SYNC knows no "speed-mox=3"',
      "mdctl: m.conf:3: SYNC: speed-min= has no value",
      "mdctl: m.conf:5: DAEMON: socket=relative is not an absolute path",
      "mdctl: m.conf:7: METRICS has no effect in this version",
      expect.stringMatching(/^mdctl: m\.conf:1: .*soon/),
      "mdctl: m.conf:8: io-timeout: 1 ms is less than 100 ms",
      expect.stringMatching(/^mdctl: m\.conf:4: log-level: "loud"/),
    ]);
    expect(out).toContain("  try: CLUSTER\n");
  });

  it("is content with what a daemon takes, and tells what counts for nothing", async () => {
    expect(await config("check", "CLUSTER alpha\nLOG level=debug\n")).toEqual({
      exitCode: 0,
      out: "nothing is wrong\n",
      err: "",
    });
    const twice = await config("check", "LOG level=debug\nLOG level=info\n");
    expect(twice).toMatchObject({
      exitCode: 0,
      out: "mdctl: m.conf:2: log-level was set at m.conf:1 already, and that counts\n",
    });
  });

  it("says of an environment variable that it is wrong", async () => {
    const { exitCode, out } = await config("check", "LOG level=loud\n", { MDCTL_NODE: "not a name" });
    expect(exitCode).toBe(1);
    expect(firstLines(out)).toEqual([expect.stringContaining('node name "not a name" is not usable')]);
  });
});

describe("mdctl config show", () => {
  it("shows every setting of the daemon, what it is and where it is from, and no password", async () => {
    const env = { MDCTL_NODE: "n7" };
    const text = "CLUSTER alpha lease=20s\nLOCKSERVER redis://user:secret@10.0.0.5:6379\nLOG level=debug\n";
    const { exitCode, out } = await config("show --origin", text, env);
    expect(exitCode).toBe(0);
    const rows = new Map(out.split("\n").map((line) => [line.split(/\s+/)[0], line.replace(/\s+/g, " ").trim()]));
    for (const { name } of daemonOptions) expect(rows.has(name)).toBe(true);
    expect(rows.get("node")).toBe("node n7 MDCTL_NODE");
    expect(rows.get("cluster")).toBe("cluster alpha m.conf:1");
    expect(rows.get("lease")).toBe("lease 20s m.conf:1");
    expect(rows.get("lock-server")).toBe("lock-server redis://***@10.0.0.5:6379 m.conf:2");
    expect(rows.get("io-timeout")).toBe("io-timeout 30s built in");
    expect(out).not.toContain("secret");
    expect((await config("show", text, env)).out).not.toContain("m.conf");
  });

  it("refuses files that a daemon would refuse", async () => {
    const { exitCode, err } = await config("show", "CLASTER beta\n");
    expect(exitCode).toBe(2);
    expect(err).toContain('m.conf:1: "CLASTER" is no keyword');
  });
});

it("mdctl config example is a file that can be read", async () => {
  const { exitCode, out } = await config("example", "");
  expect(exitCode).toBe(0);
  const { settings, warnings } = parseConfigFile("example", out);
  expect(settings.size).toBeGreaterThan(8);
  expect(warnings).toEqual([]);
});

it("what is no such thing is refused", async () => {
  expect(await config("edit", "")).toMatchObject({
    exitCode: 2,
    err: expect.stringContaining("config edit is not available"),
  });
});
