import { MdError } from "../base/md-error.ts";
import { type Sector, sector } from "../base/units.ts";
import { addProgress, type ResyncProgress, startProgress } from "./resync-progress.ts";

export type ScrubAction = "check" | "repair";

/** Ranges that a report lists; more are counted. */
const MOST_RANGES = 1024;

/** What an operator asked for. */
export interface ScrubOrder {
  readonly action: ScrubAction;
  /** Array sectors, multiples of a request. */
  readonly from: Sector;
  readonly to: Sector;
  /** The member (descriptor number) whose copy is right; null: the majority decides. */
  readonly source: number | null;
}

/** Array sectors in which copies differ, or did; `members`: descriptor numbers of those that are not as most are. */
export interface MismatchRange {
  readonly lo: Sector;
  readonly hi: Sector;
  readonly kind: "differs" | "unreadable" | "repaired" | "undecided";
  readonly members: readonly number[];
}

/** What one window has brought. */
export interface WindowFindings {
  readonly mismatched: number;
  readonly ranges: readonly MismatchRange[];
  readonly isCut: boolean;
}

/** A check or repair, as far as it is or was. A value. */
export interface ScrubReport extends ScrubOrder {
  /** Another one for each that is ordered. */
  readonly id: number;
  /** stopped: it did not get to the end; `why` says what ended it. */
  readonly state: "running" | "finished" | "stopped";
  readonly why: string | null;
  /** Everything before is compared. */
  readonly reached: Sector;
  /** mismatch_cnt: sectors as md counts them. */
  readonly mismatched: number;
  readonly ranges: readonly MismatchRange[];
  /** There were more than are listed. */
  readonly isCut: boolean;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly endedAt: number | null;
}

/**
 * The check or repair that was asked of this node, and what the last one found. It lives as long as the node does: others
 * are not told of it (md-cluster does not carry mismatch counts either).
 */
export class Scrub {
  #report: ScrubReport | null = null;
  #lastId = 0;
  #progress: ResyncProgress = startProgress(0, 0);

  /** The one under way, or that waits for its turn. */
  get current(): ScrubReport | null {
    return this.#report?.state === "running" ? this.#report : null;
  }

  /** Of the one under way, or of the last one. */
  get report(): ScrubReport | null {
    return this.#report;
  }

  get progress(): ResyncProgress {
    return this.#progress;
  }

  /** Forgets what the last one found. E_SYNC_RUNNING while one is under way. `now`: monotonic; `wall`: since 1970. */
  begin(order: ScrubOrder, now: number, wall: number): void {
    const { current } = this;
    if (current !== null) {
      throw new MdError("E_SYNC_RUNNING", `a ${current.action} is under way already`, { hint: "mdctl action idle" });
    }
    const nothing = { why: null, reached: order.from, mismatched: 0, ranges: [], isCut: false, endedAt: null };
    this.#report = { ...order, ...nothing, id: ++this.#lastId, state: "running", startedAt: wall };
    this.#progress = startProgress(now, order.to - order.from);
  }

  /** Of the one with this id a window up to `to` was compared. If that is over: no effect. */
  advance(id: number, to: Sector, findings: WindowFindings, now: number): void {
    const report = this.current;
    if (report?.id !== id) return;
    this.#progress = addProgress(this.#progress, now, Math.max(0, to - report.reached));
    const { mismatched, isCut } = findings;
    const ranges = joined([...report.ranges, ...findings.ranges]);
    this.#report = {
      ...report,
      reached: sector(Math.max(report.reached, to)),
      mismatched: report.mismatched + mismatched,
      ranges: ranges.slice(0, MOST_RANGES),
      isCut: report.isCut || isCut || ranges.length > MOST_RANGES,
    };
  }

  /** It is over; null if it got to its end, else why not. Of one that is over already: no effect. */
  end(why: string | null, wall: number): void {
    const report = this.current;
    if (report === null) return;
    this.#report = { ...report, state: why === null ? "finished" : "stopped", why, endedAt: wall };
  }
}

/** Windows end where ranges do not. */
function joined(ranges: readonly MismatchRange[]): MismatchRange[] {
  const result: MismatchRange[] = [];
  for (const range of ranges) {
    const last = result.at(-1);
    const joins = last?.hi === range.lo && last.kind === range.kind && last.members.join() === range.members.join();
    if (joins && last !== undefined) result[result.length - 1] = { ...last, hi: range.hi };
    else result.push(range);
  }
  return result;
}

/** Is anything that it found still so? */
export const mismatchesLeft = ({ ranges, isCut }: ScrubReport): boolean =>
  isCut || ranges.some(({ kind }) => kind !== "repaired");
