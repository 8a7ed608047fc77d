import type { FaultKind } from "./faults.ts";
import { runSimulation, type SimulationOptions } from "./run-simulation.ts";
import type { Verdict } from "./simulation.ts";

/** What makes a run smaller than its seed would have it. */
export interface Shrunk {
  readonly steps: number;
  readonly nodes: number;
  readonly faults: readonly FaultKind[];
  /** Faults that do not happen, by their place among those of the run. */
  readonly without: readonly number[];
}

interface Failing {
  readonly shrunk: Shrunk;
  readonly verdict: Verdict;
}

export type Run = (options: SimulationOptions) => Promise<Verdict>;

const optionsOf = (seed: number, { steps, nodes, faults, without }: Shrunk): SimulationOptions => ({
  seed,
  steps,
  nodes,
  scenario: { faults, without },
});

/**
 * A failing run with fewer events, nodes and faults, as small as `budget` further runs find; `steps`: what the failed one
 * was given. Each run is judged by itself: what is left out may change what comes after, so anything that still fails is
 * as good as the first failure.
 */
export async function shrink(
  failed: Verdict,
  steps: number,
  budget: number,
  run: Run = runSimulation,
): Promise<Failing & { readonly runs: number }> {
  const { seed, scenario } = failed;
  const { nodes, faults, without } = scenario;
  let best: Failing = { shrunk: { steps, nodes, faults, without }, verdict: failed };
  let runs = 0;
  const tryTo = async (change: Partial<Shrunk>): Promise<boolean> => {
    if (runs >= budget) return false;
    runs++;
    const shrunk = { ...best.shrunk, ...change };
    const verdict = await run(optionsOf(seed, shrunk));
    if (verdict.ok) return false;
    best = { shrunk, verdict };
    return true;
  };
  for (let size = -1; size !== sizeOf(best.shrunk) && runs < budget; ) {
    size = sizeOf(best.shrunk);
    await fewerSteps(best.shrunk.steps, (steps) => tryTo({ steps }));
    while (best.shrunk.nodes > 1 && (await tryTo({ nodes: best.shrunk.nodes - 1 }))) {}
    for (const kind of best.shrunk.faults) {
      const left = best.shrunk.faults.filter((one) => one !== kind);
      if (left.length > 0) await tryTo({ faults: left });
    }
    for (let fault = best.verdict.injected - 1; fault >= 0; fault--) {
      if (!best.shrunk.without.includes(fault)) await tryTo({ without: [...best.shrunk.without, fault] });
    }
  }
  return { ...best, runs };
}

const sizeOf = ({ steps, nodes, faults, without }: Shrunk): number => steps + nodes + faults.length - without.length;

/** The shortest time of breaking things after which it still fails, by bisection. */
async function fewerSteps(steps: number, fails: (steps: number) => Promise<boolean>): Promise<void> {
  let enough = steps;
  let tooFew = 0;
  while (enough - tooFew > Math.max(1, steps / 64)) {
    const middle = Math.floor((tooFew + enough) / 2);
    if (await fails(middle)) enough = middle;
    else tooFew = middle;
  }
}
