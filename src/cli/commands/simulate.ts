import { availableParallelism } from "node:os";
import { MdError } from "../../base/md-error.ts";
import { bitmapKind } from "../../daemon/bitmap-kind-param.ts";
import { type DlmVerdict, runDlmSimulation } from "../../sim/dlm-simulation.ts";
import { type FaultKind, faultKinds } from "../../sim/faults.ts";
import { lockFaultKinds, type NodeFaultKind, nodeFaultKinds } from "../../sim/node-faults.ts";
import { DEFAULT_STEPS, runSimulation, type SimulationOptions } from "../../sim/run-simulation.ts";
import type { Scenario } from "../../sim/scenario.ts";
import { type Shrunk, shrink } from "../../sim/shrink.ts";
import type { Verdict } from "../../sim/simulation.ts";
import { TRACE_KEPT } from "../../sim/trace.ts";
import { transcriptOf } from "../../sim/transcript.ts";
import { parseRaid10Layout } from "../../superblock/raid10-layout.ts";
import type { Command, CommandContext, CommandResult } from "../command.ts";
import type { Invocation } from "../invocation.ts";
import { runWorkers } from "./simulate-workers.ts";

/** Events that a failure's transcript shows, unless asked for more. */
const TRACE_LINES = 60;
/** Runs that shrinking may take. */
const SHRINK_RUNS = 60;

interface Wanted {
  readonly first: number;
  readonly seeds: number;
  readonly nodes: number | null;
  readonly steps: number | null;
  readonly lines: number;
  readonly dlm: boolean;
  /** "all", null: each seed draws its own, of all kinds there are or of the usual ones. */
  readonly faults: readonly FaultKind[] | "all" | null;
  readonly without: readonly number[];
  /** What no seed draws, and the options that say so. */
  readonly fixed: Partial<Scenario>;
  readonly fixedBy: readonly string[];
}

/** How often a node does not care that another one writes to the same blocks, where it need not. */
const CONTENTION = 0.8;

/** `mdctl simulate`: whole clusters in one thread, from a seed. Exit 1 if a promise was broken; the seed repeats it. */
export const simulate: Command = async (invocation, context) => {
  const wanted = readWanted(invocation);
  const workers = numberOf(invocation, "workers", 1, 1024) ?? availableParallelism();
  const isWide = wanted.seeds > 1 && workers > 1 && !context.json;
  return isWide ? runMany(wanted, workers, context) : runHere(wanted, context);
};

function readWanted(invocation: Invocation): Wanted {
  const dlm = invocation.has("dlm");
  const seed = numberOf(invocation, "seed", 0, Number.MAX_SAFE_INTEGER);
  const first = seed ?? numberOf(invocation, "first-seed", 0, Number.MAX_SAFE_INTEGER);
  return {
    // New ones each time, and in the order of their days.
    first: first ?? Math.floor(Date.now() / 1000) * 1000,
    seeds: numberOf(invocation, "seeds", 1, 1e9) ?? 1,
    nodes: numberOf(invocation, "nodes", 1, 8),
    steps: numberOf(invocation, "steps", 1, 1e9),
    lines: numberOf(invocation, "trace", 0, 1e6) ?? TRACE_LINES,
    dlm,
    faults: faultsOf(invocation, dlm ? [...nodeFaultKinds, ...lockFaultKinds] : faultKinds),
    ...fixedOf(invocation),
    without: (invocation.value("without") ?? "").split(",").filter(Boolean).map(Number),
  };
}

function fixedOf(invocation: Invocation): Pick<Wanted, "fixed" | "fixedBy"> {
  const layout = invocation.value("layout");
  const bitmap = bitmapKind(invocation.value("bitmap"));
  if (layout !== null && parseRaid10Layout(layout) === null) {
    throw new MdError("E_VALUE", `layout: "${layout}" is no layout of raid10; n2 is`);
  }
  const isAlone = bitmap !== null && bitmap !== "clustered";
  if (isAlone && numberOf(invocation, "nodes", 1, 8) !== 1) {
    throw new MdError("E_USAGE", `bitmap ${bitmap}: one node alone uses the array`, { hint: "--nodes=1" });
  }
  const contention = invocation.has("contention");
  return {
    fixed: {
      ...(contention ? { contention: CONTENTION } : {}),
      ...(layout === null ? {} : { level: 10, layout }),
      ...(bitmap === null ? {} : { bitmap }),
    },
    fixedBy: [
      ...(contention ? ["--contention"] : []),
      ...(layout === null ? [] : [`--layout=${layout}`]),
      ...(bitmap === null ? [] : [`--bitmap=${bitmap}`]),
    ],
  };
}

/** In this process, one after the other, until one fails. */
async function runHere(wanted: Wanted, context: CommandContext): Promise<CommandResult> {
  const verdicts: (Verdict | DlmVerdict)[] = [];
  for (let i = 0; i < wanted.seeds && !context.interrupted.aborted; i++) {
    const verdict = await runOne(wanted, wanted.first + i);
    verdicts.push(verdict);
    if (!context.json) await tell(context, verdict, wanted);
    if (!verdict.ok) break;
  }
  const ok = verdicts.every((verdict) => verdict.ok);
  return {
    data: { ok, runs: verdicts.map(({ trace, ...verdict }) => ({ ...verdict, events: undefined })) },
    text: "",
    streamed: !context.json,
    exitCode: ok ? 0 : 1,
  };
}

