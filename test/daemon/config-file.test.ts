import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import { readConfig } from "../../src/daemon/config.ts";
import { parseConfigFile } from "../../src/daemon/config-file.ts";
import { readConfigFiles } from "../../src/daemon/config-files.ts";
import { daemonOptions } from "../../src/daemon/daemon-options.ts";
import { FakeWorld } from "../support/fake-world.ts";
import { tempDir } from "../support/temp-dir.ts";

const parse = (text: string) =>
  [...parseConfigFile("m.conf", text).settings].map(([option, setting]) => [option, setting.text, setting.at]);

/** What people read: the message, why, and what to try. */
function refused(action: () => unknown): readonly (string | null)[] {
  try {
    action();
  } catch (error) {
    if (error instanceof MdError) return [error.message, error.why, error.hint];
    throw error;
  }
  throw new Error("it was not refused");
}

describe("a configuration file", () => {
  it("says in mdadm's syntax what the daemon's options say", () => {
    const text = `# of this node
CLUSTER alpha lease=20s
  ping=500ms # an indented line goes on
DAEMON node=n1 socket=/run/x.sock file-members=yes

lockserver redis://10.0.0.5:6379 passwordfile=/etc/mdctl/redis.secret
Fen command=/usr/sbin/fence_ipmilan 'host-map=n1:outlet 1;n2:outlet 2' timeout=60s
LOG level=debug
SYNC speed-max="200M" speed-min=2M
IOTIMEOUT 60s
SLOWIO threshold=1s
`;
    expect(parse(text)).toEqual([
      ["cluster", "alpha", "m.conf:2"],
      ["lease", "20s", "m.conf:2"],
      ["ping", "500ms", "m.conf:3"],
      ["node", "n1", "m.conf:4"],
      ["socket", "/run/x.sock", "m.conf:4"],
      ["file-members", "yes", "m.conf:4"],
      ["lock-server", "redis://10.0.0.5:6379 passwordfile=/etc/mdctl/redis.secret", "m.conf:6"],
      ["fence", 'command=/usr/sbin/fence_ipmilan "host-map=n1:outlet 1;n2:outlet 2" timeout=60s', "m.conf:7"],
      ["log-level", "debug", "m.conf:8"],
      ["sync-speed-max", "200M", "m.conf:9"],
      ["sync-speed-min", "2M", "m.conf:9"],
      ["io-timeout", "60s", "m.conf:10"],
      ["slow-io", "1s", "m.conf:11"],
    ]);
    const options = new Set(daemonOptions.map(({ name }) => name));
    for (const [option = ""] of parse(text)) expect(options).toContain(option);
  });

  it.each([
    ["\nLOCKSERVR x", 'm.conf:2: "LOCKSERVR" is no keyword', /LOCKSERVER/, "LOCKSERVER"],
    ["CL alpha", 'm.conf:1: "CL" is no keyword', /CLUSTER/, null],
    ["ARRAY /dev/md0", "m.conf:1: ARRAY has no effect in this version", /keywords are/, null],
    ["CLUSTER a\n  leas=3s", 'm.conf:2: CLUSTER knows no "leas=3s"', /NAME, lease=, ping=, lost=/, "CLUSTER lease=3s"],
    ["CLUSTER a nodes=4", 'm.conf:1: CLUSTER knows no "nodes=4"', /NAME, lease=/, null],
    ["DAEMON n1", 'm.conf:1: DAEMON knows no "n1"', /node=/, null],
    ["DAEMON __proto__=1", 'm.conf:1: DAEMON knows no "__proto__=1"', /node=/, null],
    ["LOG level=", "m.conf:1: LOG: level= has no value", /level=, format=/, null],
    ["LOG", "m.conf:1: LOG says nothing", /level=, format=/, null],
    ["DAEMON socket=x.sock", "m.conf:1: DAEMON: socket=x.sock is not an absolute path", null, null],
    ["DAEMON file-members=si", 'm.conf:1: DAEMON: file-members= takes yes or no, not "si"', null, null],
    ["LOG level='debug", "m.conf:1: a quotation that begins with ' does not end", null, null],
    ["  LOG level=debug", "m.conf:1: an indented line goes on with the one before; there is none", null, null],
    ["LOG level=de\u0000bug", "m.conf:1: a control character stands in it", null, null],
  ])("%j is refused with its place", (text, message, why, hint) => {
    const [said, because, fix] = refused(() => parse(text));
    expect([said, fix]).toEqual([message, hint]);
    if (why === null) expect(because).toBeNull();
    else expect(because).toMatch(why);
  });

  it("warns of what is set twice, and takes the first", () => {
    const { settings, warnings } = parseConfigFile("m.conf", "LOG level=warn\nLOG level=debug format=json");
    expect([...settings].map(([option, { text }]) => [option, text])).toEqual([
      ["log-level", "warn"],
      ["log-format", "json"],
    ]);
    expect(warnings).toEqual(["m.conf:2: log-level was set at m.conf:1 already, and that counts"]);
  });
});

