import { assert, unreachable } from "../base/assert.ts";
import { type Sector, type SectorRange, sector, sectorRange } from "../base/units.ts";
import { firstWindow, largestWindow, nextWindowSize, ownWindowMs, partSize, sharedWindowMs } from "./window-size.ts";

/**
 * One pass over what needs copying: find a range, announce a window of it, copy it in parts, go on. Pure. A part is
 * copied only after `announced`: from then on no other node writes in the window. Several parts may be asked for at a
 * time; they end in order. The same machine serves a resync (chunks with a bit) and a recovery (everything from a
 * position on); what "needs copying" means is for `scan` to say.
 *
 * A window is so small that nobody waits long. Where no other node is that could wait, it reaches to the end of the
 * array and is announced once: who joins finds it, and it becomes small as soon as that is noticed.
 */
export type ResyncState =
  | { readonly type: "idle" }
  | { readonly type: "scanning"; readonly pass: Pass; readonly from: Sector }
  | { readonly type: "announcing"; readonly pass: Pass; readonly window: SectorRange; readonly hi: Sector }
  | Copying
  /** Nothing is in flight; from `at` on nothing is done. */
  | { readonly type: "resting"; readonly pass: Pass; readonly at: Sector; readonly hi: Sector }
  /** The last window is being withdrawn. */
  | { readonly type: "closing"; readonly outcome: PassOutcome }
  | { readonly type: "ended"; readonly outcome: PassOutcome };

interface Copying {
  readonly type: "copying";
  readonly pass: Pass;
  /** Where the next part begins, the end of what is copied behind this window, and that of the range. */
  readonly next: Sector;
  readonly to: Sector;
  readonly hi: Sector;
  /** At work, in order. */
  readonly parts: readonly SectorRange[];
  /** What has been copied since the window's size was last thought over, and what it took. */
  readonly sectors: number;
  readonly copyMs: number;
  readonly announceMs: number;
  /** No more parts, since one of them has ended so. */
  readonly outcome: "failed" | "incomplete" | null;
}

interface Pass {
  readonly order: PassOrder;
  readonly windowSize: number;
  /** No other node is there. */
  readonly alone: boolean;
  /** The window of ours that is suspended on the other nodes. */
  readonly announced: SectorRange | null;
  /** It was made for nobody, and is too large for others. */
  readonly isWhole: boolean;
  readonly stopping: boolean;
  /** Something is to be done with nothing in flight. */
  readonly resting: boolean;
  /** Parts that no copy could give. */
  readonly unreadable: number;
}

export interface PassOrder {
  readonly from: Sector;
  /** Nothing is to be copied from here on. */
  readonly end: Sector;
  /** Sectors of a part, and of a window that others may wait for, at most. */
  readonly longest: number;
  readonly widest: number;
  /** One sector that cannot be read keeps nothing else from being copied. Else the pass ends there. */
  readonly skipsUnreadable: boolean;
  /** Windows and parts end at multiples of it, or with their range. */
  readonly grid: number;
  /** That many parts are asked for at a time. */
  readonly ahead: number;
}

/**
 * finished: nothing is left from the start of the pass to the end. incomplete: what no copy can give is left, and the
 * next pass will find it so. failed: a member failed, all is to be thought over. stopped: on request.
 */
export type PassOutcome = "finished" | "incomplete" | "failed" | "stopped";

/** Of a part. unreadable: all that could be copied was; sectors that no copy can give are left. */
export type CopyOutcome = "copied" | "unreadable" | "failed";

export type ResyncEvent =
  | { readonly type: "start"; readonly order: PassOrder; readonly alone: boolean }
  | { readonly type: "scanned"; readonly range: SectorRange | null }
  /** `ms`: from the first that held its writes, at the earliest, to the last. */
  | { readonly type: "announced"; readonly ms: number }
  /** The first of the parts at work. `ms`: since it was asked for, or the one before it ended. `rest`: pass.resting. */
  | {
      readonly type: "copied";
      readonly sectors: number;
      readonly outcome: CopyOutcome;
      readonly ms: number;
      readonly rest: boolean;
    }
  /** `withdrawn`: nothing is announced any more. */
  | { readonly type: "rested"; readonly withdrawn: boolean }
  | { readonly type: "withdrawn" }
  /** Other nodes are there, or none any more. */
  | { readonly type: "company"; readonly alone: boolean }
  /** The parts at work end first. */
  | { readonly type: "stop" };

