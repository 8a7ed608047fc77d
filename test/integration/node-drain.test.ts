import { afterEach, expect, it } from "vitest";
import type { ClusterStatusData, DrainData } from "../../src/daemon/control-api.ts";
import { Host } from "../support/daemons.ts";

const MEMBER_BYTES = 16 * 1024 * 1024;
let host: Host;
afterEach(() => host.close());

it("node drain: the node leaves its arrays, whose resync goes on elsewhere, and the cluster", async () => {
  host = new Host({ lease: "10s" });
  await Promise.all([host.start("n1"), host.start("n2")]);
  const members = [host.memberFile("a.img", MEMBER_BYTES), host.memberFile("b.img", MEMBER_BYTES)];
  await host.data("n1", "create", "md0", "--level=1", "--cluster", "--file-members", ...members);
  await host.data("n2", "assemble", "md0", ...members);
  expect(await host.data<DrainData>("n1", "node", "drain", "n1")).toMatchObject({
    left: true,
    arrays: [{ name: "md0", stopped: true, error: null }],
  });
  const { nodes } = await host.data<ClusterStatusData>("n2", "cluster", "status");
  expect(nodes.filter(({ state }) => state === "up").map(({ name }) => name)).toEqual(["n2"]);
  await expect(host.data("n1", "assemble", "md0", ...members)).rejects.toThrow(/n1 was drained/);
}, 180_000);
