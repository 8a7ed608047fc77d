import { expect, it } from "vitest";
import { fastLink } from "../../src/sim/lock-link.ts";
import { withSimulation } from "../../src/sim/run-simulation.ts";
import { expectOk } from "./expect-ok.ts";

const LEASE_MS = 1000;
/** Of 8 sectors; the survivors ask for one in each millisecond or two. */
const PATIENCE_MS = 81;

it.each([3, 4])(
  "K6: a killed node's region is taken over a lease and half a second later at most, and survivors' writes do not pause (seed %i)",
  async (seed) => {
    const latencies: number[] = [];
    let takenOverMs = Number.POSITIVE_INFINITY;
    const scenario = { nodes: 3, members: 2, spares: 0, size: 32_768, chunkSectors: 128, leaseMs: LEASE_MS };
    const quiet = { faults: [], drift: 0, shortTransfers: 0, zeroing: false, longest: 24 };
    // A wake-up that is lost costs more than anything else.
    const link = { ...fastLink, lostWakes: 0 };
    const verdict = await withSimulation(seed, { ...scenario, ...quiet, link }, async (simulation) => {
      const { world, workload, nodes, array } = simulation;
      simulation.begin();
      simulation.stopAsking();
      simulation.letGo();
      await simulation.untilAllServe();
      // Nobody has a window then: a write into the dead node's would have to wait for the takeover.
      const isIdle = (): boolean => nodes.every(({ node }) => node?.status().slots.every((slot) => !slot.needsResync));
      await world.run(world.now + 60_000, isIdle);
      const [victim, ...survivors] = nodes;
      for (let at = 0; at < 64; at++) {
        if (victim?.port != null) workload.write(victim.port, at * 128, at * 128 + 8, { fua: false }, () => {});
        await world.run(world.now + 1);
      }
      victim?.kill("killed");
      const killedAt = world.now;
      while (world.now < killedAt + LEASE_MS + 2000 && !simulation.failed) {
        for (const { port } of survivors) {
          if (port === null) continue;
          const lo = world.random.integer(0, array.geometry.size - 8);
          const since = world.now;
          workload.write(port, lo, lo + 8, { fua: false }, () => latencies.push(world.now - since));
        }
        await world.run(world.now + world.random.between(1, 2));
        const told = survivors.some(({ node }) => node?.events().some(({ code }) => code === "TAKEOVER"));
        if (told) takenOverMs = Math.min(takenOverMs, world.now - killedAt);
      }
    });
    expectOk(verdict);
    expect(takenOverMs).toBeGreaterThan(LEASE_MS / 2);
    expect(takenOverMs).toBeLessThanOrEqual(LEASE_MS + 500);
    expect(latencies.length).toBeGreaterThan(1000);
    expect(Math.max(...latencies)).toBeLessThan(PATIENCE_MS);
  },
);
