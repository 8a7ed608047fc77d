import type { MemberRecord } from "./lock-call.ts";
import { lockStatus } from "./lock-status.ts";

/**
 * Who fences whom, as one member sees it. A silent member is taken into fencing (`fence_begin`), the configured methods
 * are run, and their outcome is told (`fence_result`); until one succeeds, its locks stand. One member does it at a time;
 * another takes over when that one is gone or stands still. Pure; times are milliseconds of one monotonic clock.
 */
export interface FencingDesk {
  readonly times: FencingTimes;
  /** By the victim's incarnation. */
  readonly cases: ReadonlyMap<string, FencingCase>;
}

export interface FencingTimes {
  /** What one attempt may take. */
  readonly timeoutMs: number;
  /** Pause after the first failure; it doubles with each further one. */
  readonly retryMs: number;
  readonly longestRetryMs: number;
}

export type FencingCase =
  | { readonly phase: "beginning" }
  /** Nothing is done to it before all living members know of it: one of them could be the only one to remember. */
  | { readonly phase: "announced"; readonly token: number; readonly generation: number }
  | { readonly phase: "fencing"; readonly token: number; readonly tries: number }
  | ({ readonly phase: "telling"; readonly token: number; readonly tries: number } & Outcome)
  | { readonly phase: "resting"; readonly token: number; readonly tries: number; readonly until: number }
  /** Another member does it: since when its record looks as it does. */
  | { readonly phase: "watching"; readonly token: number; readonly tries: number; readonly since: number };

interface Outcome {
  readonly ok: boolean;
  readonly evidence: string;
}

export type FencingEvent = FencingLook | FencingNews;

interface FencingLook {
  /** The members as the lock server lists them; `dead` are those whose lease is over by our clock. */
  readonly type: "look";
  readonly now: number;
  /** Of the answer: what has a higher number happened after it. */
  readonly seq: number;
  /** The members are reporting what they hold: what each of them knows cannot be told then. */
  readonly rebuilding: boolean;
  readonly own: string;
  readonly members: readonly MemberRecord[];
  readonly dead: readonly MemberRecord[];
}

type FencingNews =
  /** The answer to fence_begin; rc null: there was none. */
  | {
      readonly type: "begun";
      readonly victim: string;
      readonly rc: number | null;
      readonly value: number;
      readonly generation: number;
    }
  | ({ readonly type: "fenced"; readonly victim: string; readonly token: number } & Outcome)
  | { readonly type: "told"; readonly victim: string; readonly rc: number | null; readonly now: number };

export type FencingEffect =
  | { readonly type: "begin"; readonly victim: MemberRecord; readonly takesOver: number | null }
  /** Run the methods. */
  | { readonly type: "fence"; readonly victim: string; readonly token: number }
  /** It is no longer ours to fence it: what runs must end, and its outcome means nothing. */
  | { readonly type: "drop"; readonly victim: string }
  | ({ readonly type: "tell"; readonly victim: string; readonly token: number } & Outcome);

export type FencingStep = readonly [FencingDesk, readonly FencingEffect[]];

const pauseAfter = ({ retryMs, longestRetryMs }: FencingTimes, tries: number): number =>
  Math.min(longestRetryMs, retryMs * 2 ** Math.min(tries, 20));

export const newFencingDesk = (times: FencingTimes): FencingDesk => ({ times, cases: new Map() });

export const stepFencing = (desk: FencingDesk, event: FencingEvent): FencingStep =>
  event.type === "look" ? look(desk, event) : hear(desk, event);

function hear(desk: FencingDesk, event: FencingNews): FencingStep {
  const { victim } = event;
  const known = desk.cases.get(victim);
  switch (event.type) {
    case "begun": {
      if (known?.phase !== "beginning") return [desk, []];
      // If somebody else fences it, or it lives, the next look tells.
      if (event.rc !== lockStatus.OK) return [withCase(desk, victim, null), []];
      const token = event.value;
      return [withCase(desk, victim, { phase: "announced", token, generation: event.generation }), []];
    }
    case "fenced": {
      if (known?.phase !== "fencing" || known.token !== event.token) return [desk, []];
      const { ok, evidence, token } = event;
      const next = withCase(desk, victim, { phase: "telling", token, tries: known.tries, ok, evidence });
      return [next, [{ type: "tell", victim, token, ok, evidence }]];
    }
    case "told": {
      // Without an answer it is told again at the next look.
      if (known?.phase !== "telling" || event.rc === null) return [desk, []];
      // ESTALE: somebody else does it now.
      if (event.rc !== lockStatus.OK || known.ok) return [withCase(desk, victim, null), []];
      const { token, tries } = known;
      const until = event.now + pauseAfter(desk.times, tries);
      return [withCase(desk, victim, { phase: "resting", token, tries: tries + 1, until }), []];
    }
  }
}