export type ResyncEffect =
  | { readonly type: "scan"; readonly from: Sector }
  /** Answered by `announced` once every other node holds its writes in `window`. */
  | { readonly type: "announce"; readonly window: SectorRange }
  /** Answered by `copied`, while others of its kind are. */
  | { readonly type: "copy"; readonly part: SectorRange }
  /** Everything below `to` is done, but for what had to be skipped; before any other effect of the same step. */
  | { readonly type: "advance"; readonly to: Sector; readonly copied: number; readonly ms: number }
  /** Nothing is in flight: what was to wait for that. Answered by `rested`. */
  | { readonly type: "rest" }
  | { readonly type: "withdraw" }
  | { readonly type: "ended"; readonly outcome: PassOutcome };

export type ResyncStep = readonly [ResyncState, readonly ResyncEffect[]];

export const idleResync: ResyncState = { type: "idle" };

export function stepResync(state: ResyncState, event: ResyncEvent): ResyncStep {
  switch (event.type) {
    case "start": {
      assert(state.type === "idle" || state.type === "ended", "a pass is started while one runs");
      const { order, alone } = event;
      const begun = { announced: null, isWhole: false, stopping: false, resting: false, unreadable: 0 };
      return scan({ order, alone, windowSize: Math.min(firstWindow, order.widest), ...begun }, order.from);
    }
    case "scanned":
      assert(state.type === "scanning", "nobody asked for a scan");
      return onScanned(state.pass, event.range);
    case "announced":
      assert(state.type === "announcing", "nothing was announced");
      return copy(state.pass, state.window, state.hi, event.ms);
    case "copied":
      assert(state.type === "copying", "nothing was being copied");
      return onCopied(state, event);
    case "rested":
      assert(state.type === "resting", "nothing was at rest");
      return goOn(event.withdrawn ? { ...state.pass, announced: null } : state.pass, state.at, state.hi);
    case "withdrawn":
      assert(state.type === "closing", "no window was withdrawn");
      return [{ type: "ended", outcome: state.outcome }, [{ type: "ended", outcome: state.outcome }]];
    case "company":
      return [onCompany(state, event.alone), []];
    case "stop":
      return [withPass(state, { stopping: true }), []];
    default:
      return unreachable(event);
  }
}

const scan = (pass: Pass, from: Sector): ResyncStep => [{ type: "scanning", pass, from }, [{ type: "scan", from }]];

function onScanned(pass: Pass, range: SectorRange | null): ResyncStep {
  if (pass.stopping) return close(pass, "stopped");
  if (range === null) return close(pass, pass.unreadable > 0 ? "incomplete" : "finished");
  return goOn(pass, range.lo, range.hi);
}

/** From `at` on, in the range that ends at `hi`. */
function goOn(pass: Pass, at: Sector, hi: Sector): ResyncStep {
  if (pass.stopping) return close(pass, "stopped");
  if (at >= hi) return scan(pass, at);
  const { announced, alone, order } = pass;
  if (!alone) return announce(pass, sectorRange(at, Math.min(hi, onGrid(pass, at, pass.windowSize))), hi);
  const isAnnounced = announced !== null && announced.lo <= at && hi <= announced.hi;
  if (isAnnounced) return copy(pass, sectorRange(at, announced.hi), hi, 0);
  return announce(pass, sectorRange(at, Math.max(hi, order.end)), hi);
}

function announce(pass: Pass, window: SectorRange, hi: Sector): ResyncStep {
  const announcing = { ...pass, announced: window, isWhole: pass.alone };
  return [{ type: "announcing", pass: announcing, window, hi }, [{ type: "announce", window }]];
}

/** What is on the grid `size` behind `at`, or as little as may be. */
function onGrid({ order: { grid } }: Pass, at: number, size: number): number {
  return Math.max(Math.floor((at + size) / grid), Math.floor(at / grid) + 1) * grid;
}

