import type { Scenario } from "./scenario.ts";
import { catchUnhandled, settle } from "./settle.ts";
import { Simulation, type Verdict } from "./simulation.ts";
import type { Wrappers } from "./wrappers.ts";

/** Events while things break. */
export const DEFAULT_STEPS = 3000;

export interface SimulationOptions {
  readonly seed: number;
  readonly nodes?: number;
  /** Events while things break. */
  readonly steps?: number;
  readonly scenario?: Partial<Scenario>;
  readonly wrappers?: Wrappers;
}

/** Runs `use` on a simulation; contradictions that nobody awaits count as violations. */
export async function withSimulation(
  seed: number,
  fixed: Partial<Scenario>,
  use: (simulation: Simulation) => Promise<void>,
  wrappers: Wrappers = {},
): Promise<Verdict> {
  const early: unknown[] = [];
  let simulation: Simulation | null = null;
  const text = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));
  const stop = catchUnhandled((error) => {
    if (simulation === null) early.push(error);
    else simulation.world.violation(`nobody handled: ${text(error)}`);
  });
  try {
    simulation = await Simulation.create(seed, fixed, wrappers);
    for (const error of early) simulation.world.violation(`nobody handled: ${text(error)}`);
    try {
      await use(simulation);
    } catch (error) {
      simulation.world.violation(`the simulation broke: ${text(error)}`);
    }
    await settle();
    return simulation.verdict(seed);
  } finally {
    stop();
  }
}

/** One seed: everything breaks for a while, then is mended, and must be whole. */
export function runSimulation({
  seed,
  nodes,
  steps = DEFAULT_STEPS,
  scenario = {},
  wrappers = {},
}: SimulationOptions): Promise<Verdict> {
  const fixed = nodes === undefined ? scenario : { ...scenario, nodes };
  const use = async (simulation: Simulation): Promise<void> => {
    const { world } = simulation;
    // Things break from the first moment: joining is as fragile as serving.
    simulation.begin();
    simulation.faults.start();
    const end = world.steps + steps;
    await world.run(world.now + 120_000, () => world.steps >= end);
    if (!simulation.failed) await simulation.healAndJudge();
  };
  return withSimulation(seed, fixed, use, wrappers);
}
