import { type SlotNumber, slotNumber } from "../base/units.ts";
import type { DlmSlot, HeldLock, LockRecord, LockReply, ResourceRecord } from "./lock-call.ts";
import { type LockMode, lockModes } from "./lock-mode.ts";
import type { LockspaceDump, ResourceDump } from "./lockspace.ts";
import { decodeLvb } from "./lvb-codec.ts";

type Row = Pick<LockRecord, "slot" | "queue" | "gr" | "rq" | "order">;
/** `Clock.now` of a `seq`, null if that is not known. */
type TimeOf = (seq: number) => number | null;

const modeOf = (mode: number): LockMode => lockModes[mode] ?? "NL";
const slotOf = (slot: DlmSlot): SlotNumber => slotNumber(slot - 1);

function queues(rows: readonly Row[], timeOf: TimeOf): Pick<ResourceDump, "granted" | "converting" | "waiting"> {
  const on = (queue: Row["queue"]): readonly Row[] => rows.filter((row) => row.queue === queue);
  return {
    granted: on("g").map(({ slot, gr, order }) => ({ slot: slotOf(slot), mode: modeOf(gr), since: timeOf(order) })),
    converting: on("c").map(({ slot, gr, rq, order }) => ({
      slot: slotOf(slot),
      from: modeOf(gr),
      to: modeOf(rq),
      since: timeOf(order),
    })),
    waiting: on("w").map(({ slot, rq, order }) => ({ slot: slotOf(slot), mode: modeOf(rq), since: timeOf(order) })),
  };
}

const resourceDump = ({ name, locks, lvb, lvbInvalid }: ResourceRecord, timeOf: TimeOf): ResourceDump => ({
  name,
  ...queues(locks, timeOf),
  lvb: lvb === undefined ? null : decodeLvb(lvb),
  lvbValid: !lvbInvalid,
});

type Report = NonNullable<LockReply["reports"]>[number];

/** What the members of a lockspace that is being rebuilt have reported so far, by resource. */
function reported(reports: readonly Report[], timeOf: TimeOf): readonly ResourceDump[] {
  const byName = new Map<string, (Row & Pick<HeldLock, "lvb">)[]>();
  for (const { slot, locks } of reports) {
    for (const lock of locks) byName.set(lock.name, [...(byName.get(lock.name) ?? []), { ...lock, slot }]);
  }
  return [...byName].map(([name, rows]) => {
    const sorted = rows.sort((a, b) => a.order - b.order || a.slot - b.slot);
    return { name, ...queues(sorted, timeOf), lvb: null, lvbValid: true };
  });
}

/** A lock server's dump in the words of the layers above: slots 0-based, modes by name, times of this node's clock. */
export const lockspaceDump = (name: string, reply: LockReply, timeOf: TimeOf): LockspaceDump => ({
  name,
  generation: reply.generation,
  rebuilding: reply.state === "recover",
  members: (reply.members ?? []).map(({ node, slot }) => ({ node, slot: slotOf(slot) })),
  resources:
    reply.state === "recover"
      ? reported(reply.reports ?? [], timeOf)
      : (reply.resources ?? []).map((record) => resourceDump(record, timeOf)),
});
