import { describe, expect, it } from "vitest";
import { clusterText } from "../../src/cli/render/cluster-text.ts";
import { runCommandLine } from "../../src/cli/run-command-line.ts";
import type { ClusterStatusData, NodeInfo } from "../../src/daemon/control-api.ts";
import { frozen, node, statusData } from "../support/array-info.ts";
import { FakeWorld } from "../support/fake-world.ts";

const nodes: readonly NodeInfo[] = [
  node("n1", 0, { lastSeenSeconds: 0.2 }),
  node("n2", 1, { lastSeenSeconds: 0.4 }),
  node("n3", 2, { lastSeenSeconds: 0.1, version: null, protocol: null }),
];
const { cluster } = statusData([]);

const clusterStatus = (overrides: Partial<ClusterStatusData> = {}): ClusterStatusData => ({
  cluster: { ...cluster, nodesUp: 3, nodesTotal: 3 },
  nodes,
  lockspaces: [
    { array: null, epoch: 1, generation: 3, members: ["n1", "n2", "n3"], writeSeconds: 5.8, remastering: null },
    { array: "md0", epoch: 1, generation: 3, members: ["n1", "n2", "n3"], writeSeconds: 5.6, remastering: null },
  ],
  fencing: { methods: "lease only", leaseOnly: true },
  protocol: { own: 1, lowest: 1, highest: 1 },
  ...overrides,
});

const down = node("n3", 2, {
  state: "down",
  lastSeenSeconds: 12.1,
  protection: "command /usr/sbin/fence_ipmilan",
  note: "is being fenced by n1, 1 try failed; its locks stand until then",
});

async function run(data: ClusterStatusData, ...words: string[]) {
  const world = new FakeWorld({ daemon: { clusterStatus: () => data, nodes: () => ({ nodes: data.nodes }) } });
  const exitCode = await runCommandLine(words, world);
  return { exitCode, out: world.out, err: world.err };
}

