import { safeText } from "./safe-text.ts";

/** Columns as wide as their widest cell, two blanks between them; the last one is not padded. */
export function table(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  right: ReadonlySet<number> = new Set(),
): string {
  const all = [heading, ...rows].map((row) => row.map(safeText));
  const widths = heading.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const lines = all.map((row) =>
    row
      .map((cell, column) =>
        right.has(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
  return `${lines.join("\n")}\n`;
}

/** Tab-separated, no heading. */
export const plainTable = (rows: readonly (readonly string[])[]): string =>
  rows.map((row) => `${row.map(safeText).join("\t")}\n`).join("");