function runOne(
  { dlm, nodes, steps, faults, without, fixed, lines }: Wanted,
  seed: number,
): Promise<Verdict | DlmVerdict> {
  const size = { seed, ...(nodes === null ? {} : { nodes }), ...(steps === null ? {} : { steps }) };
  const own = faults === null ? {} : faults === "all" ? { drawnFrom: faultKinds } : { faults };
  const told = { traceLines: Math.max(lines, TRACE_KEPT), ...fixed };
  if (!dlm) return runSimulation({ ...size, scenario: { without, ...own, ...told } });
  const scenario = faults === null || faults === "all" ? {} : { faults: faults.filter(isNodeFault) };
  return runDlmSimulation({ ...size, scenario });
}

async function runMany(wanted: Wanted, workers: number, context: CommandContext): Promise<CommandResult> {
  const { first, seeds, nodes, steps, faults, dlm, lines, fixedBy } = wanted;
  const words = [
    ...(nodes === null ? [] : [`--nodes=${nodes}`]),
    ...(steps === null ? [] : [`--steps=${steps}`]),
    ...(faults === null ? [] : [`--faults=${faults === "all" ? faults : faults.join()}`]),
    ...(dlm ? ["--dlm"] : []),
    ...fixedBy,
    `--trace=${lines}`,
  ];
  const range = { first, count: seeds };
  context.print(`seeds ${first} to ${first + seeds - 1} by ${workers} processes\n`);
  let passed = 0;
  const onSeed = (): void => context.progress(`${++passed} of ${seeds} seeds`, Math.floor((passed / seeds) * 1000));
  const report = await runWorkers(range, workers, words, { onSeed, signal: context.interrupted });
  context.endProgress();
  for (const failure of report.failures) context.print(`${failure}\n`);
  const ok = report.failures.length === 0;
  const end = context.interrupted.aborted ? "interrupted" : ok ? "ok" : "FAILED";
  context.print(`seeds ${first} to ${first + seeds - 1}: ${end}, ${report.passed} passed\n`);
  return { data: null, text: "", streamed: true, exitCode: ok ? 0 : 1 };
}

/** What was done in a run. */
const workOf = (verdict: Verdict | DlmVerdict): string =>
  "conversions" in verdict
    ? `${verdict.scenario.resources} resources, ${verdict.conversions} conversions`
    : `${verdict.scenario.members} members, ${verdict.answered} requests, ${verdict.errors} errors`;

async function tell(
  context: CommandContext,
  verdict: Verdict | DlmVerdict,
  { lines, steps: given, fixed, fixedBy }: Wanted,
): Promise<void> {
  const { seed, scenario, steps, virtualMs, hash, faults, ok } = verdict;
  const seconds = (virtualMs / 1000).toFixed(1);
  context.print(
    `seed ${seed}: ${ok ? "ok" : "FAILED"}  ${scenario.nodes} nodes, ${workOf(verdict)}, ` +
      `${steps} events in ${seconds} simulated seconds, ${faults.length} faults, hash ${hash}\n`,
  );
  if (ok) return;
  for (const violation of verdict.violations) context.print(`broken: ${violation}\n`);
  if ("conversions" in verdict) {
    for (const line of verdict.trace(lines)) context.print(`${line}\n`);
    for (const fault of faults) context.print(`fault: ${fault}\n`);
    context.print(`again: mdctl simulate --dlm --seed=${seed} --nodes=${scenario.nodes}\n`);
    return;
  }
  const own = { traceLines: Math.max(lines, TRACE_KEPT), ...fixed };
  const run = ({ scenario: shrunk, ...options }: SimulationOptions): Promise<Verdict> =>
    runSimulation({ ...options, scenario: { ...shrunk, ...own } });
  const { shrunk, verdict: small, runs } = await shrink(verdict, given ?? DEFAULT_STEPS, SHRINK_RUNS, run);
  context.print(`shrunk by ${runs} runs from ${verdict.steps} events to ${small.steps}:\n\n`);
  const what = `seed ${seed}, ${shrunk.nodes} nodes: ${small.violations[0] ?? ""}`;
  context.print(transcriptOf(what, small.events(lines)));
  context.print(`\nagain: mdctl simulate ${[wordsOf(seed, shrunk), ...fixedBy].join(" ")}\n`);
}

function wordsOf(seed: number, { steps, nodes, faults, without }: Shrunk): string {
  const skipped = without.length === 0 ? "" : ` --without=${without.join()}`;
  return `--seed=${seed} --nodes=${nodes} --steps=${steps} --faults=${faults.join()}${skipped}`;
}

const isNodeFault = (kind: FaultKind): kind is NodeFaultKind =>
  [...nodeFaultKinds, ...lockFaultKinds].some((one) => one === kind);

function faultsOf(invocation: Invocation, kinds: readonly FaultKind[]): readonly FaultKind[] | "all" | null {
  const text = invocation.value("faults");
  if (text === null || text === "all") return text;
  return text.split(",").map((word) => {
    const kind = kinds.find((one) => one === word);
    if (kind !== undefined) return kind;
    throw new MdError("E_VALUE", `--faults: "${word}" is none of all, ${kinds.join(", ")}`);
  });
}

function numberOf(invocation: Invocation, name: string, least: number, most: number): number | null {
  const text = invocation.value(name);
  if (text === null) return null;
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= least && number <= most) return number;
  throw new MdError("E_VALUE", `--${name} takes a whole number from ${least} to ${most}, not "${text}"`);
}
