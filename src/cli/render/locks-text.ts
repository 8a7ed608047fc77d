import type { LockResource, LocksData } from "../../daemon/control-api.ts";
import { ageText } from "./duration-text.ts";
import { safeText } from "./safe-text.ts";
import { table } from "./table.ts";

/** Rows are resources, columns nodes, cells granted modes; then who waits for whom, and what cannot be. */
export function locksText(data: LocksData): string {
  const { array, resources, blocked, conflicts, rebuilding } = data;
  const nodes = columnsOf(data);
  const rows = resources.map((resource) => [
    resource.name,
    ...nodes.map((node) => modeOf(resource, node)),
    waitingText(resource),
    resource.value?.decoded || "-",
    ageText(resource.ageSeconds),
  ]);
  const lines = [
    ...(rebuilding
      ? [`rebuilding: the lock server lost the locks of ${array}; above is what was reported so far`]
      : []),
    ...blocked.map(blockedText),
    ...conflicts.flatMap(({ resource, holders }) => [
      `conflict: ${resource} is held by ${holders.map(({ node, mode }) => `${node} (${mode})`).join(" and ")}, which cannot be`,
      `  try: stop one of them for good, then mdctl node evict ${holders.at(-1)?.node ?? "NODE"} --confirm-dead`,
    ]),
  ];
  return (
    table(["RESOURCE", ...nodes, "WAITING", "VALUE", "AGE"], rows) + lines.map((line) => `${safeText(line)}\n`).join("")
  );
}

/** The members by slot, then whoever else still has locks. */
function columnsOf({ nodes, resources }: LocksData): readonly string[] {
  const others = resources.flatMap(({ grants, convert, queue }) =>
    [...grants, ...convert, ...queue].map(({ node }) => node),
  );
  return [...new Set([...nodes, ...others])];
}

function modeOf({ grants, convert }: LockResource, node: string): string {
  const converting = convert.find((one) => one.node === node);
  return converting?.from ?? grants.find((grant) => grant.node === node)?.mode ?? "-";
}

/** A conversion from NL, in which locks rest, is a request for what it asks. */
function waitingText({ convert, queue }: LockResource): string {
  const waiting = [
    ...convert.map(
      ({ node, from, to, waitSeconds }) => [node, from === "NL" ? to : `${from}>${to}`, waitSeconds] as const,
    ),
    ...queue.map(({ node, mode, waitSeconds }) => [node, mode, waitSeconds] as const),
  ];
  return waiting.map(([node, what, seconds]) => `${node} ${what} ${ageText(seconds)}`).join(", ") || "-";
}

function blockedText({ node, resource, behind, waitSeconds, why }: LocksData["blocked"][number]): string {
  const whose = behind.length === 0 ? "" : ` of ${behind.join(", ")}`;
  return `blocked: ${node} waits for ${resource}${whose} (${ageText(waitSeconds)}); ${why}`;
}
