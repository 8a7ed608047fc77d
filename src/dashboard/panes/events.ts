import type { HistoryEvent } from "../../daemon/control-api.ts";
import { left, timeOfDay } from "../text.ts";

/** The newest events that fit, oldest of them first. */
export function eventRows(events: readonly HistoryEvent[], rows: number): string[] {
  const shown = events.slice(-rows);
  const node = Math.max(2, ...shown.map((event) => (event.node ?? "-").length));
  const array = Math.max(3, ...shown.map((event) => (event.array ?? "-").length));
  return shown.map(
    (event) =>
      ` ${timeOfDay(Date.parse(event.time))}  ${left(event.node ?? "-", node)}  ${left(event.array ?? "-", array)}  ${left(event.event, 10)} ${event.text}`,
  );
}
