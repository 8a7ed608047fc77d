import type { FrozenInfo, StatusData } from "../../daemon/control-api.ts";

/** What froze, how far it is, what ends it, and what waits here; empty while lock operations are carried out. */
export function lockServiceRows({ cluster: { service } }: StatusData): string[] {
  const { frozen, address } = service;
  if (frozen === null) return [];
  const what = frozen.progress === null ? "lost" : "lost its state";
  const requests = frozen.waiting === 1 ? "1 request" : `${frozen.waiting} requests`;
  return [
    ` [XX] ${address}   ${what} ${frozen.sinceSeconds.toFixed(1)}s ago`,
    ...(frozen.progress === null ? [] : [` ${frozen.progress}    ${reporters(frozen)}`]),
    ` ${frozen.resumes}`,
    ...(frozen.command === null ? [] : [` try: ${frozen.command}`]),
    ` waiting here: ${requests}`,
  ];
}

const reporters = ({ reported, missing }: FrozenInfo): string =>
  [...reported.map((node) => [node, "[OK]"] as const), ...missing.map((node) => [node, "[..]"] as const)]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([node, mark]) => `${node} ${mark}`)
    .join("  ");
