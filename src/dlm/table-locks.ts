import type { BatchCall, BatchStep, ConvertCall, LockRequestCall, UnlockCall } from "./lock-call.ts";
import { BATCH_LIMIT } from "./lock-call.ts";
import { lockFlag } from "./lock-flags.ts";
import { cancelLock, convertLock, requestLock, unlockLock } from "./lock-resource.ts";
import { lockStatus } from "./lock-status.ts";
import { checkConvert, checkRequest, checkUnlock, quecvtAllowed } from "./lock-validation.ts";
import { countLocks, emptyResource, findLock, type ResourceLock } from "./resource-state.ts";
import type { TableMember } from "./table-member.ts";
import { type Outcome, ok, outcome, type TableState } from "./table-state.ts";

/** Bounds of a lockspace: what one call may have to read and write, and what a removal walks through. */
const MOST_LOCKS_ON_ONE = 1000;
const MOST_RESOURCES = 10_000;

/** The lock calls of a member, on the state of its lockspace. */

export function lock(state: TableState, member: TableMember, call: LockRequestCall): Outcome {
  const rc = checkRequest(call, state.settings.lvbSize);
  if (rc !== lockStatus.OK) return outcome(rc);
  const known = state.resources.get(call.name);
  if (known === undefined ? state.resources.size >= MOST_RESOURCES : countLocks(known) >= MOST_LOCKS_ON_ONE) {
    return outcome(lockStatus.ERANGE);
  }
  state.seq += 1;
  state.lkid += 1;
  const resource = known ?? emptyResource(call.name);
  state.resources.set(call.name, resource);
  const fresh: ResourceLock = {
    lkid: state.lkid,
    slot: member.slot,
    gr: -1,
    rq: call.mode,
    ex: call.flags,
    sb: 0,
    hi: 0,
    bast: call.bast,
    lvbSeq: 0,
    order: state.seq,
  };
  requestLock(resource, fresh, state.notify);
  state.forgetIfUnused(resource);
  return outcome(lockStatus.OK, fresh.lkid);
}

/** `granted`: at once. */
function convertOne(state: TableState, member: TableMember, step: BatchStep): { rc: number; granted: boolean } {
  const refused = (rc: number): { rc: number; granted: boolean } => ({ rc, granted: false });
  const rc = checkConvert(step, state.settings.lvbSize);
  if (rc !== lockStatus.OK) return refused(rc);
  const resource = state.resources.get(step.name);
  const found = resource && findLock(resource, member.slot, step.lkid);
  if (resource === undefined || found === undefined) return refused(lockStatus.ENOENT);
  if (step.flags & lockFlag.QUECVT && !quecvtAllowed(found.gr, step.mode)) return refused(lockStatus.EINVAL);
  if (!resource.granted.includes(found)) return refused(lockStatus.EBUSY);
  state.seq += 1;
  const asked = { mode: step.mode, flags: step.flags, input: step.lvb ?? null };
  const asOf = state.seq;
  const granted = convertLock(resource, found, asked, state.notify);
  if (resource.convert.includes(found)) found.order = asOf;
  return { rc: lockStatus.OK, granted };
}

export const convert = (state: TableState, member: TableMember, call: ConvertCall): Outcome =>
  outcome(convertOne(state, member, call).rc);

export function batch(state: TableState, member: TableMember, { steps }: BatchCall): Outcome {
  if (steps.length === 0 || steps.length > BATCH_LIMIT) return outcome(lockStatus.EINVAL);
  for (const [done, step] of steps.entries()) {
    const { rc, granted } = convertOne(state, member, step);
    if (rc !== lockStatus.OK) return outcome(rc, done);
    if (!granted) return outcome(lockStatus.OK, done + 1);
  }
  return outcome(lockStatus.OK, steps.length);
}

export function unlock(state: TableState, member: TableMember, call: UnlockCall): Outcome {
  const rc = checkUnlock(call, state.settings.lvbSize);
  if (rc !== lockStatus.OK) return outcome(rc);
  const resource = state.resources.get(call.name);
  const found = resource && findLock(resource, member.slot, call.lkid);
  if (resource === undefined || found === undefined) return outcome(lockStatus.ENOENT);
  if (call.flags & lockFlag.CANCEL) {
    state.seq += 1;
    cancelLock(resource, found, state.notify);
  } else {
    if (!(call.flags & lockFlag.FORCEUNLOCK) && !resource.granted.includes(found)) return outcome(lockStatus.EBUSY);
    state.seq += 1;
    unlockLock(resource, found, { flags: call.flags, input: call.lvb ?? null }, state.notify);
  }
  state.forgetIfUnused(resource);
  return ok;
}
