import { type SectorRange, sectorRange } from "../base/units.ts";
import type { Compared, RepairRule } from "../engine/engine-protocol.ts";
import type { ScrubOrder, WindowFindings } from "../resync/scrub.ts";
import { askPeer } from "./ask-peer.ts";
import type { NodeContext } from "./node-context.ts";
import { membersNow } from "./resync-retry.ts";

/**
 * Compares a window that every other node holds its writes in. A difference counts only if nobody has anything to settle:
 * a node that died, a chunk that some node still has to resync, a failed member of which not all know, all leave copies
 * that differ for a while and are equal again by themselves. Null: so it is, or the data plane was interrupted; to be
 * looked at again when that is over. Only then is anything repaired.
 */
export async function scrubWindow(
  context: NodeContext,
  order: ScrubOrder,
  window: SectorRange,
): Promise<WindowFindings | null> {
  const { engine } = context;
  const before = membersNow(context);
  const tellBad = order.action === "repair";
  const found = await engine.send({ type: "compare", range: window, repair: null, tellBad });
  if (found.failed || found.unsettled) return null;
  if (found.mismatched === 0) return { mismatched: 0, ranges: [], isCut: false };
  if (!(await isSettled(context)) || membersNow(context) !== before) return null;
  if (order.action === "check") return findingsOf(context, found, found.mismatched);
  const rule = ruleOf(context, order);
  if (rule === null) return null;
  const repaired = await engine.send({ type: "compare", range: window, repair: rule });
  if (repaired.failed || repaired.unsettled) return null;
  return findingsOf(context, repaired, found.mismatched);
}

/** Null: the member that is to decide is not in sync any more. */
export function ruleOf({ array, members }: NodeContext, { source }: ScrubOrder): RepairRule | null {
  if (source === null) return { source: null };
  const isWhole = array.members.some(({ number, state }) => number === source && state === "in_sync");
  const place = isWhole && !members.isBlockedMember(source) ? members.placeOf(source) : null;
  return place === null ? null : { source: place };
}

function findingsOf({ members }: NodeContext, { ranges, isCut }: Compared, mismatched: number): WindowFindings {
  return {
    mismatched,
    isCut,
    ranges: ranges.map(({ lo, hi, kind, places }) => {
      const numbers = places.map((place) => members.numberAt(place)).filter((number) => number !== null);
      return { ...sectorRange(lo, hi), kind, members: numbers };
    }),
  };
}

/** Before a node has acknowledged our window it has told what it has to settle: see `receiveResyncing`. */
async function isSettled(context: NodeContext): Promise<boolean> {
  for (const { slot } of context.node.members) {
    if (slot !== context.node.own && !(await askPeer(context, slot))) return false;
  }
  const { node, remoteSyncs, members, shared } = context;
  const isOurs = members.hasBlocked || members.hasUnsettled || shared.read("neededChunks") > 0;
  return node.balance === "balanced" && remoteSyncs.size === 0 && !isOurs;
}
