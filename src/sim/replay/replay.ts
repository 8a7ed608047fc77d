import { conflictsAmong, type HoldRecord, holdsOf, type LifeTrace } from "./holds.ts";
import { type MachineLife, replayMachines } from "./machine-lives.ts";
import { conversationOf, judgeConversations } from "./messages-heard.ts";
import type { TraceRecord } from "./parse-trace.ts";

export interface ReplayVerdict {
  readonly ok: boolean;
  readonly machines: readonly {
    readonly node: string;
    readonly array: string;
    readonly machine: string;
    readonly steps: number;
    readonly broken: string | null;
  }[];
  readonly messages: { readonly heard: number; readonly said: number; readonly wrong: readonly string[] };
  readonly holds: { readonly held: number; readonly conflicts: readonly string[] };
}

interface Told {
  readonly records: HoldRecord[];
  lastAt: number;
}

/** Milliseconds by which the clocks of one host seem to differ from its boot time, by the two readings of a record. */
const SAME_HOST_MS = 1000;

/**
 * Runs the machines of a recorded cluster again and judges the whole as the simulator judges its own runs: each step
 * gives what was recorded, messages are heard by all in one order, no two nodes held locks that exclude each other.
 */
export function replayTrace(records: readonly TraceRecord[]): ReplayVerdict {
  const lives = replayMachines(records);
  const conversations = lives.filter(({ machine }) => machine === "channel").map(conversationOf);
  const wrong = judgeConversations(conversations);
  const holds = hostsOf(records).map((traces) => holdsOf(traces));
  const conflicts = holds.flatMap((held) =>
    conflictsAmong(held).map(
      ([a, b]) =>
        `${a.life} holds ${a.lock} in ${a.mode} while ${b.life} holds it in ${b.mode} (at ${b.from.toFixed(1)})`,
    ),
  );
  return {
    ok: wrong.length === 0 && conflicts.length === 0 && lives.every(({ broken }) => broken === null),
    machines: lives.map(summary),
    messages: { heard: total(conversations, "heard"), said: total(conversations, "said"), wrong },
    holds: { held: holds.flat().length, conflicts },
  };
}

const summary = ({ node, array, machine, steps, broken }: MachineLife): ReplayVerdict["machines"][number] => ({
  node,
  array,
  machine,
  steps: steps.length,
  broken,
});

const total = (all: readonly ReturnType<typeof conversationOf>[], what: "heard" | "said"): number =>
  all.reduce((sum, conversation) => sum + conversation[what].length, 0);

/** Locks are compared by the clock of one host: each list is of one, told by when it was booted. */
function hostsOf(records: readonly TraceRecord[]): readonly (readonly LifeTrace[])[] {
  const hosts: { readonly booted: number; readonly lives: Map<string, Told> }[] = [];
  for (const { file, node, evt, at, time, fields } of records) {
    let host = hosts.find(({ booted }) => Math.abs(booted - (time - at)) < SAME_HOST_MS);
    if (host === undefined) {
      host = { booted: time - at, lives: new Map() };
      hosts.push(host);
    }
    const life = [node, fields["pid"], file].filter((word) => word !== undefined).join(" ");
    const told = host.lives.get(life) ?? { records: [], lastAt: at };
    host.lives.set(life, told);
    told.lastAt = at;
    if (evt === "lock.held" || evt === "lease.until")
      told.records.push({ evt, at, ...fields } as unknown as HoldRecord);
  }
  return hosts.map(({ lives }) =>
    // Of what a node does after its last record nothing is known; one that only stood still tells more when it goes on.
    [...lives].map(([life, { records: of, lastAt }]) => ({ life, records: of, killedAt: lastAt })),
  );
}
