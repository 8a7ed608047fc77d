import type { NodeInfo } from "../../daemon/control-api.ts";

/** `node list` as a table; what becomes of a node that is not well stands behind the last column. */
export function nodeRows(
  nodes: readonly NodeInfo[],
  also: { readonly protection: boolean } = { protection: false },
): {
  heading: readonly string[];
  rows: readonly (readonly string[])[];
  /** Columns that are aligned to the right. */
  numbers: ReadonlySet<number>;
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
    ...(also.protection ? [node.protection] : []),
    node.note ?? "",
  ]);
  const heading = ["NODE", "SLOT", "STATE", "SEEN", "RTT", "ARRAYS", "PROTO", "VERSION"];
  return {
    heading: [...heading, ...(also.protection ? ["PROTECTED BY"] : []), ""],
    rows,
    numbers: new Set([heading.indexOf("SLOT")]),
  };
}
