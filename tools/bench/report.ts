import { cpus, release } from "node:os";

export interface Row {
  readonly case: string;
  readonly subject: string;
  readonly value: number;
  readonly unit: string;
}

/** What every bench prints with `--json`: figures of one run on one machine; only the ratios may be compared elsewhere. */
export interface Report {
  readonly name: string;
  readonly machine: string;
  readonly rows: readonly Row[];
  readonly ratios: Readonly<Record<string, number>>;
}

export const machine = (): string =>
  `${cpus().length} x ${cpus()[0]?.model.trim() ?? "unknown"}, Linux ${release()}, Node ${process.versions.node}`;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? Number.NaN) + high) / 2;
}

/** `part` from 0 to 1: the smallest value that so large a part of all is not above. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN;
}

/** Three digits that mean something, and never fewer than the whole ones. */
const figure = (value: number): string => (value >= 100 ? String(Math.round(value)) : value.toPrecision(3));

export function renderReport({ name, machine: where, rows, ratios }: Report): string {
  const width = Math.max(...rows.map((row) => row.case.length));
  const subject = Math.max(...rows.map((row) => row.subject.length));
  return [
    `${name} on ${where}`,
    ...rows.map(
      (row) => `  ${row.case.padEnd(width)}  ${row.subject.padEnd(subject)}  ${figure(row.value)} ${row.unit}`,
    ),
    "ratios (ours / theirs):",
    ...Object.entries(ratios).map(([key, ratio]) => `  ${key.padEnd(width + subject)}  ${ratio.toFixed(2)}`),
    "",
  ].join("\n");
}
