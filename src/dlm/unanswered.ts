import type { BatchStep, HeldLock, ModeNumber } from "./lock-call.ts";
import { lockFlag } from "./lock-flags.ts";
import { lvbTransfer } from "./lvb-transfer.ts";
import type { BareCall } from "./member-session.ts";

const CR = 1;
const CW = 2;
const PR = 3;

const isMiddle = (from: ModeNumber, to: ModeNumber): boolean =>
  (from === CW && to === PR) || (from === PR && to === CW);

/** The strongest mode that excludes nobody whom either of the two lets in. */
export const weakerOf = (a: ModeNumber, b: ModeNumber): ModeNumber => (isMiddle(a, b) ? CR : Math.min(a, b));

/** What becomes of a call whose answer was lost with the lock server's state. */
export interface Settled {
  /** The locks as they are to be reported, and as they are from then on. */
  readonly locks: readonly HeldLock[];
  /** Steps, from the first that was not heard of, that count as done; a call that is not a batch has one. */
  readonly done: number;
  /** Nothing of it is left to be repeated. */
  readonly complete: boolean;
}

/** What was heard of a call in spite of the lost answer: its completions come in other answers, too. */
export interface Heard {
  /** Steps, from the first, that are completed. */
  readonly steps: number;
  /** The last of them was not granted: what follows it was not begun. */
  readonly refused: boolean;
}

/**
 * A call without an answer may have been executed, and others may have been granted what it gave up. So whatever only
 * gives up, and can never be refused, counts as done: down-conversions, also those that write a value, and unlocks. The
 * rest counts as not begun and is repeated, but what it would have given up later is given up at once. What was heard
 * is known: `locks` shows it already. Pure.
 */
export function settleUnanswered(locks: readonly HeldLock[], call: BareCall, heard: Heard): Settled {
  switch (call.op) {
    case "unlock":
      if (heard.steps > 0) return { locks, done: 0, complete: true };
      if (!(call.flags & lockFlag.FORCEUNLOCK)) return { locks, done: 0, complete: false };
      return { locks: locks.filter(({ lkid }) => lkid !== call.lkid), done: 1, complete: true };
    case "convert":
      return heard.steps > 0 ? { locks, done: 0, complete: true } : settleSteps(locks, [call]);
    case "batch":
      return heard.refused ? { locks, done: 0, complete: true } : settleSteps(locks, call.steps.slice(heard.steps));
    default:
      return { locks, done: 0, complete: false };
  }
}

function settleSteps(before: readonly HeldLock[], steps: readonly BatchStep[]): Settled {
  const locks = new Map(before.map((lock) => [lock.lkid, lock]));
  let done = 0;
  let certain = true;
  for (const step of steps) {
    const lock = locks.get(step.lkid);
    if (lock === undefined) break; // it will be refused
    const always = isCertain(lock, step);
    certain &&= always;
    if (certain) done += 1;
    locks.set(step.lkid, always ? converted(lock, step) : { ...lock, gr: weakerOf(lock.gr, step.mode) });
  }
  return { locks: [...locks.values()], done, complete: done === steps.length };
}

/** Granted at once whatever others do, and nothing is read that we would not know. */
function isCertain({ queue, gr }: HeldLock, { mode, flags }: BatchStep): boolean {
  if (queue !== "g" || mode > gr || isMiddle(gr, mode)) return false;
  return lvbTransfer(gr, mode) !== "R" || !(flags & lockFlag.VALBLK);
}

function converted(lock: HeldLock, { mode, flags, lvb }: BatchStep): HeldLock {
  const next = { ...lock, gr: mode, ex: flags };
  const writes = lvb !== undefined && flags & lockFlag.VALBLK && lvbTransfer(lock.gr, mode) === "W";
  return writes ? { ...next, lvb, lvbSeq: lock.lvbSeq + 1 } : next;
}
