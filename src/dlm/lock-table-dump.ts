import type { DlmSlot, HeldLock, LockRecord, MailboxRecord, ResourceRecord } from "./lock-call.ts";
import type { LockResource, ResourceLock } from "./resource-state.ts";
import type { TableMember } from "./table-member.ts";

export function dumpResource(r: LockResource): ResourceRecord {
  const row =
    (queue: LockRecord["queue"]) =>
    ({ lkid, slot, gr, rq, ex, sb, hi, bast, lvbSeq, order }: ResourceLock): LockRecord => ({
      lkid,
      slot,
      queue,
      gr,
      rq,
      ex,
      sb,
      hi,
      bast,
      lvbSeq,
      order,
    });
  const locks = [...r.granted.map(row("g")), ...r.convert.map(row("c")), ...r.wait.map(row("w"))];
  const record = { name: r.name, lvbSeq: r.lvbSeq, lvbInvalid: r.lvbInvalid, locks };
  return r.lvb === null ? record : { ...record, lvb: r.lvb };
}

export const dumpMailbox = ({ slot, lastRid, sent, acked, events, ring }: TableMember): MailboxRecord => ({
  slot,
  lastRid,
  sent,
  acked,
  events: [...events],
  ring: [...ring.values()].map(({ rid, rc, value }) => [rid, rc, value] as const).sort(([a], [b]) => a - b),
});

/** What a member has reported for the recovery under way, if it has. */
export const dumpReport = ({ slot, report }: TableMember): { slot: DlmSlot; locks: readonly HeldLock[] }[] =>
  report === null ? [] : [{ slot, locks: report.locks }];
