import { expect, it } from "vitest";
import { withSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import { expectOk } from "./expect-ok.ts";

const fresh: Partial<Scenario> = {
  ...{ nodes: 3, members: 2, spares: 0, blanks: 0, size: 480, chunkSectors: 8, assumeClean: false, drift: 0 },
  syncSpeedMax: 2000,
};

/** Its data plane has stopped when the next one announces its first window: that is acknowledged all the same. */
it("a node that leaves in the middle of its resync has left in less than a lease, and another goes on", async () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const verdict = await withSimulation(seed, fresh, async (simulation) => {
      const { world, nodes } = simulation;
      simulation.begin();
      simulation.letGo();
      await simulation.untilAllServe();
      const isCopying = (at: number): boolean => nodes[at]?.node?.status().sync?.phase === "running";
      await world.run(world.now + 5000, () => [0, 1, 2].some(isCopying));
      const copier = nodes.find((_, at) => isCopying(at));
      const { process } = copier ?? {};
      let why = "";
      world.observe((event) => {
        if (event.type === "life_ended" && event.life === process?.life) why = event.why;
      });
      copier?.stop();
      await world.run(world.now + simulation.scenario.leaseMs, () => why !== "");
      expect(why).toBe("stopped");
      simulation.keepUp();
      await simulation.healAndJudge();
    });
    expectOk(verdict);
  }
});
