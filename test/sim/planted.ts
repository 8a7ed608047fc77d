import { runSimulation, withSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import type { Simulation } from "../../src/sim/simulation.ts";
import type { Wrappers } from "../../src/sim/wrappers.ts";

/** Small worlds in which much happens at once. */
const hard: Partial<Scenario> = { members: 2, spares: 0, chunkSectors: 16, burst: 5, think: [1, 30], longest: 24 };

/** What the first of a few seeds that finds anything finds: all violations of that moment, a line each. */
export async function foundIn(
  fixed: Partial<Scenario>,
  wrappers: Wrappers,
  use?: (simulation: Simulation) => Promise<void>,
): Promise<string> {
  for (let seed = 1; seed <= 12; seed++) {
    const verdict =
      use === undefined
        ? await runSimulation({ seed, steps: 8000, scenario: { ...hard, ...fixed }, wrappers })
        : await withSimulation(seed, { ...hard, ...fixed }, use, wrappers);
    if (!verdict.ok) return verdict.violations.join("\n");
  }
  return "nothing was noticed";
}

/** The same object, but for some of its methods. */
export function changed<T extends object>(original: T, changes: Partial<T>): T {
  return new Proxy(original, {
    get(target, key) {
      const value = Reflect.get(key in changes ? changes : target, key, target);
      return typeof value === "function" && !(key in changes) ? value.bind(target) : value;
    },
  });
}