describe("cluster status", () => {
  it("says what a healthy cluster rests on, and warns where it is the lease alone", async () => {
    expect(clusterText(clusterStatus())).toMatchInlineSnapshot(`
      "cluster alpha: OK, 3 of 3 nodes up
      quorum        yes: this node reaches the lock service and holds its leases (there are no votes)
      lock service  embedded, unix:/run/mdctl/lockd.sock: answers, last contact 0.3 s ago, round trip 0.6 ms
      protocol      1 on all nodes that told; n3 has not told
      fencing       [!!] lease only: docs/fencing.md says what that does not protect from

      NODE  SLOT  STATE  SEEN   RTT  ARRAYS  PROTO  VERSION  PROTECTED BY
      n1       0  up     0.2 s  -    1       1      0.1.0    lease only
      n2       1  up     0.4 s  -    1       1      0.1.0    lease only
      n3       2  up     0.1 s  -    1       -      -        lease only

      LOCKSPACE  EPOCH  GENERATION  WRITES  STATE  MEMBERS
      (nodes)    1      3           -       ok     n1 n2 n3
      md0        1      3           5.6 s   ok     n1 n2 n3
      "
    `);
    const { exitCode, err } = await run(clusterStatus(), "cluster", "status");
    expect([exitCode, err]).toEqual([
      0,
      "mdctl: n1, n2, n3: protected by the lease only; a write that the storage holds back for too long can land after a takeover\n",
    ]);
  });

  it("is degraded while a node is down, and says who makes sure of it", async () => {
    const data = clusterStatus({
      cluster: { ...cluster, nodesUp: 2, nodesTotal: 3 },
      nodes: [...nodes.slice(0, 2), down],
      fencing: { methods: "command /usr/sbin/fence_ipmilan", leaseOnly: false },
      protocol: { own: 1, lowest: 1, highest: 2 },
    });
    expect(clusterText(data)).toMatchInlineSnapshot(`
      "cluster alpha: DEGRADED, 2 of 3 nodes up
      quorum        yes: this node reaches the lock service and holds its leases (there are no votes)
      lock service  embedded, unix:/run/mdctl/lockd.sock: answers, last contact 0.3 s ago, round trip 0.6 ms
      protocol      1 here, 1 to 2 in the cluster
      fencing       command /usr/sbin/fence_ipmilan

      NODE  SLOT  STATE  SEEN    RTT  ARRAYS  PROTO  VERSION  PROTECTED BY
      n1       0  up     0.2 s   -    1       1      0.1.0    lease only
      n2       1  up     0.4 s   -    1       1      0.1.0    lease only
      n3       2  down   12.1 s  -    1       1      0.1.0    command /usr/sbin/fence_ipmilan  is being fenced by n1, 1 try failed; its locks stand until then

      LOCKSPACE  EPOCH  GENERATION  WRITES  STATE  MEMBERS
      (nodes)    1      3           -       ok     n1 n2 n3
      md0        1      3           5.6 s   ok     n1 n2 n3
      "
    `);
    expect(await run(data, "cluster", "status")).toMatchObject({ exitCode: 1, err: "" });
  });

  it("without the lock service has no quorum: exit 7; while it is rebuilt it is frozen", async () => {
    const service = { ...cluster.service, reachable: false, lastContactSeconds: 3.3, frozen };
    const lost = clusterStatus({ cluster: { ...cluster, quorum: false, lockService: "lost", service } });
    expect(clusterText(lost).split("\n").slice(0, 6)).toMatchInlineSnapshot(`
      [
        "cluster alpha: NO QUORUM, 2 of 2 nodes up",
        "quorum        no: this node does not reach the lock service, which decides who goes on",
        "lock service  embedded, unix:/run/mdctl/lockd.sock: does not answer, last contact 3.3 s ago, round trip 0.6 ms",
        "frozen        lock service redis://10.0.0.5:6379 lost its state 3.2 s ago; writes to clustered arrays wait",
        "              re-mastering: 2 of 3 nodes reported; IO resumes when n3 reports or is evicted, at the latest in 6.8 s",
        "protocol      1 on all nodes that told; n3 has not told",
      ]
    `);
    expect(await run(lost, "cluster", "status")).toMatchObject({ exitCode: 7 });

    const rebuilding = clusterStatus({
      cluster: { ...cluster, lockService: "lost", service: { ...cluster.service, frozen } },
      lockspaces: [
        {
          array: "md0",
          epoch: 2,
          generation: 3,
          members: ["n1", "n2", "n3"],
          writeSeconds: 0,
          remastering: {
            reason: "the lock server has lost the lockspace",
            sinceSeconds: 3.2,
            reported: ["n1", "n2"],
            missing: ["n3"],
            limitSeconds: 6.8,
            conflicts: [],
          },
        },
      ],
    });
    const text = clusterText(rebuilding);
    expect(text).toContain("cluster alpha: FROZEN, 2 of 2 nodes up\n");
    expect(text).toContain("re-mastering (the lock server has lost the lockspace)  n1 n2 n3\n");
    expect(await run(rebuilding, "cluster", "status")).toMatchObject({ exitCode: 1 });
  });
});

describe("node list", () => {
  it("is the table of the specification", async () => {
    const { out } = await run(clusterStatus({ nodes: [...nodes.slice(0, 2), down] }), "node", "list");
    expect(out).toMatchInlineSnapshot(`
      "NODE  SLOT  STATE  SEEN    RTT  ARRAYS  PROTO  VERSION
      n1       0  up     0.2 s   -    1       1      0.1.0
      n2       1  up     0.4 s   -    1       1      0.1.0
      n3       2  down   12.1 s  -    1       1      0.1.0    is being fenced by n1, 1 try failed; its locks stand until then
      "
    `);
  });

  it("has exact cells for scripts", async () => {
    const { out } = await run(clusterStatus(), "node", "list", "--plain");
    expect(out.split("\n")[2]).toBe("n3\t2\tup\t0.1 s\t-\t1\t-\t-\t");
  });
});
