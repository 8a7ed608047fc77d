import { randomInt } from "node:crypto";
import { MdError } from "../../base/md-error.ts";
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
  const verdicts: Verdict[] = [];
  for (let i = 0; i < count && !context.interrupted.aborted; i++) {
    const verdict = await runSimulation({
      seed: seed + i,
      ...(nodes === null ? {} : { nodes }),
      ...(steps === null ? {} : { steps }),
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

function tell(context: CommandContext, verdict: Verdict, traceLines: number): void {
  const { seed, scenario, steps, virtualMs, answered, errors, hash, faults, ok } = verdict;
  const seconds = (virtualMs / 1000).toFixed(1);
  context.print(
    `seed ${seed}: ${ok ? "ok" : "FAILED"}  ${scenario.nodes} nodes, ${scenario.members} members, ` +
      `${steps} events in ${seconds} simulated seconds, ${answered} requests, ${errors} errors, ` +
      `${faults.length} faults, hash ${hash}\n`,
  );
  if (ok) return;
  for (const line of verdict.trace(traceLines)) context.print(`${line}\n`);
  for (const fault of faults) context.print(`fault: ${fault}\n`);
  for (const violation of verdict.violations) context.print(`broken: ${violation}\n`);
  context.print(`again: mdctl simulate --seed=${seed} --nodes=${scenario.nodes}\n`);
}

function numberOf(invocation: Invocation, name: string, least: number, most: number): number | null {
  const text = invocation.value(name);
  if (text === null) return null;
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= least && number <= most) return number;
  throw new MdError("E_VALUE", `--${name} takes a whole number from ${least} to ${most}, not "${text}"`);
}
