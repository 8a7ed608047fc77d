import { describe, expect, it } from "vitest";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import type { DrainData } from "../../src/daemon/control-api.ts";
import { FakeWorld } from "../support/fake-world.ts";

async function drain(data: DrainData, line = "node drain n1") {
  const world = new FakeWorld({ daemon: { nodeDrain: () => data } });
  const exitCode = await runCommandLine(line.split(" "), world);
  return { exitCode, err: world.err, requests: world.requests };
}

describe("node drain", () => {
  it("tells where work goes on, and that the node has left", async () => {
    const arrays = [
      { name: "md0", moved: true, stopped: true, error: null },
      { name: "md1", moved: false, stopped: true, error: null },
    ];
    expect(await drain({ node: "n1", arrays, left: true })).toEqual({
      exitCode: 0,
      err:
        "mdctl: stopped md0, another node goes on with its resync\nmdctl: stopped md1\n" +
        "mdctl: n1 has left the cluster; its daemon takes arrays again when it is restarted\n",
      requests: [{ method: "nodeDrain", params: { node: "n1" } }],
    });
  });

  it("says what keeps the node", async () => {
    const error = { code: "E_HELD" as const, message: "md1 is in use", why: null, hint: null, details: {}, causes: [] };
    const arrays = [{ name: "md1", moved: false, stopped: false, error }];
    const { exitCode, err } = await drain({ node: "n1", arrays, left: false } as unknown as DrainData);
    expect(exitCode).not.toBe(0);
    expect(err).toContain("n1 is not drained: md1 is in use");
    expect((await drain({ node: "n1", arrays: [], left: true }, "node drain")).exitCode).toBe(2);
  });
});
