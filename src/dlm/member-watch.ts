import { type LeaseTimes, longestSilence, settleAfterExit } from "./lease.ts";
import type { MemberRecord } from "./lock-call.ts";
import type { ProcessIdentity } from "./process-identity.ts";

interface Seen {
  counter: number;
  /** When we saw this counter first. */
  since: number;
  /** When it was last seen to move; null: never. */
  movedAt: number | null;
  /** When we first knew that the process has ended. */
  goneSince: number | null;
  /** It ended long enough ago. */
  proved: boolean;
}

/**
 * Watches the renewal counters of members on our own clock and tells who is dead. Nobody else's clock is asked, and
 * the proof is checked again by the server, which evicts only a member whose counter is still the one seen here.
 */
export class MemberWatch {
  readonly #times: LeaseTimes;
  readonly #isProcessGone: (process: ProcessIdentity) => boolean;
  readonly #seen = new Map<string, Seen>();
  #lastAnswer: number | null = null;

  constructor(times: LeaseTimes, isProcessGone: (process: ProcessIdentity) => boolean = () => false) {
    this.#times = times;
    this.#isProcessGone = isProcessGone;
  }

  /** Forgets what it has seen: the lock server stood still, or is another one. */
  restart(): void {
    this.#seen.clear();
    this.#lastAnswer = null;
  }

  /** `members` as the server has just listed them, at `now` (ms). Returns those that are dead. */
  observe(now: number, members: readonly MemberRecord[]): readonly MemberRecord[] {
    const silent = this.#lastAnswer === null || now - this.#lastAnswer > longestSilence(this.#times);
    this.#lastAnswer = now;
    for (const incarnation of [...this.#seen.keys()]) {
      if (!members.some((member) => member.incarnation === incarnation)) this.#seen.delete(incarnation);
    }
    return members.filter((member) => this.#isDead(member, now, silent));
  }

  #isDead(member: MemberRecord, now: number, silent: boolean): boolean {
    const { incarnation, counter } = member;
    const seen = this.#seen.get(incarnation) ?? { counter, since: now, movedAt: null, goneSince: null, proved: false };
    this.#seen.set(incarnation, seen);
    if (seen.counter !== counter) {
      seen.counter = counter;
      seen.since = now;
      seen.movedAt = now;
    } else if (silent) {
      seen.since = now;
    }
    if (member.process !== undefined && seen.goneSince === null && this.#isProcessGone(member.process)) {
      seen.goneSince = now;
    }
    if (seen.goneSince !== null && now - seen.goneSince >= settleAfterExit(this.#times)) {
      seen.proved = true;
      return true;
    }
    return now - seen.since >= this.#times.leaseMs;
  }

  /** Dead, and proved to be by the end of its process: there is nothing left to fence. */
  isProvedGone(incarnation: string): boolean {
    return this.#seen.get(incarnation)?.proved === true;
  }

  /** Has this member renewed while we watched it? */
  hasMoved(incarnation: string): boolean {
    return this.seenAt(incarnation) !== null;
  }

  /** When this member was last seen to renew; null: not while we watched it. */
  seenAt(incarnation: string): number | null {
    return this.#seen.get(incarnation)?.movedAt ?? null;
  }

  /** Milliseconds until the next member is dead, if none of them renews; infinite if that is known of none. */
  untilDeath(now: number): number {
    const { leaseMs } = this.#times;
    const deaths = [...this.#seen.values()].map(({ since, goneSince }) =>
      Math.min(
        since + leaseMs,
        goneSince === null ? Number.POSITIVE_INFINITY : goneSince + settleAfterExit(this.#times),
      ),
    );
    // Who is dead already is being removed.
    return Math.min(...deaths.filter((at) => at > now)) - now;
  }

  /** When it will be declared dead for want of a renewal; null: it is not known. */
  deadAt(incarnation: string): number | null {
    const seen = this.#seen.get(incarnation);
    return seen === undefined ? null : seen.since + this.#times.leaseMs;
  }
}
