import type { DlmSlot, EvictCall, FenceBeginCall, FenceResultCall, JoinCall, MemberSighting } from "./lock-call.ts";
import { removeLocksOf } from "./lock-resource.ts";
import { lockStatus } from "./lock-status.ts";
import { newMember, type TableMember } from "./table-member.ts";
import { finishRecovery } from "./table-recovery.ts";
import { type Outcome, ok, outcome, sameSettings, type TableState } from "./table-state.ts";

/** Who is a member: joining, leaving, being evicted or fenced. */

const isUnchanged = (state: TableState, sighting: MemberSighting): boolean =>
  state.member(sighting)?.counter === sighting.counter;

export function join(state: TableState, call: JoinCall): Outcome {
  for (const { incarnation, slot, state: standing } of state.members.values()) {
    if (incarnation !== call.incarnation) continue;
    return standing === "active" ? outcome(lockStatus.OK, slot) : outcome(lockStatus.EFENCED);
  }
  for (const sighting of call.gone) if (isUnchanged(state, sighting)) remove(state, sighting.slot, true);
  if (state.phase === "recover") return outcome(lockStatus.ERECOVER);
  for (const { node, state: standing } of state.members.values()) {
    if (node === call.node || standing === "fencing") return outcome(lockStatus.EBUSY);
  }
  const { slots, leaseMs, lvbSize, fencing } = call;
  const settings = { slots, leaseMs, lvbSize, fencing };
  if (state.members.size === 0) state.settings = settings;
  else if (!sameSettings(state.settings, settings)) return outcome(lockStatus.EPROTO);
  let slot = 1;
  while (state.members.has(slot)) slot += 1;
  if (slot > Math.min(state.settings.slots, call.limit ?? slots)) return outcome(lockStatus.ERANGE);

  state.seq += 1;
  state.generation += 1;
  state.tellAll({ type: "prep" });
  state.tellAll({ type: "joined", slot, node: call.node });
  const { node, incarnation, process } = call;
  state.members.set(slot, newMember({ slot, node, incarnation, process }, "active", 0, state.generation));
  state.tellDone();
  return outcome(lockStatus.OK, slot);
}

export function leave(state: TableState, member: TableMember): Outcome {
  state.seq += 1;
  remove(state, member.slot, false);
  return ok;
}

export function evict(state: TableState, { victim, evidence }: EvictCall): Outcome {
  const member = state.member(victim);
  if (member === undefined) return ok; // somebody was faster
  if (evidence === "lease" && member.state === "fencing") return outcome(lockStatus.EBUSY);
  if (evidence !== "operator" && member.counter !== victim.counter) return outcome(lockStatus.EALIVE);
  state.seq += 1;
  remove(state, victim.slot, true);
  return ok;
}

export function fenceBegin(state: TableState, owner: TableMember, { victim, takesOver }: FenceBeginCall): Outcome {
  const member = state.member(victim);
  if (member === undefined) return outcome(lockStatus.ENOENT);
  if (member === owner) return outcome(lockStatus.EINVAL);
  const { fence } = member;
  if (fence === undefined) {
    if (member.counter !== victim.counter) return outcome(lockStatus.EALIVE);
    state.seq += 1;
    member.fence = { token: state.seq, owner: owner.incarnation, tries: 0 };
    member.state = "fencing";
    if (state.phase === "run") {
      // Members that know of this generation know who is being fenced.
      state.generation += 1;
      state.tellAll({ type: "prep" });
    }
    return outcome(lockStatus.OK, member.fence.token);
  }
  if (fence.owner === owner.incarnation) return outcome(lockStatus.OK, fence.token);
  const owned = state.sortedMembers.some((m) => m.incarnation === fence.owner && m.state === "active");
  if (owned && takesOver !== fence.token) return outcome(lockStatus.EBUSY, fence.token);
  state.seq += 1;
  member.fence = { token: state.seq, owner: owner.incarnation, tries: fence.tries };
  return outcome(lockStatus.OK, state.seq);
}

export function fenceResult(state: TableState, { victim, token, ok: done }: FenceResultCall): Outcome {
  const member = state.member(victim);
  if (member === undefined) return ok;
  const { fence } = member;
  if (fence === undefined || fence.token !== token) return outcome(lockStatus.ESTALE);
  state.seq += 1;
  if (done) remove(state, victim.slot, true);
  else member.fence = { ...fence, tries: fence.tries + 1 };
  return ok;
}

/**
 * prep, then who is gone, then what its locks held up, then done: nobody gets a dead member's lock before the news.
 * While the others report their locks nothing is told: the end of the recovery tells it.
 */
function remove(state: TableState, slot: DlmSlot, dead: boolean): void {
  const member = state.members.get(slot);
  if (member === undefined) return;
  state.members.delete(slot);
  if (state.phase === "recover") {
    state.departed.set(member.incarnation, { dead });
    finishRecovery(state);
    return;
  }
  state.generation += 1;
  state.tellAll({ type: "prep" });
  state.tellAll({ type: dead ? "failed" : "left", slot, node: member.node });
  for (const resource of state.sortedResources) {
    removeLocksOf(resource, slot, dead, state.notify);
    state.forgetIfUnused(resource);
  }
  state.tellDone();
}
