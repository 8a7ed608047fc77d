import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import type { EvictData } from "../../src/daemon/control-api.ts";
import { FakeWorld, type FakeWorldOptions } from "../support/fake-world.ts";

const evicted: EvictData = {
  node: "n3",
  evicted: [
    { array: null, slot: 2 },
    { array: "md0", slot: 2 },
  ],
  waitedSeconds: 0.1,
};

async function run(line: string, options: FakeWorldOptions = {}) {
  const world = new FakeWorld({ daemon: { nodeEvict: () => evicted }, ...options });
  const exitCode = await runCommandLine(line.split(" "), world);
  return { exitCode, out: world.out, err: world.err, requests: world.requests };
}

const what = "evicting n3, whose locks and unfinished writes go to the other nodes";
const warning = "mdctl: if n3 can still write, evicting it destroys data: be sure that it is switched off or cut off\n";

describe("node evict", () => {
  it("needs the node's name to be typed, and --yes is not enough", async () => {
    const typed = await run("node evict n3 --confirm-dead --yes", { terminal: true, typed: ["n3"] });
    expect(typed).toMatchObject({
      exitCode: 0,
      out: "",
      err: `${warning}${what}: type n3 to go on: mdctl: evicted n3 from the list of nodes, md0\n`,
      requests: [{ method: "nodeEvict", params: { node: "n3", confirmDead: true } }],
    });
    for (const answer of ["y", "yes", "n2", ""]) {
      const refused = await run("node evict n3 --confirm-dead", { terminal: true, typed: [answer] });
      expect(refused).toMatchObject({ exitCode: 3, requests: [] });
      expect(refused.err).toContain(`assuming no.\nmdctl: ${what} was not confirmed; nothing was changed\n`);
    }
  });

  it("never hangs without a terminal: exit 3, with the options that would have answered", async () => {
    for (const line of ["node evict n3 --confirm-dead", "node evict n3 --confirm-dead --yes --force"]) {
      const { exitCode, err, requests } = await run(line);
      expect([exitCode, requests]).toEqual([3, []]);
      expect(err).toBe(
        `${warning}mdctl: ${what} needs to be confirmed\n  try: mdctl node evict n3 --confirm-dead --force --confirm=n3\n`,
      );
    }
    const wrong = await run("node evict n3 --force --confirm=n2");
    expect(wrong).toMatchObject({ exitCode: 3, requests: [] });
    expect(wrong.err).toContain(`mdctl: ${what}: --confirm names "n2", not n3\n`);
  });

  it("takes --force --confirm=NAME as the answer; without --confirm-dead it says that it waits", async () => {
    expect(await run("node evict n3 --force --confirm=n3")).toMatchObject({
      exitCode: 0,
      err: "mdctl: waiting until the lease of n3 has surely expired\nmdctl: evicted n3 from the list of nodes, md0\n",
      requests: [{ method: "nodeEvict", params: { node: "n3", confirmDead: false } }],
    });
    const gone = await run("node evict n3 --force --confirm=n3", {
      daemon: { nodeEvict: () => ({ ...evicted, evicted: [] }) },
    });
    expect(gone.err).toContain("mdctl: n3 is no member any more\n");
  });

  it("refuses a node that answers: exit 7", async () => {
    const nodeEvict = (): never => {
      throw new MdError("E_NODE_ALIVE", "n3 is alive: it renewed its lease 0.2 s ago");
    };
    const { exitCode, err } = await run("node evict n3 --confirm-dead --force --confirm=n3", { daemon: { nodeEvict } });
    expect([exitCode, err]).toEqual([7, `${warning}mdctl: n3 is alive: it renewed its lease 0.2 s ago\n`]);
  });

  it.each([
    ["node evict", "node evict needs the name of a node"],
    ["node evict n3 n4", "node evict n3 n4 is not available"],
    ["node fence n3", "node fence n3 is not available"],
  ])("%s is a usage error", async (line, message) => {
    const { exitCode, err, requests } = await run(line);
    expect([exitCode, err.split("\n")[0], requests]).toEqual([2, `mdctl: ${message}`, []]);
  });
});
