import type { DlmSlot, HeldLock, LockConflict, MemberRecord, RecoverCall } from "./lock-call.ts";
import { modesConflict, regrant } from "./lock-resource.ts";
import { lockStatus } from "./lock-status.ts";
import { checkHeldLock } from "./lock-validation.ts";
import { emptyResource, type LockResource, type ResourceLock } from "./resource-state.ts";
import { isWhole, newMember } from "./table-member.ts";
import { type Outcome, outcome, sameSettings, type TableState } from "./table-state.ts";

/**
 * Re-mastering: a lock table is rebuilt from what its members report. What the server kept, or got back from a disk or
 * a replica, is never trusted: the members hold what they hold.
 */

/** A report, which opens the recovery if there is none yet. */
export function recover(state: TableState, call: RecoverCall): Outcome {
  if (!isSound(call)) return outcome(lockStatus.EINVAL);
  if (state.lsid === "") {
    open(state, call);
  } else if (state.lsid !== call.lsid) {
    return outcome(lockStatus.EFENCED);
  } else if (state.phase === "run") {
    const member = state.member(call);
    const broken = member !== undefined && !isWhole(member);
    // Numbers of an older epoch say nothing of this one: who was evicted in between may have seen higher ones.
    const wentBack = state.epoch === call.epoch && state.seq < call.seen;
    const isLost = state.epoch < call.epoch || wentBack || broken;
    // One that has reported already, and asks again because the answer was lost.
    if (!isLost) return member?.state === "active" ? outcome(lockStatus.OK, call.slot) : outcome(lockStatus.EFENCED);
    open(state, call);
  } else if (state.epoch <= call.epoch) {
    open(state, call); // who has reported below this epoch may have gone on in it meanwhile
  }
  return checkIn(state, call);
}

function open(state: TableState, call: RecoverCall): void {
  state.lsid = call.lsid;
  state.phase = "recover";
  state.epoch = Math.max(state.epoch, call.epoch) + 1;
  state.generation = call.generation;
  state.settings = call.settings;
  state.members.clear();
  state.resources.clear();
  state.departed.clear();
  adopt(state, call.members);
}

/** The list of members that counts. Those that have reported, or are being fenced, stay what they are. */
function adopt(state: TableState, list: readonly MemberRecord[]): void {
  const known = [...state.members.values()];
  state.members.clear();
  for (const record of list) {
    if (state.departed.has(record.incarnation)) continue;
    const member = known.find(({ slot, incarnation }) => slot === record.slot && incarnation === record.incarnation);
    state.members.set(record.slot, member ?? newMember(record, "absent", record.counter, 0));
  }
}

function checkIn(state: TableState, call: RecoverCall): Outcome {
  if (!sameSettings(state.settings, call.settings)) return outcome(lockStatus.EPROTO);
  if (call.generation > state.generation) {
    state.generation = call.generation;
    adopt(state, call.members);
  }
  const member = state.member(call);
  if (member === undefined || member.state === "fencing") {
    finishRecovery(state);
    return outcome(lockStatus.EFENCED);
  }
  if (call.counter < member.counter) {
    finishRecovery(state);
    return outcome(lockStatus.ESTALE);
  }
  state.seq = Math.max(state.seq, call.seen);
  state.lkid = Math.max(state.lkid, call.lkid);
  member.counter = call.counter;
  member.state = "active";
  member.knows = call.generation;
  member.lastRid = call.lastRid;
  member.report = { members: call.members, locks: call.locks };
  for (const record of call.members) if (record.state === "fencing") stayFenced(state, record, call.incarnation);
  finishRecovery(state);
  return outcome(conflictsOf(state).length > 0 ? lockStatus.ECONFLICT : lockStatus.OK, call.slot);
}

/**
 * Whoever was being fenced when the state was lost stays so, also if it has reported: something may have been done to it
 * already, or be under way. It counts as missing until the fencing has succeeded.
 */
function stayFenced(state: TableState, record: MemberRecord, reporter: string): void {
  const member = state.member(record);
  if (member === undefined || member.state === "fencing" || member.incarnation === reporter) return;
  state.seq += 1;
  member.state = "fencing";
  member.fence = { token: state.seq, owner: record.fence?.owner ?? reporter, tries: record.fence?.tries ?? 0 };
}

/** All counters stay below it: what counts beyond it is no report of a member. */
const MOST = 1e14;

