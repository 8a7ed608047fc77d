import { slotNumber } from "../base/units.ts";
import type { LockConflict, MemberRecord } from "./lock-call.ts";
import { lockModes } from "./lock-mode.ts";
import type { Frozen, LockConflict as NamedConflict } from "./lockspace.ts";
import type { MemberWatch } from "./member-watch.ts";
import type { RemasterState } from "./remaster.ts";

/** What people should know of a re-mastering; null when there is none. `latest`: when a member seen now first is dead. */
export function frozenState(state: RemasterState, watch: MemberWatch, latest: number): Frozen | null {
  if (state.phase === "running" || state.phase === "ended") return null;
  const { reason, since, members, conflicts } = state;
  const reported = (members ?? []).filter((member) => member.state === "active");
  const missing = (members ?? []).filter((member) => member.state !== "active");
  const deaths = missing.map(({ incarnation }) => watch.deadAt(incarnation) ?? latest);
  return {
    reason,
    since,
    reported: reported.map(({ node }) => node),
    missing: missing.map(({ node }) => node),
    deadline: missing.length > 0 ? Math.max(...deaths) : null,
    conflicts: conflicts.map((conflict) => named(conflict, members ?? [])),
  };
}

const named = ({ name, locks }: LockConflict, members: readonly MemberRecord[]): NamedConflict => ({
  resource: name,
  locks: locks.map(({ slot, mode }) => ({
    slot: slotNumber(slot - 1),
    node: members.find((member) => member.slot === slot)?.node ?? `slot ${slot - 1}`,
    mode: lockModes[mode] ?? "NL",
  })),
});

/** One sentence for the log. */
export function frozenText({ reason, reported, missing, conflicts }: Frozen): string {
  const [first] = conflicts;
  if (first !== undefined) {
    const who = first.locks.map(({ node, mode }) => `${node} (${mode})`).join(" and ");
    return `locks are not granted: ${who} both hold ${first.resource}; evict one of them`;
  }
  if (missing.length === 0) return `locks are not granted: ${reason}`;
  const total = reported.length + missing.length;
  return `locks are not granted: ${reason}; ${reported.length} of ${total} nodes reported, ${missing.join(", ")} did not`;
}
