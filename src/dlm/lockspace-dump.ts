import { slotNumber } from "../base/units.ts";
import type { LockRecord, LockReply, ResourceRecord } from "./lock-call.ts";
import { type LockMode, lockModes } from "./lock-mode.ts";
import type { LockspaceDump, ResourceDump } from "./lockspace.ts";
import { decodeLvb } from "./lvb-codec.ts";

const modeOf = (mode: number): LockMode => lockModes[mode] ?? "NL";

function resourceDump({ name, locks, lvb, lvbInvalid }: ResourceRecord): ResourceDump {
  const on = (queue: LockRecord["queue"]): readonly LockRecord[] => locks.filter((lock) => lock.queue === queue);
  return {
    name,
    granted: on("g").map(({ slot, gr }) => ({ slot: slotNumber(slot - 1), mode: modeOf(gr) })),
    converting: on("c").map(({ slot, gr, rq }) => ({
      slot: slotNumber(slot - 1),
      from: modeOf(gr),
      to: modeOf(rq),
    })),
    waiting: on("w").map(({ slot, rq }) => ({ slot: slotNumber(slot - 1), mode: modeOf(rq) })),
    lvb: lvb === undefined ? null : decodeLvb(lvb),
    lvbValid: !lvbInvalid,
  };
}

/** A lock server's dump in the words of the layers above: slots 0-based, modes by name. */
export const lockspaceDump = (name: string, reply: LockReply): LockspaceDump => ({
  name,
  generation: reply.generation,
  members: (reply.members ?? []).map(({ node, slot }) => ({ node, slot: slotNumber(slot - 1) })),
  resources: (reply.resources ?? []).map(resourceDump),
});
