import { MdError } from "../../base/md-error.ts";
import { lockModes } from "../../dlm/lock-mode.ts";

/** A record of a trace file; what its fields mean is told in env/step-trace.ts and dlm/hold-trace.ts. */
export interface TraceRecord {
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  readonly node: string;
  readonly evt: "machine.state" | "machine.step" | "lock.held" | "lease.until";
  /** Milliseconds of the host's CLOCK_MONOTONIC. */
  readonly at: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** The recorder was too slow for what came before it. */
  readonly afterGap: boolean;
  readonly fields: Readonly<Record<string, unknown>>;
}

const kinds: readonly TraceRecord["evt"][] = ["machine.state", "machine.step", "lock.held", "lease.until"];

/**
 * The records of a file that `mdctl trace record` made, or of a daemon's log at level trace (its other lines are passed
 * over). The last line may be cut off: whoever wrote it may have died. E_VALUE names file and line.
 */
export function parseTrace(file: string, text: string): readonly TraceRecord[] {
  const lines = text.split("\n");
  const isWhole = lines.at(-1) === "";
  const records: TraceRecord[] = [];
  let last: number | null = null;
  let afterGap = false;
  for (const [at, line] of lines.entries()) {
    if (line === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      if (at === lines.length - 1 && !isWhole) break;
      throw new MdError("E_VALUE", `${file}, line ${at + 1}: this is not JSON`, {
        why: "a trace is what mdctl trace record writes, or a daemon's log in JSON at level trace",
        hint: "mdctl trace record FILE",
      });
    }
    const n = numberOf(value);
    afterGap ||= last !== null && n !== null && n > last + 1;
    last = n ?? last;
    const record = recordOf(file, at + 1, value, afterGap);
    if (record === null) continue;
    records.push(record);
    afterGap = false;
  }
  return records;
}

/** A recording counts its records; a log leaves none out. */
const numberOf = (value: unknown): number | null => {
  const n = typeof value === "object" && value !== null && "n" in value ? value.n : null;
  return typeof n === "number" ? n : null;
};

function recordOf(file: string, line: number, value: unknown, afterGap: boolean): TraceRecord | null {
  if (typeof value !== "object" || value === null) return null;
  const { evt, node, at, time, n: _, ...fields } = value as Record<string, unknown>;
  const kind = kinds.find((one) => one === evt);
  if (kind === undefined) return null;
  if (typeof node !== "string" || typeof at !== "number" || typeof time !== "number") {
    throw new MdError("E_VALUE", `${file}, line ${line}: a ${kind} record without node, at and time`);
  }
  if (!isTold(kind, fields)) throw new MdError("E_VALUE", `${file}, line ${line}: a ${kind} record that tells nothing`);
  return { file, line, node, evt: kind, at, time, afterGap, fields };
}

/** Of locks everything is believed from here on; a machine finds out by itself. */
function isTold(kind: TraceRecord["evt"], fields: Readonly<Record<string, unknown>>): boolean {
  const { lockspace, lock, lkid, mode, until } = fields;
  if (kind === "lease.until") return typeof lockspace === "string" && typeof until === "number";
  if (kind !== "lock.held") return true;
  const isMode = lockModes.some((one) => one === mode);
  return typeof lockspace === "string" && typeof lock === "string" && typeof lkid === "number" && isMode;
}
