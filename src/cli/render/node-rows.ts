import type { NodeInfo } from "../../daemon/control-api.ts";

/** `node list` as a table. */
export function nodeRows(nodes: readonly NodeInfo[]): {
  heading: readonly string[];
  rows: readonly (readonly string[])[];
} {
  const rows = nodes.map((node) => [
    node.name,
    node.slot === null ? "-" : String(node.slot),
    node.state,
    node.lastSeenSeconds === null ? "-" : `${node.lastSeenSeconds.toFixed(1)} s`,
    node.rttMillis === null ? "-" : `${node.rttMillis.toFixed(1)} ms`,
    node.arrays.length === 0 ? "-" : String(node.arrays.length),
    node.protocol === null ? "-" : String(node.protocol),
    node.version ?? "-",
  ]);
  return { heading: ["NODE", "SLOT", "STATE", "SEEN", "RTT", "ARRAYS", "PROTO", "VERSION"], rows };
}