/** The window is suspended everywhere. */
function copy(pass: Pass, window: SectorRange, hi: Sector, announceMs: number): ResyncStep {
  const to = sector(Math.min(window.hi, hi));
  const nothing = { parts: [], sectors: 0, copyMs: 0, outcome: null };
  return askForParts({ type: "copying", pass, next: window.lo, to, hi, announceMs, ...nothing });
}

function askForParts(state: Copying): ResyncStep {
  const { pass, to, hi } = state;
  const { order, windowSize } = pass;
  const size = Math.min(partSize(windowSize, order.ahead), order.longest);
  const parts = [...state.parts];
  const effects: ResyncEffect[] = [];
  let { next } = state;
  while (!drains(state) && parts.length < order.ahead && next < to) {
    const part = sectorRange(next, Math.min(to, onGrid(pass, next, size)));
    parts.push(part);
    effects.push({ type: "copy", part });
    next = part.hi;
  }
  if (parts.length > 0) return [{ ...state, next, parts }, effects];
  if (state.outcome !== null) return close(pass, state.outcome);
  if (pass.stopping || !pass.resting) return goOn(pass, next, hi);
  return [{ type: "resting", pass: { ...pass, resting: false }, at: next, hi }, [{ type: "rest" }]];
}

/** Is what is at work the last that is copied behind this window? */
const drains = ({ pass, outcome }: Copying): boolean =>
  outcome !== null || pass.stopping || pass.resting || (pass.isWhole && !pass.alone);

function onCopied(state: Copying, event: ResyncEvent & { readonly type: "copied" }): ResyncStep {
  const [part, ...parts] = state.parts;
  assert(part !== undefined, "no part was being copied");
  const { outcome, sectors, ms, rest } = event;
  const left = { ...state, parts, pass: { ...state.pass, resting: state.pass.resting || rest } };
  // What comes behind a part that was not copied is not reached.
  if (state.outcome !== null) return askForParts(left);
  if (outcome === "failed") return askForParts({ ...left, outcome });
  const unreadable = state.pass.unreadable + (outcome === "unreadable" ? 1 : 0);
  if (unreadable > 0 && !state.pass.order.skipsUnreadable) return askForParts({ ...left, outcome: "incomplete" });
  const pass = { ...left.pass, unreadable };
  const [next, effects] = askForParts(learn({ ...left, pass }, sectors, ms));
  return [next, [{ type: "advance", to: part.hi, copied: sectors, ms }, ...effects]];
}

/** As often as a window's worth was copied, or this one's end is: how large is it best? */
function learn(state: Copying, sectors: number, ms: number): Copying {
  const { pass, announceMs, parts, next, to } = state;
  const cost = { sectors: state.sectors + sectors, announceMs, copyMs: state.copyMs + ms };
  const isOver = parts.length === 0 && (next >= to || drains(state));
  if (!isOver && cost.sectors < pass.windowSize) return { ...state, sectors: cost.sectors, copyMs: cost.copyMs };
  const { alone, order } = pass;
  const aim = alone
    ? { widest: largestWindow, targetMs: ownWindowMs }
    : { widest: order.widest, targetMs: sharedWindowMs };
  const windowSize = nextWindowSize(pass.windowSize, cost, aim);
  return { ...state, pass: { ...pass, windowSize }, sectors: 0, copyMs: 0 };
}

/** Nothing of ours may stay suspended elsewhere. */
const close = (pass: Pass, outcome: PassOutcome): ResyncStep =>
  pass.announced !== null
    ? [{ type: "closing", outcome }, [{ type: "withdraw" }]]
    : [{ type: "ended", outcome }, [{ type: "ended", outcome }]];

/** Whoever comes waits: windows begin anew as small as the first one. */
function onCompany(state: ResyncState, alone: boolean): ResyncState {
  if (!("pass" in state) || state.pass.alone === alone) return state;
  const windowSize = Math.min(state.pass.windowSize, firstWindow, state.pass.order.widest);
  return withPass(state, alone ? { alone } : { alone, windowSize });
}

function withPass(state: ResyncState, change: Partial<Pass>): ResyncState {
  switch (state.type) {
    case "scanning":
    case "announcing":
    case "copying":
    case "resting":
      return { ...state, pass: { ...state.pass, ...change } };
    case "idle":
    case "closing":
    case "ended":
      return state;
    default:
      return unreachable(state);
  }
}
