import { arrayRows } from "./panes/arrays.ts";
import { eventRows } from "./panes/events.ts";
import { adviceLine, headerLine } from "./panes/header.ts";
import { lockServiceRows } from "./panes/lock-service.ts";
import { memberRows } from "./panes/members.ts";
import { nodeRows } from "./panes/nodes.ts";
import { syncRows, syncTitle } from "./panes/sync.ts";
import { box, left } from "./text.ts";
import { bySeverity, type DashboardState, type FrameOptions, type FrameSize } from "./view-model.ts";

export const SMALLEST: FrameSize = { columns: 60, rows: 15 };

interface Pane {
  readonly title: string;
  readonly hint: string;
  readonly lines: readonly string[];
  /** Rows it wants inside its frame. */
  readonly wants: number;
}

/**
 * The overview as text: exactly `rows` lines of exactly `columns` characters. A pure function of what it is given;
 * painting is somebody else's.
 */
export function frame(state: DashboardState, options: FrameOptions): string[] {
  const { columns, rows } = options;
  if (columns < SMALLEST.columns || rows < SMALLEST.rows) {
    const note = `terminal is ${columns}x${rows}, need ${SMALLEST.columns}x${SMALLEST.rows} (q quits)`;
    return Array.from({ length: rows }, (_, row) =>
      row === 0 ? note.slice(0, columns).padEnd(columns) : " ".repeat(columns),
    );
  }
  const top = [headerLine(state, columns), adviceLine(state, columns)].filter((line) => line !== null);
  const keys = left(" arrows select   p pause   r redraw   q quit", columns);
  const room = rows - top.length - 1;
  const lines = panesFor(state, options, room).flatMap((pane) =>
    box(pane.title, pane.hint, pane.lines, columns, pane.wants),
  );
  const blank = Array.from({ length: Math.max(0, room - lines.length) }, () => " ".repeat(columns));
  return [...top, ...lines.slice(0, room), ...blank, keys];
}

/** Fills `room` lines: arrays first, then what the state calls for; events take what is left. */
function panesFor(state: DashboardState, { columns, rows, selected }: FrameOptions, room: number): Pane[] {
  const arrays = bySeverity(state.status?.arrays ?? []);
  const inner = columns - 2;
  const chosen = arrays[Math.min(selected, arrays.length - 1)];
  const list = arrayRows(state, arrays, selected, inner);
  const panes: Pane[] = [
    { title: `Arrays (${arrays.length})`, hint: "sort: severity", lines: list, wants: Math.min(list.length, 6) },
  ];
  const service = state.status === null ? [] : lockServiceRows(state.status);
  if (service.length > 0) panes.push({ title: "Lock service", hint: "", lines: service, wants: service.length });
  if (chosen !== undefined && rows >= 24) {
    if (chosen.sync.status !== "none") {
      const lines = syncRows(chosen, inner);
      panes.push({ title: syncTitle(chosen), hint: "", lines, wants: Math.min(lines.length, 4) });
    }
    const members = memberRows(chosen, inner);
    panes.push({ title: `${chosen.name} members`, hint: "", lines: members, wants: Math.min(members.length, 5) });
  }
  const nodes = nodeRows(state.status?.nodes ?? [], chosen, state.status?.node ?? "");
  if (rows >= 24) panes.push({ title: "Nodes", hint: "", lines: nodes, wants: Math.max(1, Math.min(nodes.length, 4)) });
  const used = (): number => panes.reduce((sum, pane) => sum + pane.wants + 2, 0);
  while (used() + 3 > room && panes.length > 2) panes.splice(panes.length - 1, 1);
  const left = room - used() - 2;
  if (left >= 1) panes.push({ title: "Events", hint: "", lines: eventRows(state.events, left), wants: left });
  return panes;
}