/** Nothing in it contradicts itself. */
function isSound(call: RecoverCall): boolean {
  const { settings, members, locks } = call;
  const counters = [call.epoch, call.seen, call.lkid, call.generation, call.lastRid, call.counter];
  if (counters.some((counter) => counter >= MOST)) return false;
  const slots = new Set(members.map(({ slot }) => slot));
  if (slots.size !== members.length || [...slots].some((slot) => slot < 1 || slot > settings.slots)) return false;
  return locks.every((lock) => checkHeldLock(lock, settings.lvbSize) === lockStatus.OK);
}

interface Reported extends HeldLock {
  readonly slot: DlmSlot;
}

/** Does nothing until everybody on the list has reported, or was removed from it, and nothing contradicts. */
export function finishRecovery(state: TableState): void {
  if (!isComplete(state) || conflictsOf(state).length > 0) return;
  rebuild(state, reportsByName(state));
}

const isComplete = ({ phase, members }: TableState): boolean =>
  phase === "recover" && [...members.values()].every(({ state }) => state === "active");

/** Everybody has reported, and this cannot be. */
export function conflictsOf(state: TableState): readonly LockConflict[] {
  if (!isComplete(state)) return [];
  return reportsByName(state).flatMap(([name, locks]) => conflictOn(name, locks) ?? []);
}

/** Sorted by name. */
function reportsByName(state: TableState): [string, Reported[]][] {
  const byName = new Map<string, Reported[]>();
  for (const { slot, report } of state.sortedMembers) {
    for (const lock of report?.locks ?? []) {
      const others = byName.get(lock.name) ?? [];
      byName.set(lock.name, others);
      others.push({ ...lock, slot });
    }
  }
  return [...byName].sort(([a], [b]) => (a < b ? -1 : 1));
}

function conflictOn(name: string, locks: readonly Reported[]): LockConflict | null {
  const involved = locks.filter((a) => locks.some((b) => a !== b && modesConflict(a.gr, b.gr)));
  if (involved.length === 0) return null;
  const sorted = involved.sort((a, b) => a.slot - b.slot || a.lkid - b.lkid);
  return { name, locks: sorted.map(({ slot, gr }) => ({ slot, mode: gr })) };
}

/** prep, who is missing, what is granted and whom it blocks, done: numbered from 1 in the new epoch. */
function rebuild(state: TableState, byName: readonly (readonly [string, readonly Reported[]])[]): void {
  state.phase = "run";
  state.seq += 1;
  state.generation += 1;
  state.tellAll({ type: "prep" });
  for (const { slot, report } of state.sortedMembers) {
    const gone = [...(report?.members ?? [])].filter((record) => state.member(record) === undefined);
    for (const { slot: place, node, incarnation } of gone.sort((a, b) => a.slot - b.slot)) {
      const type = state.departed.get(incarnation)?.dead === false ? "left" : "failed";
      state.tell(slot, { type, slot: place, node });
    }
  }
  for (const [name, locks] of byName) {
    const resource = rebuiltResource(name, locks);
    state.resources.set(name, resource);
    regrant(resource, state.notify);
  }
  state.tellDone();
  for (const member of state.members.values()) member.report = null;
  state.departed.clear();
}

function rebuiltResource(name: string, locks: readonly Reported[]): LockResource {
  const sorted = [...locks].sort((a, b) => a.order - b.order || a.slot - b.slot || a.lkid - b.lkid);
  const on = (queue: HeldLock["queue"]): ResourceLock[] =>
    sorted
      .filter((lock) => lock.queue === queue)
      .map(({ queue: _queue, name: _name, lvb: _lvb, ...lock }) => ({ ...lock, sb: 0, hi: 0 }));
  const queues = { granted: on("g"), convert: on("c"), wait: on("w") };
  // The value of whoever holds it above CR is the present one; others may have missed the last write.
  const valued = locks
    .filter(({ lvb }) => lvb !== undefined)
    .sort((a, b) => Number(b.gr > CR) - Number(a.gr > CR) || b.lvbSeq - a.lvbSeq || a.lkid - b.lkid);
  const [best] = valued;
  if (best?.lvb === undefined) {
    // A value that its holders know to be invalid is not one that was never written.
    const lvbSeq = Math.max(...locks.map((lock) => lock.lvbSeq));
    const value = lvbSeq > 0 ? { lvb: "", lvbSeq, lvbInvalid: true } : {};
    return { ...emptyResource(name), ...queues, ...value };
  }
  return { ...emptyResource(name), ...queues, lvb: best.lvb, lvbSeq: best.lvbSeq, lvbInvalid: best.gr <= CR };
}

const CR = 1;
