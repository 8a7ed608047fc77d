import { assert, unreachable } from "../base/assert.ts";
import { type Sector, type SectorRange, sector, sectorRange } from "../base/units.ts";
import { firstWindow, nextWindowSize, windowLimit } from "./window-size.ts";

/**
 * One pass over what needs copying: find a range, announce a window of it, copy it, go on. Pure. A window is copied only
 * after `announced`: from then on no other node writes in it. The same machine serves a resync (chunks with a bit) and a
 * recovery (everything from a position on); what "needs copying" means is for `scan` to say.
 */
export type ResyncState =
  | { readonly type: "idle" }
  | { readonly type: "scanning"; readonly pass: Pass; readonly from: Sector }
  | { readonly type: "announcing"; readonly pass: Pass; readonly window: SectorRange; readonly hi: Sector }
  | {
      readonly type: "copying";
      readonly pass: Pass;
      readonly window: SectorRange;
      readonly hi: Sector;
      readonly announceMs: number;
    }
  /** The last window is being withdrawn. */
  | { readonly type: "closing"; readonly outcome: PassOutcome }
  | { readonly type: "ended"; readonly outcome: PassOutcome };

interface Pass {
  readonly windowSize: number;
  readonly windowLimit: number;
  /** Is a window of ours suspended on the other nodes? */
  readonly announced: boolean;
  readonly stopping: boolean;
  readonly skipsUnreadable: boolean;
  readonly grid: number;
  /** Windows that no copy could give. */
  readonly unreadable: number;
}

/**
 * finished: nothing is left from the start of the pass to the end. incomplete: what no copy can give is left, and the
 * next pass will find it so. failed: a member failed, all is to be thought over. stopped: on request.
 */
export type PassOutcome = "finished" | "incomplete" | "failed" | "stopped";

/** Of a window. unreadable: all that could be copied was; sectors that no copy can give are left. */
export type CopyOutcome = "copied" | "unreadable" | "failed";

export type ResyncEvent =
  /**
   * `total`: sectors that need copying, roughly. `skipsUnreadable`: one sector that cannot be read keeps nothing else
   * from being copied. Else the pass ends there. `grid`: windows end at multiples of it, or with their range.
   */
  | {
      readonly type: "start";
      readonly from: Sector;
      readonly total: number;
      readonly skipsUnreadable: boolean;
      readonly grid: number;
    }
  | { readonly type: "scanned"; readonly range: SectorRange | null }
  /** `ms`: from the first that held its writes, at the earliest, to the last. */
  | { readonly type: "announced"; readonly ms: number }
  | { readonly type: "copied"; readonly sectors: number; readonly outcome: CopyOutcome; readonly ms: number }
  | { readonly type: "withdrawn" }
  /** The copy under way ends first. */
  | { readonly type: "stop" };

export type ResyncEffect =
  | { readonly type: "scan"; readonly from: Sector }
  /** Answered by `announced` once every other node holds its writes in `window`. */
  | { readonly type: "announce"; readonly window: SectorRange }
  | { readonly type: "copy"; readonly window: SectorRange }
  /** Everything below `to` is done, but for what had to be skipped; before the next window. */
  | { readonly type: "advance"; readonly to: Sector; readonly copied: number; readonly ms: number }
  | { readonly type: "withdraw" }
  | { readonly type: "ended"; readonly outcome: PassOutcome };

export type ResyncStep = readonly [ResyncState, readonly ResyncEffect[]];

export const idleResync: ResyncState = { type: "idle" };

export function stepResync(state: ResyncState, event: ResyncEvent): ResyncStep {
  switch (event.type) {
    case "start": {
      assert(state.type === "idle" || state.type === "ended", "a pass is started while one runs");
      const { skipsUnreadable, grid } = event;
      const limit = windowLimit(event.total);
      const windowSize = Math.min(firstWindow, limit);
      const begun = { announced: false, stopping: false, unreadable: 0 };
      const pass = { windowSize, windowLimit: limit, skipsUnreadable, grid, ...begun };
      return [{ type: "scanning", pass, from: event.from }, [{ type: "scan", from: event.from }]];
    }
    case "scanned":
      assert(state.type === "scanning", "nobody asked for a scan");
      return onScanned(state.pass, event.range);
    case "announced":
      assert(state.type === "announcing", "nothing was announced");
      if (state.pass.stopping) return close(state.pass, "stopped");
      return [{ ...state, type: "copying", announceMs: event.ms }, [{ type: "copy", window: state.window }]];
    case "copied":
      assert(state.type === "copying", "nothing was being copied");
      return onCopied(state, event);
    case "withdrawn":
      assert(state.type === "closing", "no window was withdrawn");
      return [{ type: "ended", outcome: state.outcome }, [{ type: "ended", outcome: state.outcome }]];
    case "stop":
      return onStop(state);
    default:
      return unreachable(event);
  }
}

function onScanned(pass: Pass, range: SectorRange | null): ResyncStep {
  if (pass.stopping) return close(pass, "stopped");
  if (range === null) return close(pass, pass.unreadable > 0 ? "incomplete" : "finished");
  return announce(pass, range.lo, range.hi);
}

function announce(pass: Pass, lo: Sector, hi: Sector): ResyncStep {
  const { windowSize, grid } = pass;
  const end = Math.max(Math.floor((lo + windowSize) / grid), Math.floor(lo / grid) + 1) * grid;
  const window = sectorRange(lo, Math.min(hi, end));
  return [{ type: "announcing", pass: { ...pass, announced: true }, window, hi }, [{ type: "announce", window }]];
}

function onCopied(
  state: ResyncState & { readonly type: "copying" },
  { sectors, outcome, ms }: ResyncEvent & { readonly type: "copied" },
): ResyncStep {
  if (outcome === "failed") return close(state.pass, "failed");
  const { window, hi } = state;
  const unreadable = state.pass.unreadable + (outcome === "unreadable" ? 1 : 0);
  if (unreadable > 0 && !state.pass.skipsUnreadable) return close(state.pass, "incomplete");
  const cost = { sectors, announceMs: state.announceMs, copyMs: ms };
  const windowSize = nextWindowSize(state.pass.windowSize, cost, state.pass.windowLimit);
  const pass = { ...state.pass, windowSize, unreadable };
  const advance: ResyncEffect = { type: "advance", to: window.hi, copied: sectors, ms };
  const [next, effects] = nextWindow(pass, window.hi, hi);
  return [next, [advance, ...effects]];
}

function nextWindow(pass: Pass, at: Sector, hi: Sector): ResyncStep {
  if (pass.stopping) return close(pass, "stopped");
  if (at < hi) return announce(pass, at, hi);
  return [{ type: "scanning", pass, from: sector(at) }, [{ type: "scan", from: sector(at) }]];
}

/** Nothing of ours may stay suspended elsewhere. */
const close = (pass: Pass, outcome: PassOutcome): ResyncStep =>
  pass.announced
    ? [{ type: "closing", outcome }, [{ type: "withdraw" }]]
    : [{ type: "ended", outcome }, [{ type: "ended", outcome }]];

function onStop(state: ResyncState): ResyncStep {
  switch (state.type) {
    case "scanning":
    case "announcing":
    case "copying":
      return [{ ...state, pass: { ...state.pass, stopping: true } }, []];
    case "idle":
    case "closing":
    case "ended":
      return [state, []];
    default:
      return unreachable(state);
  }
}
