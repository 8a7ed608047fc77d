import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkArrayName, fileNameOf, homehostOf, shortName } from "../../src/daemon/array-name.ts";
import { checkName, readConfig } from "../../src/daemon/config.ts";
import { nameOf, uuidOf } from "../../src/daemon/find-array.ts";
import { redact } from "../../src/daemon/redact.ts";
import { tempDir } from "../support/temp-dir.ts";

/** F44: names never become paths, keys, escapes or lines of their own. */
const hostile = [
  "",
  ".",
  "..",
  "a/b",
  "../../etc/passwd",
  "/abs",
  "a\0b",
  "a\nb",
  "\x1b[2J",
  "x".repeat(4096),
  "-rf",
  "a b",
];

describe("names", () => {
  it.each(hostile)("%j can be no array, node or cluster", (name) => {
    expect(() => checkArrayName(name === "x".repeat(4096) ? `${name}/` : name)).toThrow(
      expect.objectContaining({ code: "E_VALUE" }),
    );
    expect(() => checkName("node", name)).toThrow(expect.objectContaining({ code: "E_VALUE" }));
    // The refusal itself is harmless.
    try {
      checkName("node", name);
    } catch (error) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
      expect(String(error)).not.toMatch(/[\x00-\x1f]/);
      expect(String(error).length).toBeLessThan(300);
    }
  });

  it.each(["md0", "data", "vm-images_2.old", "0"])("%s can be an array", (name) => {
    expect(checkArrayName(name)).toBe(name);
  });

  it.each(hostile)("%j on a disk becomes a file name that stays in its folder", (name) => {
    const file = fileNameOf(name, "7b37c478:a77d09b7:cb2120fb:6e0d1c55");
    expect(file).toMatch(/^[A-Za-z0-9_][A-Za-z0-9._+-]{0,31}$/);
    expect(join("/run/mdctl", file).startsWith("/run/mdctl/")).toBe(true);
  });

  it("are told from their homehost, and found in all their spellings", () => {
    expect([shortName("any:md0"), shortName("md0"), shortName("a:b:c")]).toEqual(["md0", "md0", "b:c"]);
    expect([homehostOf("any:md0"), homehostOf("md0")]).toEqual(["any", null]);
    expect(["/dev/md/data", "/dev/mdctl/data", "data", "/dev/md0", "md0"].map(nameOf)).toEqual([
      ...["data", "data", "data", "md0", "md0"],
    ]);
    const uuid = "7b37c478:a77d09b7:cb2120fb:6e0d1c55";
    expect(uuidOf("uuid=7B37C478-A77D-09B7-CB21-20FB6E0D1C55")).toBe(uuid);
    expect(uuidOf("7b37c478a77d09b7cb2120fb6e0d1c55")).toBe(uuid);
    expect(uuidOf("data")).toBeNull();
    expect(() => uuidOf("uuid=data")).toThrow(expect.objectContaining({ code: "E_VALUE" }));
  });
});

describe("settings", () => {
  let folder: ReturnType<typeof tempDir>;
  beforeAll(() => {
    folder = tempDir("config");
    mkdirSync(join(folder.path, "x"));
  });
  afterAll(() => folder.remove());

  const config = (settings: Record<string, string | true>, env: Record<string, string> = {}) =>
    readConfig(new Map(Object.entries(settings)), env);

  it("have defaults: the lock server is beside the control socket", () => {
    expect(config({ socket: "/run/x/d.sock", node: "n1" })).toMatchObject({
      cluster: "mdctl",
      lockServer: { type: "socket", path: "/run/x/lockd.sock" },
      stateDir: "/run/x/n1",
      lease: { leaseMs: 10_000, pingMs: 800 },
      fileMembers: false,
      ring: "auto",
    });
  });

  it("come from the command line before the environment", () => {
    expect(config({ node: "n1" }, { MDCTL_NODE: "n2", MDCTL_CLUSTER: "alpha" })).toMatchObject({
      node: "n1",
      cluster: "alpha",
    });
  });

  it.each([
    [{ lease: "500ms" }],
    [{ lease: "soon" }],
    [{ ring: "fast" }],
    [{ "lock-server": "http://host" }],
    [{ "lock-server": "nonsense" }],
    [{ "sync-speed-max": "fast" }],
    [{ "io-timeout": "5ms" }],
    [{ "slow-io": "soon" }],
  ])("%j is refused", (settings) => {
    expect(() => config(settings)).toThrow(expect.objectContaining({ code: "E_VALUE" }));
  });

  it("never show credentials", () => {
    expect(redact("redis://user:secret@host:6379/0 and rediss://:x@h")).toBe(
      "redis://***@host:6379/0 and rediss://***@h",
    );
    expect(redact("unix:/run/x.sock, mail a@b")).toBe("unix:/run/x.sock, mail a@b");
  });
});
