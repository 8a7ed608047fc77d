import type { ModeNumber } from "./lock-call.ts";
import { lockFlag, statusFlag } from "./lock-flags.ts";
import { lockModes, modesCompatible } from "./lock-mode.ts";
import { lockStatus } from "./lock-status.ts";
import { lvbOnGrant, lvbOnUnlock } from "./resource-lvb.ts";
import type { Emit, LockResource, ResourceLock } from "./resource-state.ts";

const { NOQUEUE, VALBLK, QUECVT, CONVDEADLK, NODLCKWT, EXPEDITE, NOQUEUEBAST, HEADQUE, NOORDER } = lockFlag;
const { ALTPR, ALTCW } = lockFlag;
const { DEMOTED, ALTMODE } = statusFlag;

const NONE: ModeNumber = -1;
const NL = 0;
const CW = 2;
const PR = 3;
const PW = 4;
const EX = 5;

const modes = [NL, 1, CW, PR, PW, EX];
/** [granted + 1][requested + 1]; no mode is compatible with everything. */
const compatibility = [NONE, ...modes].map((held) =>
  [NONE, ...modes].map((wanted) => {
    const [a, b] = [lockModes[held], lockModes[wanted]];
    return a === undefined || b === undefined || modesCompatible(a, b);
  }),
);
const compat = (held: ModeNumber, wanted: ModeNumber): boolean => compatibility[held + 1]?.[wanted + 1] === true;

export const modesConflict = (a: ModeNumber, b: ModeNumber): boolean => !compat(a, b);

// From here on the order of every step matters: it defines the order of events, and redis/lua/resource.lua is the same
// algorithm line by line (test/dlm/differential.test.ts compares them).

const conflict = (queue: readonly ResourceLock[], l: ResourceLock): boolean =>
  queue.some((x) => x !== l && !compat(x.gr, l.rq));

function grantable0(r: LockResource, l: ResourceLock, now: boolean, recover: boolean): boolean {
  const conv = l.gr !== NONE;
  if (l.ex & EXPEDITE) return true;
  if (conflict(r.granted, l) || conflict(r.convert, l)) return false;
  if (conv && recover) return true;
  // Converters that queue already do not hold back a new one: a slow receiver may read while a fast one waits for PR.
  if (now && conv) return l.ex & QUECVT ? r.convert.length === 0 : true;
  if (l.ex & NOORDER) return true;
  if (!now && conv) return r.convert[0] === l;
  if (now && !conv) return r.convert.length === 0 && r.wait.length === 0;
  return r.convert.length === 0 && r.wait[0] === l;
}

/** Two converters, each holding what the other asks for. `l` may be on the convert queue or not yet. */
function deadlock(r: LockResource, l: ResourceLock): boolean {
  let ahead = false;
  for (const x of r.convert) {
    if (x === l) ahead = true;
    else if (compat(l.gr, x.rq)) continue;
    else if (!ahead || !compat(x.gr, l.rq)) return true;
  }
  return false;
}

type Verdict = "ok" | "dead" | "no";

function grantable(r: LockResource, l: ResourceLock, now: boolean, recover: boolean): Verdict {
  if (grantable0(r, l, now, recover)) return "ok";
  if (l.gr !== NONE && !(l.ex & NOQUEUE) && deadlock(r, l)) {
    if (!(l.ex & CONVDEADLK)) return "dead";
    l.gr = NL;
    l.sb |= DEMOTED;
    return "no";
  }
  const alt = l.rq !== PR && l.ex & ALTPR ? PR : l.rq !== CW && l.ex & ALTCW ? CW : NONE;
  if (alt !== NONE) {
    const asked = l.rq;
    l.rq = alt;
    if (grantable0(r, l, now, false)) {
      l.sb |= ALTMODE;
      return "ok";
    }
    l.rq = asked;
  }
  return "no";
}

function detach(r: LockResource, l: ResourceLock): void {
  for (const queue of [r.granted, r.convert, r.wait]) {
    const at = queue.indexOf(l);
    if (at >= 0) queue.splice(at, 1);
  }
}

const cast = (emit: Emit, lock: ResourceLock, status: number, lvb: string | null = null): void =>
  emit({ type: "cast", lock, status, mode: lock.gr, lvb });

function grant(r: LockResource, l: ResourceLock, input: string | null, emit: Emit): void {
  const lvb = lvbOnGrant(r, l, input);
  if (l.gr !== l.rq || !r.granted.includes(l)) {
    l.gr = l.rq;
    detach(r, l);
    r.granted.push(l);
  }
  l.rq = NONE;
  l.hi = 0;
  cast(emit, l, lockStatus.OK, lvb);
}

interface Blocked {
  high: ModeNumber;
  cw: boolean;
}

/** Grants from the convert queue. What stays blocked: the highest mode asked for, and whether CW is among them. */
function grantConvert(r: LockResource, emit: Emit): Blocked {
  let quit = false;
  let cw = false;
  for (;;) {
    let again = false;
    let demoted = false;
    let high = NONE;
    for (const l of [...r.convert]) {
      const was = l.sb & DEMOTED;
      const verdict = grantable(r, l, false, r.recovering);
      if (verdict === "ok") {
        grant(r, l, null, emit);
        again = true;
      } else if (!was && l.sb & DEMOTED) {
        demoted = true;
      } else if (verdict === "dead") {
        if (l.ex & NODLCKWT && l.hi < l.rq) {
          emit({ type: "bast", lock: l, mode: l.rq });
          l.hi = l.rq;
        }
      } else {
        high = Math.max(high, l.rq);
        if (l.rq === CW) cw = true;
      }
    }
    if (again) continue;
    if (demoted && !quit) {
      quit = true;
      continue;
    }
    return { high, cw };
  }
}