describe("settings from files", () => {
  let folder: ReturnType<typeof tempDir>;
  beforeEach(() => {
    folder = tempDir("config-file");
  });
  afterEach(() => folder.remove());

  const write = (name: string, text: string): string => {
    const path = join(folder.path, name);
    writeFileSync(path, text);
    return path;
  };
  const config = (file: string | null, given: Record<string, string> = {}, env: Record<string, string> = {}) =>
    readConfig(new Map(Object.entries(given)), env, readConfigFiles(file, join(folder.path, "none.conf")));

  it("are weaker than the environment, which is weaker than the command line", () => {
    const file = write("m.conf", "DAEMON node=n1\nCLUSTER alpha lease=20s\nLOG level=debug");
    expect(config(file)).toMatchObject({ node: "n1", cluster: "alpha", lease: { leaseMs: 20_000 }, logLevel: "debug" });
    const env = { MDCTL_NODE: "n2", MDCTL_CLUSTER: "beta" };
    expect(config(file, { node: "n3" }, env)).toMatchObject({ node: "n3", cluster: "beta", logLevel: "debug" });
    expect(config("none")).toMatchObject({ cluster: "mdctl", logLevel: "info" });
  });

  it("are looked for in mdctl.conf and in mdctl.conf.d, of which the last wins; none need be there", () => {
    const standard = join(folder.path, "mdctl.conf");
    expect(readConfigFiles(null, standard).settings.size).toBe(0);
    write("mdctl.conf", "CLUSTER alpha\nLOG level=debug");
    mkdirSync(`${standard}.d`);
    write("mdctl.conf.d/20.conf", "CLUSTER gamma");
    write("mdctl.conf.d/10.conf", "CLUSTER beta");
    write("mdctl.conf.d/30.conf~", "nonsense");
    const { settings } = readConfigFiles(null, standard);
    expect(settings.get("cluster")).toMatchObject({ text: "gamma", at: join(`${standard}.d`, "20.conf:1") });
    expect(settings.get("log-level")?.text).toBe("debug");
    expect(readConfigFiles(`${standard}.d`).settings.get("cluster")?.text).toBe("gamma");
  });

  it.each([
    ["CLUSTER alpha\n  lease=soon", 2, /lease: "soon" is not a duration/],
    ["CLUSTER alp/ha", 1, /cluster name "alp\/ha" is not usable/],
    ["DAEMON ring=fast", 1, /ring: "fast" is none of/],
    ["LOCKSERVER http://host", 1, /http:/],
    ["FENCE pil", 1, /fence: "pil"/],
    ["SYNC speed-max=fast", 1, /sync-speed-max: "fast" is not a size/],
    ["LOG level=loud", 1, /log-level: "loud"/],
  ])("%j is refused with its place", (text, line, what) => {
    const file = write("m.conf", text);
    const [message] = refused(() => config(file));
    expect(message).toMatch(what);
    expect(message?.startsWith(`${file}:${line}: `)).toBe(true);
    // A stronger value that is right makes up for it.
    const repaired = { lease: "10s", cluster: "a", ring: "auto", "lock-server": "unix:/x", fence: "pill" };
    expect(config(file, { ...repaired, "sync-speed-max": "1", "log-level": "info" }).cluster).toBe("a");
  });

  it("hold no credentials that others can read", () => {
    const file = write("m.conf", "LOCKSERVER redis://user:sesame@host");
    chmodSync(file, 0o644);
    const [message] = refused(() => config(file));
    expect(message).toBe(`${file}:1: lock-server: credentials do not belong in this file, which others can read`);
    chmodSync(file, 0o600);
    expect(config(file).lockServer).toMatchObject({ urls: ["redis://user:sesame@host"] });
  });

  it("that are asked for by name must be there", () => {
    const [message, why, hint] = refused(() => readConfigFiles(join(folder.path, "nowhere")));
    expect(message).toBe(`the configuration ${join(folder.path, "nowhere")} cannot be read`);
    expect([why, hint]).toEqual([expect.stringContaining("ENOENT"), "--config=FILE, or --config=none"]);
  });

  it("tell mdctl where its daemon is, unless it is told otherwise; a broken file says so", async () => {
    const file = write("m.conf", "DAEMON socket=/run/of-the-file.sock");
    const connected = async (argv: readonly string[], env: Record<string, string> = {}): Promise<string> => {
      const world = new FakeWorld({ env });
      await runCommandLine(["ping", ...argv], world);
      return world.err;
    };
    expect(await connected([`--config=${file}`])).toContain("/run/of-the-file.sock");
    expect(await connected([], { MDCTL_CONFIG: file })).toContain("/run/of-the-file.sock");
    expect(await connected([`--config=${file}`], { MDCTL_SOCKET: "/run/env.sock" })).toContain("/run/env.sock");
    expect(await connected([`--config=${file}`, "--socket=/run/opt.sock"])).toContain("/run/opt.sock");
    writeFileSync(file, "DEMON socket=/x");
    expect(await connected([`--config=${file}`])).toContain(`${file}:1: "DEMON" is no keyword`);
  });
});
