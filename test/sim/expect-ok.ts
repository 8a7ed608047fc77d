import { expect } from "vitest";
import type { Verdict } from "../../src/sim/simulation.ts";

/** Fails with the story: what broke, which faults came before, the last events, and how to see it again. */
export function expectOk(verdict: Verdict, lines = 60): void {
  if (verdict.ok) return;
  const story = [
    `seed ${verdict.seed} of ${verdict.scenario.nodes} nodes`,
    ...verdict.trace(lines),
    ...verdict.faults.map((fault) => `fault: ${fault}`),
    ...verdict.violations.map((violation) => `broken: ${violation}`),
  ];
  expect.fail(story.join("\n"));
}
