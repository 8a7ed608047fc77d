import { isLastCopy } from "../array/array-state.ts";
import { memberByNumber } from "../array/md-array.ts";
import { hasFlag, MemberFlag } from "../array/member.ts";
import { countReadError, MAX_READ_ERRORS, type ReadErrorCount } from "../array/read-error-count.ts";
import { MdError } from "../base/md-error.ts";
import { sectorRange } from "../base/units.ts";
import type { EngineNotice } from "../engine/engine-protocol.ts";
import { failByCommand } from "./device-change.ts";
import { countCorrected, countError, memberText, type NodeContext } from "./node-context.ts";
import type { ResyncAnnouncer } from "./resync-announcer.ts";

type ReadError = Extract<EngineNotice, { type: "readError" }>;
type PassedBy = Extract<EngineNotice, { type: "badBlocksSeen" }>;

/** Array sectors that a member could not read. */
interface Unreadable {
  readonly number: number;
  readonly place: number;
  readonly lo: number;
  hi: number;
}

/** Sectors: a disk that cannot read one of its blocks can write only all of it. */
const BLOCK = 8;
/** Sectors that others keep away from at a time. */
const LONGEST_WINDOW = 2048;
const MOST_WAITING = 64;
/** Milliseconds until what no copy could give is tried again. */
const LOST_MS = 60_000;

const blocksOf = (at: number, sectors: number): { readonly lo: number; readonly hi: number } => ({
  lo: Math.floor(at / BLOCK) * BLOCK,
  hi: Math.ceil((at + sectors) / BLOCK) * BLOCK,
});

/**
 * What members could not read: it is written to them from another copy and read again, and a member that has too much of
 * it is taken out, but for the last copy. In md only the node that has read keeps away from the block meanwhile, and may
 * put back what another node has just overwritten. So it is done as a resync is: with the `resync` lock, behind a window
 * that all nodes have acknowledged.
 */
export class ReadErrors {
  readonly #context: NodeContext;
  /** By member, of each of its memberships. */
  readonly #counts = new Map<string, ReadErrorCount>();
  readonly #waiting: Unreadable[] = [];
  readonly #leaving = new Set<number>();
  #lost: { readonly what: Unreadable; readonly until: number }[] = [];

  constructor(context: NodeContext) {
    this.#context = context;
  }

  /** Is there something to rewrite? */
  get hasWork(): boolean {
    return this.#waiting.length > 0;
  }

