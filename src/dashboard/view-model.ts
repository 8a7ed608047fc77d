import type { ArrayInfo, HistoryEvent, NodeInfo, StatusData } from "../daemon/control-api.ts";

/** Everything that a frame is drawn from. Plain data: a recorded state draws the same frame. */
export interface DashboardState {
  readonly status: StatusData | null;
  readonly events: readonly HistoryEvent[];
  /** Epoch milliseconds: what the clock in the header shows. */
  readonly now: number;
  /** How often it is drawn again, for the header. */
  readonly refreshSeconds: number;
  /** Bytes per second by array name, over the last refresh; absent until two samples exist. */
  readonly rates: ReadonlyMap<string, { readonly read: number; readonly write: number }>;
  /** Null while connected; else how often the daemon has been called in vain. */
  readonly retries: number | null;
}

export interface FrameOptions {
  readonly columns: number;
  readonly rows: number;
  /** Index of the selected array. */
  readonly selected: number;
}

export interface FrameSize {
  readonly columns: number;
  readonly rows: number;
}

/** Worst first; the row order is stable within a severity. */
export function bySeverity(arrays: readonly ArrayInfo[]): readonly ArrayInfo[] {
  const severity = ({ health, sync }: ArrayInfo): number =>
    ({ failed: 0, unknown: 1, degraded: 2, optimal: sync.action === "idle" ? 4 : 3 })[health];
  return [...arrays].sort((a, b) => severity(a) - severity(b) || a.name.localeCompare(b.name));
}

export const healthMark: Record<ArrayInfo["health"], string> = {
  optimal: "[OK]",
  degraded: "[!!]",
  failed: "[XX]",
  unknown: "[??]",
};

export const nodeMark: Record<NodeInfo["state"], string> = {
  up: "[OK]",
  joining: "[..]",
  leaving: "[..]",
  suspect: "[!!]",
  down: "[XX]",
  evicted: "[XX]",
};
