import type { Metric, Sample } from "../metrics/prometheus-text.ts";
import type { ArrayInfo, StatusData } from "./control-api.ts";

const gauge = (name: string, help: string, samples: readonly Sample[]): Metric => ({
  name: `mdctl_${name}`,
  help,
  type: "gauge",
  samples,
});

/** What a node measures, by the names of the command line specification, 12. What is not known has no sample. */
export function nodeMetrics(status: StatusData, version: string): readonly Metric[] {
  return [...clusterMetrics(status, version), ...arrayMetrics(status.arrays), ...ioMetrics(status.arrays)];
}

function clusterMetrics({ node, cluster, nodes }: StatusData, version: string): readonly Metric[] {
  const flag = (value: boolean): readonly Sample[] => [{ labels: {}, value: value ? 1 : 0 }];
  return [
    gauge("info", "version and protocol", [{ labels: { node, version }, value: 1 }]),
    gauge("quorum", "1 while this node can reach the lock service", flag(cluster.quorum)),
    gauge("lock_service_up", "1 while the lock service answers", flag(cluster.lockService === "ok")),
    gauge(
      "node_up",
      "1 while the node is a member of the cluster",
      nodes.map(({ name, state }) => ({ labels: { peer: name }, value: state === "up" ? 1 : 0 })),
    ),
  ];
}

function arrayMetrics(arrays: readonly ArrayInfo[]): readonly Metric[] {
  const perArray = (value: (array: ArrayInfo) => number | null): readonly Sample[] =>
    arrays.flatMap((array) => {
      const found = value(array);
      return found === null ? [] : [{ labels: { array: array.name }, value: found }];
    });
  const states = arrays.map(({ name, state }) => ({ labels: { array: name, state }, value: 1 }));
  return [
    gauge("array_state", "1 for the state that the array is in", states),
    gauge(
      "array_degraded",
      "slots without an in-sync member",
      perArray(({ degradedBy }) => degradedBy),
    ),
    gauge("members", "members by role", arrays.flatMap(memberSamples)),
    gauge(
      "sync_percent",
      "progress of a resync or recovery that runs here",
      perArray(({ sync }) => sync.percent),
    ),
    gauge(
      "sync_bytes_done",
      "of a resync or recovery that runs here",
      perArray(({ sync }) => sync.doneBytes),
    ),
    gauge(
      "sync_bytes_total",
      "of a resync or recovery that runs here",
      perArray(({ sync }) => sync.totalBytes),
    ),
    gauge(
      "sync_eta_seconds",
      "until a resync or recovery is done",
      perArray(({ sync }) => sync.etaSeconds),
    ),
    gauge("bitmap_dirty_chunks", "chunks with a bit, by slot", arrays.flatMap(dirtySamples)),
    gauge(
      "suspended_bytes",
      "in ranges where writes wait for another node's resync",
      perArray(({ suspended }) => suspended.reduce((sum, { loBytes, hiBytes }) => sum + hiBytes - loBytes, 0)),
    ),
  ];
}

function ioMetrics(arrays: readonly ArrayInfo[]): readonly Metric[] {
  const bytes = arrays.flatMap(({ name, mapping }) => {
    if (mapping === null) return [];
    const { readBytes, writeBytes } = mapping.io;
    return [
      { labels: { array: name, op: "read" }, value: readBytes },
      { labels: { array: name, op: "write" }, value: writeBytes },
    ];
  });
  const errors = arrays.flatMap(({ name, members }) =>
    members.flatMap(({ path, errors: { read, write } }) => {
      if (path === null) return [];
      const labels = { array: name, member: path };
      return [
        { labels: { ...labels, kind: "read" }, value: read },
        { labels: { ...labels, kind: "write" }, value: write },
      ];
    }),
  );
  return [
    { name: "mdctl_io_bytes_total", help: "through this node's export", type: "counter", samples: bytes },
    { name: "mdctl_io_errors_total", help: "of members, seen by this node", type: "counter", samples: errors },
  ];
}

function dirtySamples({ name, bitmap }: ArrayInfo): readonly Sample[] {
  return (bitmap?.slots ?? []).flatMap(({ slot, dirty }) =>
    dirty === null ? [] : [{ labels: { array: name, slot: String(slot) }, value: dirty }],
  );
}

function memberSamples({ name, members }: ArrayInfo): readonly Sample[] {
  const counts = new Map<string, number>();
  for (const { role } of members) counts.set(role, (counts.get(role) ?? 0) + 1);
  return [...counts].map(([role, value]) => ({ labels: { array: name, role }, value }));
}