  /** The data plane could not read. Another copy has served, or the client knows. */
  found(notice: ReadError): void {
    const { members, history, array } = this.#context;
    const { place, at, sectors } = notice;
    const number = members.numberAt(place);
    if (number === null) return;
    countError(this.#context, number, "read");
    const what = { number, place, ...blocksOf(at, sectors) };
    if (this.#isKnown(what)) return;
    const who = memberText(this.#context, number);
    history.add("warn", "READERROR", `${who}: read error at ${at}`, notice);
    const state = memberByNumber(array, number)?.state;
    if (!this.#context.safeMode.mayCopy || (state !== "in_sync" && state !== "rebuilding")) return;
    // There is nothing to write it from.
    if (state === "in_sync" && isLastCopy(array, number)) return;
    const why = notice.during === "read" ? this.#whyOut(number) : null;
    if (why !== null) {
      void this.#takeOut(number, why);
      return;
    }
    this.#wait(what);
    this.#context.lookForWork();
  }

  /** A repair has found that the member's bad-block log lists it: if it can be written now, it is good again. */
  passedBy({ place, at, sectors }: PassedBy): void {
    const number = this.#context.members.numberAt(place);
    if (number === null || !this.#context.safeMode.mayCopy) return;
    const what = { number, place, ...blocksOf(at, sectors) };
    if (this.#isKnown(what)) return;
    this.#wait(what);
    this.#context.lookForWork();
  }

  /** We have the `resync` lock. Nothing stays suspended on the other nodes, whatever goes wrong. */
  async workOff(others: ResyncAnnouncer, stop: AbortSignal): Promise<void> {
    if (!this.hasWork) return;
    for (let what = this.#waiting[0]; what !== undefined && !stop.aborted; what = this.#waiting[0]) {
      try {
        await this.#rewrite(others, what, stop);
      } catch (error) {
        await others.withdraw();
        throw error;
      } finally {
        this.#waiting.shift();
      }
    }
    await others.end();
  }

  async #rewrite(others: ResyncAnnouncer, what: Unreadable, stop: AbortSignal): Promise<void> {
    const { number, place } = what;
    let corrected = 0;
    let lost = 0;
    for (let lo = what.lo; lo < what.hi && !stop.aborted; lo += LONGEST_WINDOW) {
      const { engine, members, array } = this.#context;
      const hi = Math.min(what.hi, lo + LONGEST_WINDOW, array.size);
      if (members.numberAt(place) !== number || lo >= hi) break;
      const window = sectorRange(lo, hi);
      await others.show(window);
      const answer = await engine.send({ type: "rewrite", place, range: window });
      corrected += answer.sectors;
      lost += answer.lost;
      if (answer.givenUp) break;
    }
    countCorrected(this.#context, number, corrected);
    this.#tell(what, corrected, lost);
  }

  #tell(what: Unreadable, corrected: number, lost: number): void {
    const { history, env } = this.#context;
    const who = memberText(this.#context, what.number);
    const where = `in [${what.lo}, ${what.hi})`;
    const fields = { ...what, corrected, lost };
    if (corrected > 0)
      history.add("info", "REWRITE", `${who}: ${corrected} sectors ${where} were rewritten and read again`, fields);
    if (lost === 0) return;
    history.add("error", "READERROR", `${who}: ${lost} sectors ${where} cannot be read, nor written anew`, fields);
    this.#lost.push({ what, until: env.clock.now() + LOST_MS });
    if (this.#lost.length > MOST_WAITING) this.#lost.shift();
  }

  #isKnown({ number, lo, hi }: Unreadable): boolean {
    const now = this.#context.env.clock.now();
    this.#lost = this.#lost.filter(({ until }) => now < until);
    const covers = (one: Unreadable): boolean => one.number === number && one.lo <= lo && hi <= one.hi;
    return this.#waiting.some(covers) || this.#lost.some(({ what }) => covers(what));
  }

  #wait(what: Unreadable): void {
    const last = this.#waiting.at(-1);
    // The first may be at work.
    const joins = this.#waiting.length > 1 && last?.place === what.place && last.number === what.number;
    if (joins && last.hi === what.lo) last.hi = what.hi;
    else if (this.#waiting.length < MOST_WAITING) this.#waiting.push(what);
  }

  /** Why the member goes, null if it stays. */
  #whyOut(number: number): string | null {
    const { members, env, array } = this.#context;
    const member = memberByNumber(array, number);
    if (member !== null && hasFlag(member, MemberFlag.failfast)) return "a read error, and it is to fail fast";
    const key = `${number} ${members.lifeOf(number)}`;
    const count = countReadError(this.#counts.get(key) ?? null, env.clock.now());
    this.#counts.set(key, count);
    return count.errors > MAX_READ_ERRORS ? `more than ${MAX_READ_ERRORS} read errors within an hour` : null;
  }

  async #takeOut(number: number, why: string): Promise<void> {
    if (this.#leaving.has(number)) return;
    this.#leaving.add(number);
    const { history, env } = this.#context;
    const who = memberText(this.#context, number);
    const text = `${who}: ${why}`;
    history.add("error", "ERROR", text, { number });
    try {
      await failByCommand(this.#context, number);
    } catch (error) {
      if (!(error instanceof MdError)) throw error;
      // The next read error tries it again.
      if (error.code === "E_LAST_COPY") history.add("error", "LASTCOPY", `${who} stays: ${error.message}`, { number });
      else env.log.warn({ evt: "read-errors", err: error.message }, text);
    } finally {
      this.#leaving.delete(number);
    }
  }
}
