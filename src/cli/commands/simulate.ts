import { randomInt } from "node:crypto";
import { MdError } from "../../base/md-error.ts";
import { type DlmVerdict, runDlmSimulation } from "../../sim/dlm-simulation.ts";
import { lockFaultKinds, type NodeFaultKind, nodeFaultKinds } from "../../sim/node-faults.ts";
import { runSimulation } from "../../sim/run-simulation.ts";
import type { Verdict } from "../../sim/simulation.ts";
import type { Command, CommandContext } from "../command.ts";
import type { Invocation } from "../invocation.ts";

/** Lines of the trace that a failure shows, unless asked for more. */
const TRACE_LINES = 60;

/** `mdctl simulate`: whole clusters in one thread, from a seed. Exit 1 if a promise was broken; the seed repeats it. */
export const simulate: Command = async (invocation, context) => {
  const nodes = numberOf(invocation, "nodes", 1, 4);
  const steps = numberOf(invocation, "steps", 1, 1e9);
  const seed = numberOf(invocation, "seed", 0, Number.MAX_SAFE_INTEGER) ?? randomInt(2 ** 32);
  const count = numberOf(invocation, "count", 1, 1e9) ?? 1;
  const traceLines = numberOf(invocation, "trace", 0, 1e6) ?? TRACE_LINES;
  const faults = faultsOf(invocation);
  const run = invocation.has("dlm") ? runDlmSimulation : runSimulation;
  const verdicts: (Verdict | DlmVerdict)[] = [];
  for (let i = 0; i < count && !context.interrupted.aborted; i++) {
    const verdict = await run({
      seed: seed + i,
      ...(nodes === null ? {} : { nodes }),
      ...(steps === null ? {} : { steps }),
      ...(faults === null ? {} : { scenario: { faults } }),
    });
    verdicts.push(verdict);
    if (!context.json) tell(context, verdict, traceLines);
    if (!verdict.ok) break;
  }
  const ok = verdicts.every((verdict) => verdict.ok);
  return {
    data: { ok, runs: verdicts.map(({ trace, ...verdict }) => verdict) },
    text: "",
    streamed: !context.json,
    exitCode: ok ? 0 : 1,
  };
};

/** What was done in a run. */
const workOf = (verdict: Verdict | DlmVerdict): string =>
  "conversions" in verdict
    ? `${verdict.scenario.resources} resources, ${verdict.conversions} conversions`
    : `${verdict.scenario.members} members, ${verdict.answered} requests, ${verdict.errors} errors`;

function tell(context: CommandContext, verdict: Verdict | DlmVerdict, traceLines: number): void {
  const { seed, scenario, steps, virtualMs, hash, faults, ok } = verdict;
  const seconds = (virtualMs / 1000).toFixed(1);
  context.print(
    `seed ${seed}: ${ok ? "ok" : "FAILED"}  ${scenario.nodes} nodes, ${workOf(verdict)}, ` +
      `${steps} events in ${seconds} simulated seconds, ${faults.length} faults, hash ${hash}\n`,
  );
  if (ok) return;
  for (const line of verdict.trace(traceLines)) context.print(`${line}\n`);
  for (const fault of faults) context.print(`fault: ${fault}\n`);
  for (const violation of verdict.violations) context.print(`broken: ${violation}\n`);
  const alone = "conversions" in verdict ? " --dlm" : "";
  context.print(`again: mdctl simulate${alone} --seed=${seed} --nodes=${scenario.nodes}\n`);
}

/** Null: each seed draws its own. */
function faultsOf(invocation: Invocation): readonly NodeFaultKind[] | null {
  const text = invocation.value("faults");
  if (text === null) return null;
  const kinds: readonly NodeFaultKind[] = [...nodeFaultKinds, ...lockFaultKinds];
  return text.split(",").map((word) => {
    const kind = kinds.find((one) => one === word);
    if (kind !== undefined) return kind;
    throw new MdError("E_VALUE", `--faults: "${word}" is none of ${kinds.join(", ")}`);
  });
}

function numberOf(invocation: Invocation, name: string, least: number, most: number): number | null {
  const text = invocation.value(name);
  if (text === null) return null;
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= least && number <= most) return number;
  throw new MdError("E_VALUE", `--${name} takes a whole number from ${least} to ${most}, not "${text}"`);
}
