import { afterEach, expect, it } from "vitest";
import type { ArrayInfo, ClusterStatusData, DrainData } from "../../src/daemon/control-api.ts";
import { Host } from "../support/daemons.ts";

const MEMBER_BYTES = 32 * 1024 * 1024;
let host: Host;
afterEach(() => host.close());

it("node drain: the resync goes on elsewhere where it stood, the node leaves its arrays and the cluster", async () => {
  host = new Host({ lease: "4s" });
  await Promise.all([host.start("n1"), host.start("n2")]);
  const members = [host.memberFile("a.img", MEMBER_BYTES), host.memberFile("b.img", MEMBER_BYTES)];
  const create = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members"];
  await host.data("n1", ...create, ...members);
  await host.data("n2", "assemble", "md0", ...members);
  await expect(host.data("n1", "node", "drain", "n2")).rejects.toThrow(/is not this node/);
  const { left, arrays } = await host.data<DrainData>("n1", "node", "drain", "n1");
  expect({ left, arrays }).toMatchObject({ left: true, arrays: [{ name: "md0", stopped: true, error: null }] });
  await host.data("n2", "wait", "md0");
  const { array } = await host.data<{ array: ArrayInfo }>("n2", "detail", "md0");
  expect(array.sync.status).toBe("none");
  const { nodes } = await host.data<ClusterStatusData>("n2", "cluster", "status");
  expect(nodes.filter(({ state }) => state === "up").map(({ name }) => name)).toEqual(["n2"]);
  await expect(host.data("n1", "assemble", "md0", ...members)).rejects.toThrow(/n1 was drained/);
}, 60_000);