function look(desk: FencingDesk, event: FencingLook): FencingStep {
  const cases = new Map<string, FencingCase>();
  const effects: FencingEffect[] = [];
  for (const member of event.members) {
    const before = desk.cases.get(member.incarnation);
    const [after, effect] = lookAt(desk.times, before, member, event);
    if (after !== undefined) cases.set(member.incarnation, after);
    effects.push(...effect);
  }
  for (const [victim, { phase }] of desk.cases) {
    // Somebody proved its end, or vouched for it: its successor may have joined already.
    if (phase === "fencing" && !event.members.some((member) => member.incarnation === victim)) {
      effects.push({ type: "drop", victim });
    }
  }
  return [{ ...desk, cases }, effects];
}

type CaseStep = readonly [FencingCase | undefined, readonly FencingEffect[]];

function lookAt(
  times: FencingTimes,
  before: FencingCase | undefined,
  victim: MemberRecord,
  event: FencingLook,
): CaseStep {
  const { incarnation, fence } = victim;
  const isOurs = before !== undefined && before.phase !== "beginning" && before.phase !== "watching";
  // Another has taken it over.
  if (isOurs && event.seq >= before.token && fence?.token !== before.token) {
    const [after, effects] = lookOn(times, undefined, victim, event);
    return [after, [{ type: "drop", victim: incarnation }, ...effects]];
  }
  return lookOn(times, before, victim, event);
}

function lookOn(
  times: FencingTimes,
  before: FencingCase | undefined,
  victim: MemberRecord,
  { now, own, members, dead, rebuilding }: FencingLook,
): CaseStep {
  const { incarnation, fence, state } = victim;
  switch (before?.phase) {
    case "beginning":
    case "fencing":
      return [before, []];
    case "announced": {
      const { token, generation } = before;
      const areDeaf = members.filter(
        (member) => member.state === "active" && !dead.includes(member) && (member.knows ?? 0) < generation,
      );
      if (areDeaf.length > 0 && !rebuilding) return [before, []];
      return [{ phase: "fencing", token, tries: 0 }, [{ type: "fence", victim: incarnation, token }]];
    }
    case "telling": {
      const { token, ok, evidence } = before;
      return [before, [{ type: "tell", victim: incarnation, token, ok, evidence }]];
    }
    case "resting":
      if (now < before.until) return [before, []];
      return [{ ...before, phase: "fencing" }, [{ type: "fence", victim: incarnation, token: before.token }]];
    case "watching":
    case undefined:
      break;
  }
  if (state !== "fencing" || fence === undefined) {
    if (!dead.includes(victim)) return [undefined, []];
    return [{ phase: "beginning" }, [{ type: "begin", victim, takesOver: null }]];
  }
  const { token, tries, owner } = fence;
  // Its own record of it is gone, as after a restart of the lock server: to begin anew gives the token back. One that has
  // not reported yet may still be at it.
  const orphaned =
    owner === own || !members.some((member) => member.incarnation === owner && member.state !== "fencing");
  if (orphaned) return [{ phase: "beginning" }, [{ type: "begin", victim, takesOver: null }]];
  if (before?.token !== token || before.tries !== tries) return [{ phase: "watching", token, tries, since: now }, []];
  const limit = times.timeoutMs + pauseAfter(times, Math.max(0, tries - 1)) + times.retryMs;
  if (now - before.since < limit) return [before, []];
  return [{ phase: "beginning" }, [{ type: "begin", victim, takesOver: token }]];
}

function withCase(desk: FencingDesk, victim: string, one: FencingCase | null): FencingDesk {
  const cases = new Map(desk.cases);
  if (one === null) cases.delete(victim);
  else cases.set(victim, one);
  return { ...desk, cases };
}
