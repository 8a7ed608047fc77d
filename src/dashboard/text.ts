/** Text on a grid of characters: every function here returns exactly the width it is asked for. */

/** Cut or padded on the right. Free text is cut with an ellipsis of one character; the grid is ASCII. */
export const left = (text: string, width: number): string =>
  text.length <= width ? text.padEnd(width) : `${text.slice(0, Math.max(0, width - 1))}~`;

export const right = (text: string, width: number): string =>
  text.length <= width ? text.padStart(width) : left(text, width);

/** A titled box `columns` wide around `rows` lines: extra lines are cut, missing ones are blank. */
export function box(title: string, hint: string, lines: readonly string[], columns: number, rows: number): string[] {
  const inner = columns - 2;
  const heading = `- ${title} `;
  const tail = hint === "" ? "-" : ` ${hint} -`;
  const top = `+${left(heading, Math.max(0, inner - tail.length)).replace(/ +$/, (blanks) => blanks.slice(0, 1) + "-".repeat(blanks.length - 1))}${tail}+`;
  const body = Array.from({ length: rows }, (_, i) => `|${left(lines[i] ?? "", inner)}|`);
  return [left(top, columns), ...body, `+${"-".repeat(inner)}+`];
}

const units = ["B", "K", "M", "G", "T", "P"];

/** 12.1M, 100.0G, 0B: at most six characters. */
export function shortSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${Math.round(value)}B` : `${value.toFixed(1)}${units[unit]}`;
}

/** 5m20s, 8h03m, 42s. */
export function shortDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${String(whole % 60).padStart(2, "0")}s`;
  return `${Math.floor(whole / 3600)}h${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")}m`;
}

/** Local time of day, HH:MM:SS. */
export function timeOfDay(epochMs: number): string {
  const date = new Date(epochMs);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** `[=====>......]` with `width` places between the brackets. */
export function bar(percent: number, width: number): string {
  const filled = Math.min(width, Math.floor((percent / 100) * width));
  return `[${"=".repeat(filled)}${filled < width ? ">" : ""}${".".repeat(Math.max(0, width - filled - 1))}]`;
}

/** One decimal, cut and never rounded up: only a finished action shows 100.0. */
export const percentText = (percent: number): string => `${(Math.floor(percent * 10) / 10).toFixed(1)}%`;
