import type { ArrayInfo } from "../../daemon/control-api.ts";
import { left, percentText, right, shortSize } from "../text.ts";
import { type DashboardState, healthMark } from "../view-model.ts";

/** One row an array; columns are dropped by priority where the screen is narrow, never squeezed. */
export function arrayRows(
  state: DashboardState,
  arrays: readonly ArrayInfo[],
  selected: number,
  width: number,
): string[] {
  const nameWidth = Math.max(4, ...arrays.map(({ name }) => name.length)) + 2;
  const columns = columnsFor(width, nameWidth);
  const heading = ` ${columns.map(({ title, width: cell, text }) => (text === right ? right(title, cell) : left(title, cell))).join("")}`;
  const rows = arrays.map((array, index) => {
    const cells = columns.map(({ value, width: cell, text }) => text(value(array, state), cell));
    return `${index === selected ? ">" : " "}${cells.join("")}`;
  });
  return [heading, ...rows];
}

interface Column {
  readonly title: string;
  readonly width: number;
  readonly text: (text: string, width: number) => string;
  readonly value: (array: ArrayInfo, state: DashboardState) => string;
  /** Dropped in this order when there is no room; 0 stays. */
  readonly drop: number;
}

function columnsFor(width: number, nameWidth: number): readonly Column[] {
  let columns: readonly Column[] = [
    { title: "NAME", width: nameWidth, text: left, drop: 0, value: ({ name }) => name },
    { title: "LEVEL", width: 8, text: left, drop: 2, value: ({ level }) => level },
    { title: "SIZE", width: 8, text: left, drop: 3, value: ({ sizeBytes }) => shortSize(sizeBytes) },
    { title: "MEMBERS", width: 9, text: left, drop: 0, value: memberLetters },
    { title: "HEALTH", width: 10, text: left, drop: 0, value: ({ health }) => healthMark[health] },
    { title: "STATE", width: 9, text: left, drop: 4, value: ({ state }) => state },
    { title: "SYNC", width: 14, text: left, drop: 0, value: syncText },
    {
      title: "READ",
      width: 6,
      text: right,
      drop: 1,
      value: (array, { rates }) => rateText(rates.get(array.name)?.read),
    },
    {
      title: "WRITE",
      width: 7,
      text: right,
      drop: 1,
      value: (array, { rates }) => rateText(rates.get(array.name)?.write),
    },
  ];
  const needed = (): number => columns.reduce((sum, column) => sum + column.width, 1);
  for (let drop = 1; drop <= 4 && needed() > width; drop++) columns = columns.filter((column) => column.drop !== drop);
  return columns;
}

const rateText = (bytesPerSecond: number | undefined): string =>
  bytesPerSecond === undefined ? "-" : shortSize(bytesPerSecond);

export function memberLetters({ raidDevices, members }: ArrayInfo): string {
  const inSync = new Set(members.filter((member) => member.inSync).map((member) => member.slot));
  return `[${Array.from({ length: raidDevices }, (_, slot) => (inSync.has(slot) ? "U" : "_")).join("")}]`;
}

function syncText({ sync }: ArrayInfo): string {
  switch (sync.status) {
    case "none":
      return "-";
    case "running":
      return sync.percent === null ? sync.action : `${sync.action} ${percentText(sync.percent)}`;
    case "remote":
      return sync.percent === null ? `${sync.action} remote` : `${sync.action} ${percentText(sync.percent)}`;
    case "pending":
    case "delayed":
    case "frozen":
      return sync.waitingFor === null ? sync.status : `${sync.status} (${sync.waitingFor})`;
    default:
      return sync.status satisfies never;
  }
}
