import { isDeepStrictEqual } from "node:util";
import { fromTagged, toTagged } from "../../base/tagged-json.ts";
import { stepNode } from "../../cluster/node-machine.ts";
import { stepChannel } from "../../messages/channel.ts";
import type { TraceRecord } from "./parse-trace.ts";

/** The pure machines that a trace tells of. Recorded values are believed to be of their types: the machine finds out. */
const machines: Readonly<Record<string, (state: never, event: never) => readonly [unknown, readonly unknown[]]>> = {
  channel: stepChannel,
  node: stepNode,
};

export interface ReplayedStep {
  readonly record: TraceRecord;
  readonly event: unknown;
  readonly effects: readonly unknown[];
  readonly before: unknown;
  readonly after: unknown;
}

/** One machine of one node, from where a record told its state to the next such record or the end. */
export interface MachineLife {
  readonly node: string;
  /** UUID of the array. */
  readonly array: string;
  readonly machine: string;
  readonly begins: TraceRecord;
  readonly steps: readonly ReplayedStep[];
  /** Why it was not followed to its end; null: every step gave what was recorded. */
  readonly broken: string | null;
}

interface Open extends MachineLife {
  state: unknown;
  steps: ReplayedStep[];
  broken: string | null;
}

/** Runs every machine of the trace again, on what it was told then; it must answer as it did. */
export function replayMachines(records: readonly TraceRecord[]): readonly MachineLife[] {
  const lives: Open[] = [];
  const open = new Map<string, Open>();
  for (const record of records) {
    if (record.afterGap) {
      for (const life of open.values()) {
        if (life.begins.file === record.file) life.broken ??= `records are missing before line ${record.line}`;
      }
    }
    const { machine, array } = record.fields;
    if (typeof machine !== "string" || machines[machine] === undefined) continue;
    const key = `${record.file} ${record.node} ${String(array)} ${machine}`;
    if (record.evt === "machine.state") {
      const state = fromTagged(record.fields["state"]);
      const life: Open = {
        node: record.node,
        array: String(array),
        machine,
        begins: record,
        steps: [],
        broken: null,
        state,
      };
      const before = open.get(key);
      // A recording that began later tells again where a machine stands.
      if (before !== undefined && before.broken === null && isDeepStrictEqual(before.state, state)) continue;
      open.set(key, life);
      lives.push(life);
    } else if (record.evt === "machine.step") {
      const life = open.get(key);
      if (life !== undefined && life.broken === null) take(life, record);
    }
  }
  return lives;
}

function take(life: Open, record: TraceRecord): void {
  const before = life.state;
  const event = fromTagged(record.fields["event"]);
  const place = `step ${life.steps.length + 1} (${record.file}, line ${record.line})`;
  try {
    const [after, effects] = machines[life.machine]?.(before as never, event as never) ?? [before, []];
    const recorded = record.fields["effects"];
    if (!isDeepStrictEqual(asWritten(effects), recorded)) {
      life.broken = `${place}: it did ${JSON.stringify(recorded)}, the machine does ${JSON.stringify(asWritten(effects))}`;
      return;
    }
    life.steps.push({ record, event, effects, before, after });
    life.state = after;
  } catch (error) {
    // The contradiction is the trace's, not ours: it is what a replay is there to find.
    const why = error instanceof Error ? error.message : String(error);
    life.broken = `${place}: the machine refuses ${JSON.stringify(record.fields["event"])}: ${why}`;
  }
}

/** Fields that are undefined are not written. */
const asWritten = (value: unknown): unknown => JSON.parse(JSON.stringify(toTagged(value)));
