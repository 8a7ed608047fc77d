import type { HeldLock, ModeNumber } from "./lock-call.ts";
import { lockFlag } from "./lock-flags.ts";
import { lockStatus } from "./lock-status.ts";

const { NOQUEUE, CANCEL, CONVERT, VALBLK, QUECVT, IVVALBLK, CONVDEADLK, NODLCKWT, EXPEDITE } = lockFlag;
const { NOQUEUEBAST, HEADQUE, NOORDER, ALTPR, ALTCW, FORCEUNLOCK } = lockFlag;

const always = NOQUEUE | VALBLK | NOQUEUEBAST | HEADQUE | NOORDER | ALTPR | ALTCW;
const onRequest = always | EXPEDITE | NODLCKWT;
const onConvert = always | CONVERT | QUECVT | IVVALBLK | CONVDEADLK | NODLCKWT;
const onUnlock = CANCEL | VALBLK | IVVALBLK | FORCEUNLOCK;

const RESOURCE_NAME = /^[ -~]{1,64}$/;

const isMode = (mode: ModeNumber): boolean => Number.isInteger(mode) && mode >= 0 && mode <= 5;

/** Base64 of a value block that fits. */
const fits = (lvb: string | undefined, lvbSize: number): boolean =>
  lvb === undefined || lvb.length <= 4 * Math.ceil(lvbSize / 3);

const badBuffer = (flags: number, lvb: string | undefined, lvbSize: number): boolean =>
  ((flags & VALBLK) !== 0 && lvb === undefined) || !fits(lvb, lvbSize);

interface Asked {
  readonly name: string;
  readonly mode: ModeNumber;
  readonly flags: number;
  readonly lvb?: string;
}

/** OK or EINVAL. Names are 1 to 64 printable ASCII characters. */
export function checkRequest({ name, mode, flags, lvb }: Asked, lvbSize: number): number {
  if (!RESOURCE_NAME.test(name) || !isMode(mode) || flags & ~onRequest) return lockStatus.EINVAL;
  if (flags & EXPEDITE && (mode !== 0 || flags & NOQUEUE)) return lockStatus.EINVAL;
  return badBuffer(flags, lvb, lvbSize) ? lockStatus.EINVAL : lockStatus.OK;
}

/** OK or EINVAL: what can be told without the lock. */
export function checkConvert({ mode, flags, lvb }: Asked, lvbSize: number): number {
  if (!isMode(mode) || flags & ~onConvert) return lockStatus.EINVAL;
  if (flags & CONVDEADLK && flags & NOQUEUE) return lockStatus.EINVAL;
  return badBuffer(flags, lvb, lvbSize) ? lockStatus.EINVAL : lockStatus.OK;
}

/** Requested modes that QUECVT may be used for, by granted mode. */
const quecvt = ["12345", "2345", "345", "245", "5", ""];

export const quecvtAllowed = (granted: ModeNumber, requested: ModeNumber): boolean =>
  quecvt[granted]?.includes(String(requested)) === true;

export function checkUnlock({ flags, lvb }: { flags: number; lvb?: string }, lvbSize: number): number {
  if (flags & ~onUnlock || (flags & CANCEL && flags & FORCEUNLOCK)) return lockStatus.EINVAL;
  return badBuffer(flags, lvb, lvbSize) ? lockStatus.EINVAL : lockStatus.OK;
}

/** OK or EINVAL: a lock as it may be reported. */
export function checkHeldLock({ name, lkid, queue, gr, rq, lvb }: HeldLock, lvbSize: number): number {
  const modes = { g: isMode(gr) && rq === -1, c: isMode(gr) && isMode(rq), w: gr === -1 && isMode(rq) }[queue];
  return RESOURCE_NAME.test(name) && lkid > 0 && modes && fits(lvb, lvbSize) ? lockStatus.OK : lockStatus.EINVAL;
}
