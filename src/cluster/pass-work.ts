import { type Sector, type SectorRange, sector, sectorRange } from "../base/units.ts";
import { CHECK_SECTORS } from "../engine/engine-protocol.ts";
import { personalityOf } from "../engine/personalities.ts";
import type { CopyOutcome } from "../resync/resync-machine.ts";
import type { ScrubAction, ScrubReport, WindowFindings } from "../resync/scrub.ts";
import { smallestWindow } from "../resync/window-size.ts";
import { arrayRangeOf, fillEnd, sectionAt } from "./fill-order.ts";
import { type Filling, isFilling, nextToFill, sectorsToFill } from "./filling.ts";
import type { NodeContext } from "./node-context.ts";
import { membersNow } from "./resync-retry.ts";
import { scrubWindow } from "./scrub-window.ts";

/** A part of a check or repair: from where it is now on. */
export interface Scrubbing {
  readonly type: ScrubAction;
  readonly report: ScrubReport;
}

/** What a pass is about: chunks with a bit, all of the members that are being filled, or all copies of everything. */
export type Copying = { readonly type: "resync" } | Filling | Scrubbing;

export const isScrub = (copying: Copying): copying is Scrubbing =>
  copying.type === "check" || copying.type === "repair";

/** What a pass has to do, wherever: by the data plane, and as the members were when it began. */
export class PassWork {
  readonly copying: Copying;
  readonly #context: NodeContext;
  readonly #membersBefore: string;

  constructor(context: NodeContext, copying: Copying) {
    this.#context = context;
    this.copying = copying;
    this.#membersBefore = membersNow(context);
  }

  /** Sectors, roughly. */
  async total(): Promise<number> {
    const { engine, array } = this.#context;
    if (this.copying.type === "recover") return sectorsToFill(this.copying, array);
    if (isScrub(this.copying)) return this.copying.report.to - this.copying.report.from;
    const { needed } = await engine.send({ type: "queryBitmap" });
    return Math.min(needed * array.bitmap.layout.chunkSectors, array.size);
  }

  /** Parts end at multiples of it. A chunk that is copied in part keeps its bit: small ones are copied as a whole. */
  get grid(): number {
    if (isScrub(this.copying)) return CHECK_SECTORS;
    const { chunkSectors } = this.#context.array.bitmap.layout;
    return this.copying.type === "resync" && chunkSectors <= smallestWindow ? chunkSectors : 1;
  }

  /** Nothing is to be copied from here on. */
  get end(): Sector {
    const { size } = this.#context.array;
    if (this.copying.type === "recover") return fillEnd(personalityOf(this.#context.array));
    return isScrub(this.copying) ? sector(Math.min(this.copying.report.to, size)) : size;
  }

  /** The array sectors of a window or part. Those of a pass are positions, where members are filled. */
  arrayRange(window: SectorRange): SectorRange {
    return this.copying.type === "recover" ? arrayRangeOf(personalityOf(this.#context.array), window) : window;
  }

  /** What is to be copied next, from `from` on; null for nothing. */
  async scan(from: Sector): Promise<SectorRange | null> {
    const { engine, array } = this.#context;
    // What a member lacks is known from where the pass began to the end: no gap, and no answer instead of it.
    if (this.copying.type === "recover") return nextToFill(this.copying, array, from);
    if (isScrub(this.copying)) {
      return from < this.end ? sectorRange(from, this.end) : null;
    }
    return (await engine.send({ type: "scan", kind: "resync", from })).range;
  }

  /** Of a part that every other node keeps away from: sectors that were copied, and what became of it. */
  async copy(window: SectorRange): Promise<{ readonly sectors: number; readonly outcome: CopyOutcome }> {
    const { engine, scrub, env } = this.#context;
    if (isScrub(this.copying)) {
      const findings = await scrubWindow(this.#context, this.copying.report, window);
      if (findings === null) return { sectors: 0, outcome: "failed" };
      scrub.advance(this.copying.report.id, window.hi, findings, env.clock.now());
      if (findings.mismatched > 0) tellMismatches(this.#context, findings);
      return { sectors: window.hi - window.lo, outcome: "copied" };
    }
    const { type: kind } = this.copying;
    const section = kind === "recover" ? sectionAt(personalityOf(this.#context.array), window.lo) : null;
    const range = this.arrayRange(window);
    const { sectors, failed, aimless } = await engine.send({ type: "copy", kind, range, section });
    if (this.#isLost(aimless)) return { sectors, outcome: "failed" };
    return { sectors, outcome: failed ? this.#whyFailed() : "copied" };
  }

  /** Is any device that this pass fills no longer there to be filled, or did the data plane find none? */
  #isLost(aimless: boolean): boolean {
    if (this.copying.type !== "recover") return false;
    const isThere = this.copying.targets.every((target) => isFilling(this.#context, this.#context.array, target));
    return !isThere || aimless;
  }

  #whyFailed(): CopyOutcome {
    const now = membersNow(this.#context);
    return now === this.#membersBefore && !now.includes("blocked") ? "unreadable" : "failed";
  }
}

function tellMismatches({ history, scrub }: NodeContext, { mismatched, ranges, isCut }: WindowFindings): void {
  const first = ranges[0];
  const where = first === undefined ? "" : `: [${first.lo}, ${first.hi}) ${first.kind}`;
  const action = scrub.report?.action ?? "check";
  const text = `copies differ in ${ranges.length}${isCut ? "+" : ""} ranges${where}`;
  history.add("warn", "MISMATCH", text, { action, mismatched, ranges, isCut });
}
