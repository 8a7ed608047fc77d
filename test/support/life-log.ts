import type { HoldRecord, LifeTrace } from "../../src/sim/replay/holds.ts";
import { parseTrace, type TraceRecord } from "../../src/sim/replay/parse-trace.ts";

/** What one daemon process has logged, and when it was killed (CLOCK_MONOTONIC, ms), if it was. */
export interface LifeLog {
  readonly life: string;
  readonly lines: readonly string[];
  readonly killedAt: number | null;
}

/** What it says of its locks and its lease. */
export const lifeTrace = ({ life, lines, killedAt }: LifeLog): LifeTrace => ({
  life,
  records: lines
    .filter((line) => line.includes('"evt":"lock.held"') || line.includes('"evt":"lease.until"'))
    .map((line) => JSON.parse(line) as HoldRecord),
  killedAt,
});

/** What it says of its machines' steps. */
export const machineRecords = ({ life, lines }: LifeLog): readonly TraceRecord[] =>
  parseTrace(life, lines.filter((line) => line.includes('"evt":"machine.')).join("\n"));
