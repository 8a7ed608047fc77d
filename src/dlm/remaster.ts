import type { LockConflict, LockReply, MemberRecord } from "./lock-call.ts";
import { lockStatus, lockStatusName } from "./lock-status.ts";

/**
 * What a member does when the lock server has lost its state. Every member knows what it holds, so the state is rebuilt
 * from the members' reports, and nothing is granted before all have reported or are declared dead. Pure.
 */
export type RemasterState =
  /** Calls are executed. */
  | { readonly phase: "running"; readonly epoch: number }
  /** Nothing is sent. Notifications that came before the loss are still being handled. */
  | ({ readonly phase: "collecting" } & Loss)
  /** The report is sent again and again until it is answered. */
  | ({ readonly phase: "reporting" } & Loss)
  /** In a new epoch: renewals count again, lock calls wait for the reports of the others. */
  | ({ readonly phase: "checked_in" } & Loss)
  | { readonly phase: "ended" };

interface Loss {
  /** The epoch that our calls carry. */
  readonly epoch: number;
  readonly reason: string;
  /** `Clock.now` of the first sign of it. */
  readonly since: number;
  /** Which life of the lock server the report is for. */
  readonly server: string | undefined;
  /** As the lock server lists them; null until it was asked. */
  readonly members: readonly MemberRecord[] | null;
  readonly conflicts: readonly LockConflict[];
}

export type RemasterEvent =
  /** An answer to a call that was made in the present epoch; to a report, whichever it was. */
  | { readonly type: "answered"; readonly to: "report" | "call"; readonly reply: LockReply; readonly now: number }
  /** Everything that was heard is handled, and the report is made. */
  | { readonly type: "collected" }
  /** A notification of the present epoch. */
  | { readonly type: "notified" };

export type RemasterEffect =
  /** No calls but reports; what is under way is not waited for. */
  | { readonly type: "park" }
  | { readonly type: "collect" }
  | { readonly type: "report" }
  /** From now on calls carry this epoch, and notifications are numbered from 1. */
  | { readonly type: "enter"; readonly epoch: number }
  | { readonly type: "resume" }
  /** What `frozenBy` tells has changed. */
  | { readonly type: "tell" }
  /** The membership is over. */
  | { readonly type: "end"; readonly reason: string };

export type RemasterStep = readonly [RemasterState, readonly RemasterEffect[]];

const losses = new Map<number, string>([
  [lockStatus.ENOLS, "the lock server has lost the lockspace"],
  [lockStatus.EIDENT, "the lock server was restarted or replaced"],
  [lockStatus.EEPOCH, "the lock server rebuilds the lockspace"],
  [lockStatus.ELOST, "the lock server went back to an older state"],
]);

/** Answers after which this incarnation can do nothing any more, and why. */
const ends = new Map<number, string>([
  [lockStatus.EFENCED, "it was declared dead by another member"],
  [lockStatus.EGAP, "the lock server misses calls that it had answered"],
  [lockStatus.ESTALE, "the lock server does not know a call any more that is still unanswered"],
]);

export function stepRemaster(state: RemasterState, event: RemasterEvent): RemasterStep {
  if (state.phase === "ended") return [state, []];
  switch (event.type) {
    case "answered":
      return event.to === "report" ? onReport(state, event.reply) : onCall(state, event.reply, event.now);
    case "collected":
      return state.phase === "collecting" ? [{ ...state, phase: "reporting" }, [{ type: "report" }]] : [state, []];
    case "notified":
      // Before everybody has reported there is nothing to notify of.
      return state.phase === "checked_in" ? run(state.epoch) : [state, []];
  }
}

function onCall(state: RemasterState, reply: LockReply, now: number): RemasterStep {
  if (state.phase !== "running" && state.phase !== "checked_in") return [state, []];
  const end = ends.get(reply.rc);
  if (end !== undefined) return over(`${end} (${lockStatusName(reply.rc)})`);
  const reason = losses.get(reply.rc);
  if (reason === undefined) return state.phase === "checked_in" ? look(state, reply) : [state, []];
  // Lost again while we waited: it has lasted since the first time.
  const loss = state.phase === "checked_in" ? state : { reason, since: now, epoch: state.epoch };
  const { server } = reply;
  const next: RemasterState = { ...loss, phase: "collecting", server, members: null, conflicts: [] };
  return [next, [{ type: "park" }, { type: "collect" }, { type: "tell" }]];
}

function onReport(state: RemasterState, reply: LockReply): RemasterStep {
  // Every report is answered in the end, also one that was repeated since.
  if (state.phase !== "reporting" && state.phase !== "checked_in") return [state, []];
  const { rc, epoch, server } = reply;
  if (losses.has(rc)) return [{ ...state, phase: "reporting", server }, []];
  if (rc === lockStatus.ESTALE) return [state, []]; // a later copy of it was there first
  if (rc !== lockStatus.OK && rc !== lockStatus.ECONFLICT) {
    return over(`${ends.get(rc) ?? "its report was refused"} (${lockStatusName(rc)})`);
  }
  const enter: readonly RemasterEffect[] = epoch === state.epoch ? [] : [{ type: "enter", epoch }];
  if (reply.state === "run") {
    const [next, effects] = run(epoch);
    return [next, [...enter, ...effects]];
  }
  const [next, effects] = look({ ...state, phase: "checked_in", epoch }, reply);
  return [next, [...enter, ...(state.phase === "reporting" ? [{ type: "tell" } as const] : effects)]];
}

/** What an answer says of the others' reports. */
function look(state: RemasterState & { readonly phase: "checked_in" }, reply: LockReply): RemasterStep {
  if (reply.state === "run") return run(state.epoch);
  if (reply.state === undefined) return [state, []];
  const { members = state.members, conflicts = state.conflicts } = reply;
  const next = { ...state, members, conflicts };
  return [next, signOf(next) === signOf(state) ? [] : [{ type: "tell" }]];
}

const run = (epoch: number): RemasterStep => [{ phase: "running", epoch }, [{ type: "resume" }, { type: "tell" }]];

const over = (reason: string): RemasterStep => [{ phase: "ended" }, [{ type: "end", reason }]];

/** Equal for two states that look the same to people. */
const signOf = ({ members, conflicts }: Loss): string =>
  JSON.stringify([members?.map(({ node, state }) => [node, state]), conflicts]);
