import type { ClusterStatusData, LockServiceInfo, LockspaceInfo, NodeInfo } from "../../daemon/control-api.ts";
import { nextText } from "../../daemon/frozen-info.ts";
import { nodeRows } from "./node-rows.ts";
import { safeText } from "./safe-text.ts";
import { table } from "./table.ts";

/** `mdctl cluster status`: first the verdict, then what it rests on. */
export function clusterText(data: ClusterStatusData): string {
  const { cluster, nodes, lockspaces } = data;
  const { frozen } = cluster.service;
  const lines = [
    `cluster ${cluster.name ?? "-"}: ${verdictWord(data)}, ${cluster.nodesUp} of ${cluster.nodesTotal} nodes up`,
    row("quorum", quorumText(data)),
    row("lock service", serviceText(cluster.service)),
    ...(frozen === null ? [] : [row("frozen", frozen.text), row("", nextText(frozen))]),
    ...(frozen?.command == null ? [] : [row("", `try: ${frozen.command}`)]),
    row("protocol", protocolText(data)),
    row("fencing", fencingText(data)),
  ];
  const { heading, rows, numbers } = nodeRows(nodes, { protection: true });
  const spaces = lockspaces.map(spaceRow);
  return [
    `${lines.map(safeText).join("\n")}\n`,
    table(heading, rows, numbers),
    ...(spaces.length === 0 ? [] : [table(["LOCKSPACE", "EPOCH", "GENERATION", "WRITES", "STATE", "MEMBERS"], spaces)]),
  ].join("\n");
}

type Verdict = "OK" | "DEGRADED" | "FROZEN" | "NO QUORUM";

function verdictWord({ cluster, nodes }: ClusterStatusData): Verdict {
  if (!cluster.quorum) return "NO QUORUM";
  if (cluster.service.frozen !== null) return "FROZEN";
  return nodes.every(isWell) ? "OK" : "DEGRADED";
}

const isWell = ({ state }: NodeInfo): boolean => state === "up" || state === "joining" || state === "leaving";

const exits: Record<Verdict, number> = { OK: 0, DEGRADED: 1, FROZEN: 1, "NO QUORUM": 7 };

/** 0 healthy, 1 degraded, 7 no quorum. */
export const clusterExit = (data: ClusterStatusData): number => exits[verdictWord(data)];

const row = (label: string, text: string): string => `${label.padEnd(12)}  ${text}`;

function quorumText({ cluster: { quorum, service } }: ClusterStatusData): string {
  if (quorum) return "yes: this node reaches the lock service and holds its leases (there are no votes)";
  return service.reachable
    ? "no: the leases of this node have run out"
    : "no: this node does not reach the lock service, which decides who goes on";
}

function serviceText({ kind, address, reachable, lastContactSeconds, roundTripMillis }: LockServiceInfo): string {
  const parts = [
    reachable ? "answers" : "does not answer",
    lastContactSeconds === null ? null : `last contact ${lastContactSeconds.toFixed(1)} s ago`,
    roundTripMillis === null ? null : `round trip ${roundTripMillis.toFixed(1)} ms`,
  ];
  return `${kind}, ${address}: ${parts.filter((part) => part !== null).join(", ")}`;
}

function protocolText({ protocol: { own, lowest, highest }, nodes }: ClusterStatusData): string {
  const silent = nodes.filter(({ protocol }) => protocol === null).map(({ name }) => name);
  const others = silent.length === 0 ? "" : `; ${silent.join(", ")} ${silent.length === 1 ? "has" : "have"} not told`;
  if (lowest === own && highest === own)
    return `${own} on all nodes${silent.length === 0 ? "" : " that told"}${others}`;
  return `${own} here, ${lowest ?? "?"} to ${highest ?? "?"} in the cluster${others}`;
}

function fencingText({ fencing: { methods, leaseOnly } }: ClusterStatusData): string {
  return leaseOnly ? "[!!] lease only: docs/fencing.md says what that does not protect from" : methods;
}

function spaceRow({ array, epoch, generation, members, writeSeconds, remastering }: LockspaceInfo): string[] {
  const state = remastering === null ? "ok" : `re-mastering (${remastering.reason})`;
  const writes = array === null ? "-" : writeSeconds === 0 ? "wait" : `${writeSeconds.toFixed(1)} s`;
  return [array ?? "(nodes)", String(epoch), String(generation), writes, state, members.join(" ")];
}