/** Grants what can be granted, conversions first, then tells holders what they still block. */
export function grantPending(r: LockResource, emit: Emit): void {
  let { high, cw } = grantConvert(r, emit);
  for (const l of [...r.wait]) {
    if (grantable(r, l, false, false) === "ok") {
      grant(r, l, null, emit);
    } else {
      high = Math.max(high, l.rq);
      if (l.rq === CW) cw = true;
    }
  }
  if (high === NONE) return;
  for (const g of r.granted) {
    if (!g.bast) continue;
    const need = g.gr === PR && cw ? g.hi < EX : g.hi < high && !compat(g.gr, high);
    if (!need) continue;
    emit({ type: "bast", lock: g, mode: cw && high === PR && g.gr === PR ? CW : high });
    g.hi = high;
  }
}

/** `l` was just queued, or failed with NOQUEUEBAST. */
function bastsFor(r: LockResource, l: ResourceLock, withConvertQueue: boolean, emit: Emit): void {
  for (const x of withConvertQueue ? [...r.granted, ...r.convert] : r.granted) {
    if (x === l || !x.bast) continue;
    const middle = (x.gr === PR && l.rq === CW) || (x.gr === CW && l.rq === PR);
    const need = middle ? x.hi < EX : x.hi < l.rq && !compat(x.gr, l.rq);
    if (!need) continue;
    emit({ type: "bast", lock: x, mode: l.rq });
    x.hi = l.rq;
  }
}

function enqueue(queue: ResourceLock[], l: ResourceLock): void {
  if (l.ex & HEADQUE) queue.unshift(l);
  else queue.push(l);
}

/** A new lock, `rq` and `ex` set, on no queue yet. It is on none afterwards either if NOQUEUE made it fail. */
export function requestLock(r: LockResource, l: ResourceLock, emit: Emit): void {
  if (grantable(r, l, true, false) === "ok") {
    grant(r, l, null, emit);
  } else if (!(l.ex & NOQUEUE)) {
    enqueue(r.wait, l);
    bastsFor(r, l, false, emit);
  } else {
    cast(emit, l, lockStatus.EAGAIN);
    if (l.ex & NOQUEUEBAST) bastsFor(r, l, true, emit);
  }
}

/**
 * `l` is on the granted queue. `input` is the caller's value block, written where the conversion writes. Returns
 * whether it was granted at once.
 */
export function convertLock(
  r: LockResource,
  l: ResourceLock,
  asked: { readonly mode: ModeNumber; readonly flags: number; readonly input: string | null },
  emit: Emit,
): boolean {
  l.ex = asked.flags | lockFlag.CONVERT;
  l.sb = 0;
  l.rq = asked.mode;
  const verdict = grantable(r, l, true, false);
  // A demotion gives the others a chance first, and then this one again.
  if (l.sb & DEMOTED) grantConvert(r, emit);
  if (verdict === "ok" || (l.sb & DEMOTED && grantable0(r, l, true, false))) {
    grant(r, l, asked.input, emit);
    grantPending(r, emit);
    return true;
  }
  if (verdict === "dead" && !(l.ex & NODLCKWT)) {
    l.rq = NONE;
    cast(emit, l, lockStatus.EDEADLK);
  } else if (!(l.ex & NOQUEUE)) {
    detach(r, l);
    enqueue(r.convert, l);
    bastsFor(r, l, false, emit);
  } else {
    cast(emit, l, lockStatus.EAGAIN);
    if (l.ex & NOQUEUEBAST) bastsFor(r, l, true, emit);
    l.rq = NONE;
  }
  return false;
}

/** Takes back what is queued; of a granted lock there is nothing to cancel. */
export function cancelLock(r: LockResource, l: ResourceLock, emit: Emit): void {
  if (r.granted.includes(l)) return;
  l.sb = 0;
  const converting = r.convert.includes(l);
  detach(r, l);
  l.rq = NONE;
  if (converting) r.granted.push(l);
  cast(emit, l, lockStatus.ECANCEL);
  grantPending(r, emit);
}

export function unlockLock(
  r: LockResource,
  l: ResourceLock,
  asked: { readonly flags: number; readonly input: string | null },
  emit: Emit,
): void {
  l.sb = 0;
  l.ex |= asked.flags;
  lvbOnUnlock(r, l, asked.input);
  detach(r, l);
  l.gr = NONE;
  l.rq = NONE;
  cast(emit, l, lockStatus.EUNLOCK);
  grantPending(r, emit);
}

/** Removes all locks of a member. `dead`: what it could have been writing is invalid, and queue order is given up. */
export function removeLocksOf(r: LockResource, slot: number, dead: boolean, emit: Emit): void {
  let removed = false;
  for (const l of [...r.granted, ...r.convert, ...r.wait]) {
    if (l.slot !== slot) continue;
    if (dead && l.ex & VALBLK && l.gr >= PW) r.lvbInvalid = true;
    detach(r, l);
    removed = true;
  }
  if (!removed) return;
  if (dead) regrant(r, emit);
  else grantPending(r, emit);
}

/** Some of its locks are gone, or it was rebuilt: conversions are granted without order. */
export function regrant(r: LockResource, emit: Emit): void {
  r.recovering = true;
  grantPending(r, emit);
  r.recovering = false;
}
