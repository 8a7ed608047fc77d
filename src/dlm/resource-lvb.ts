import { lockFlag, statusFlag } from "./lock-flags.ts";
import { lvbTransfer } from "./lvb-transfer.ts";
import type { LockResource, ResourceLock } from "./resource-state.ts";

const { VALBLK, IVVALBLK } = lockFlag;
const PW = 4;

/** `l.gr` is still the mode before the grant. What the caller reads, or null. */
export function lvbOnGrant(r: LockResource, l: ResourceLock, input: string | null): string | null {
  const direction = lvbTransfer(l.gr, l.rq);
  let read: string | null = null;
  if (direction === "R") {
    if (!(l.ex & VALBLK) || r.lvb === null) return null;
    read = r.lvb;
    l.lvbSeq = r.lvbSeq;
  } else if (direction === "W") {
    if (l.ex & IVVALBLK) {
      r.lvbInvalid = true;
      return null;
    }
    if (!(l.ex & VALBLK)) return null;
    write(r, l, input);
  }
  if (r.lvbInvalid) l.sb |= statusFlag.VALNOTVALID;
  return read;
}

function write(r: LockResource, l: ResourceLock, input: string | null): void {
  if (input === null) return;
  r.lvb = input;
  r.lvbSeq += 1;
  r.lvbInvalid = false;
  l.lvbSeq = r.lvbSeq;
}

export function lvbOnUnlock(r: LockResource, l: ResourceLock, input: string | null): void {
  if (l.gr < PW) return;
  if (l.ex & IVVALBLK) r.lvbInvalid = true;
  else if (l.ex & VALBLK) write(r, l, input);
}
