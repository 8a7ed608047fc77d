import { describe, expect, it } from "vitest";
import type { SectorRange } from "../../src/base/units.ts";
import { fastLink } from "../../src/sim/lock-link.ts";
import { withSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import type { SimEvent } from "../../src/sim/sim-event.ts";
import type { SimNode } from "../../src/sim/sim-node.ts";
import type { Simulation } from "../../src/sim/simulation.ts";
import { expectOk } from "./expect-ok.ts";

const large: Partial<Scenario> = {
  nodes: 3,
  members: 2,
  spares: 0,
  leaseMs: 1000,
  faults: ["crash"],
  longest: 24,
  shortTransfers: 0,
  zeroing: false,
  drift: 0,
  // A wake-up that is lost costs more than any window.
  link: { ...fastLink, lostWakes: 0 },
};

const wait = (simulation: Simulation, ms: number): Promise<boolean> => simulation.world.run(simulation.world.now + ms);
const copiedSectors = (events: readonly SimEvent[]): number =>
  events.reduce((sum, event) => sum + (event.type === "copied" ? event.sectors : 0), 0);

/** The window that some node shows, and who. */
function windowNow(simulation: Simulation): { readonly node: SimNode; readonly range: SectorRange } | null {
  for (const node of simulation.nodes) {
    const { sync } = node.node?.status() ?? {};
    if (sync?.phase === "running" && sync.window !== null) return { node, range: sync.window };
  }
  return null;
}

/** A new array, all of which is being resynced, by one of three nodes. */
async function check(
  seed: number,
  sizes: { readonly size: number; readonly chunkSectors: number },
  use: (simulation: Simulation, events: SimEvent[]) => Promise<void>,
): Promise<void> {
  const verdict = await withSimulation(seed, { ...large, ...sizes }, async (simulation) => {
    const events: SimEvent[] = [];
    simulation.world.observe((event) => events.push(event));
    simulation.begin();
    simulation.stopAsking();
    simulation.letGo();
    await simulation.untilAllServe();
    if (!simulation.failed) await use(simulation, events);
  });
  expectOk(verdict);
}

describe("K5: a write of another node in the window of a resync", () => {
  it.each([2, 5])(
    "waits no longer than 50 ms, in 999 of 1000 cases (disks %i times as slow)",
    async (slowness) => {
      const latencies: number[] = [];
      let waited = 0;
      await check(7, { size: 131_072, chunkSectors: 1024 }, async (simulation, events) => {
        const { world, workload, array } = simulation;
        for (const disk of array.disks) disk.slowness = slowness;
        // The first windows are small whatever the disks do.
        await wait(simulation, 200);
        while (latencies.length < 1000 && !simulation.failed) {
          const window = windowNow(simulation);
          if (window === null && copiedSectors(events) >= array.geometry.size) break;
          const other = simulation.nodes.find((node) => node.port !== null && node !== window?.node);
          if (window !== null && other?.port != null) {
            const lo = Math.min(world.random.integer(window.range.lo, window.range.hi), array.geometry.size - 8);
            const since = world.now;
            workload.write(other.port, lo, lo + 8, { fua: false }, () => latencies.push(world.now - since));
          }
          await wait(simulation, world.random.between(0.15, 0.6));
          waited += other?.node?.shared.read("waitingOnSuspend") ?? 0;
        }
      });
      latencies.sort((a, b) => a - b);
      expect(latencies.length).toBeGreaterThanOrEqual(1000);
      expect(waited).toBeGreaterThan(100);
      expect(latencies.at(-2)).toBeLessThan(50);
    },
    120_000,
  );
});

describe("a resync that another node takes over", () => {
  it.each(["killed", "drained"])(
    "is not begun again when its node is %s: at most one per cent is copied twice",
    async (how) => {
      const size = 32_768;
      await check(11, { size, chunkSectors: 128 }, async (simulation, events) => {
        const { world } = simulation;
        await world.run(world.now + 10_000, () => copiedSectors(events) > size / 3);
        const first = windowNow(simulation)?.node;
        expect(first).toBeDefined();
        if (how === "killed") first?.kill("killed");
        else first?.stop();
        await world.run(world.now + 30_000, () => copiedSectors(events) >= size);
        simulation.keepUp();
        await simulation.healAndJudge();
        expect(copiedSectors(events)).toBeGreaterThanOrEqual(size);
        expect(copiedSectors(events)).toBeLessThanOrEqual(size * 1.01);
      });
    },
    120_000,
  );
});
