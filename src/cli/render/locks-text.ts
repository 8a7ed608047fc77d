import type { LockResource, LocksData } from "../../daemon/control-api.ts";
import { table } from "./table.ts";

/** Rows are resources, columns nodes, cells granted modes; then who waits for whom. */
export function locksText({ resources, blocked }: LocksData): string {
  const nodes = [
    ...new Set(
      resources.flatMap(({ grants, convert, queue }) => [...grants, ...convert, ...queue].map(({ node }) => node)),
    ),
  ].sort();
  const rows = resources.map((resource) => [
    resource.name,
    ...nodes.map((node) => modeOf(resource, node)),
    waitingText(resource),
    resource.value?.decoded || "-",
  ]);
  const lines = blocked.map(({ node, resource, why }) => `blocked: ${node} waits for ${resource}: ${why}\n`);
  return table(["RESOURCE", ...nodes, "WAITING", "VALUE"], rows) + lines.join("");
}

function modeOf({ grants, convert }: LockResource, node: string): string {
  const converting = convert.find((one) => one.node === node);
  return converting?.from ?? grants.find((grant) => grant.node === node)?.mode ?? "-";
}

function waitingText({ convert, queue }: LockResource): string {
  const waiting = [
    ...convert.map(({ node, from, to }) => `${node} ${from}>${to}`),
    ...queue.map(({ node, mode }) => `${node} ${mode}`),
  ];
  return waiting.join(", ") || "-";
}
