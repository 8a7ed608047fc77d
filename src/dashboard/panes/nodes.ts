import type { ArrayInfo, NodeInfo } from "../../daemon/control-api.ts";
import { left, right, shortDuration } from "../text.ts";
import { nodeMark } from "../view-model.ts";

/** One row a node: state, when it was last seen, its bitmap. */
export function nodeRows(nodes: readonly NodeInfo[], array: ArrayInfo | undefined, self: string): string[] {
  const name = Math.max(2, ...nodes.map((node) => node.name.length));
  return nodes.map((node) => {
    const bitmap = array?.bitmap?.slots.find((slot) => slot.slot === node.slot && slot.node === node.name);
    const seen = node.name === self || node.lastSeenSeconds === null ? "-" : shortDuration(node.lastSeenSeconds);
    const lock =
      bitmap === undefined ? "-" : `${bitmap.lock.mode ?? "-"} bitmap${String(bitmap.slot).padStart(4, "0")}`;
    const dirty = bitmap?.dirty === undefined || bitmap.dirty === null ? "" : `${right(String(bitmap.dirty), 6)} dirty`;
    const about = node.name === self ? "this node" : (node.note ?? "");
    const state = `${nodeMark[node.state]} ${node.state}`;
    return ` ${left(node.name, name)}  slot ${node.slot ?? "-"}  ${left(state, 13)} ${left(seen, 7)}${left(lock, 16)}${dirty}   ${about}`;
  });
}
