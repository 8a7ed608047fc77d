import { describe, expect, it } from "vitest";
import type { IoRing } from "../../src/blockdev/io-ring.ts";
import { withSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import type { SimEvent } from "../../src/sim/sim-event.ts";
import type { Verdict } from "../../src/sim/simulation.ts";
import type { Wrappers } from "../../src/sim/wrappers.ts";

const LEASE_MS = 1000;
const calm: Partial<Scenario> = {
  nodes: 2,
  members: 2,
  spares: 0,
  size: 500,
  chunkSectors: 16,
  leaseMs: LEASE_MS,
  faults: ["crash"],
  shortTransfers: 0,
  drift: 0,
};

/** What the lease is for is taken away: this node never finds its own run out. */
const endless: Wrappers["lease"] = (sink) => (writeUntil, readUntil) =>
  sink(writeUntil === 0 ? 0 : Number.POSITIVE_INFINITY, readUntil === 0 ? 0 : Number.POSITIVE_INFINITY);

/** A node stands still, at rest, until others have taken it over; cut off, it wakes up and its client writes. */
async function wakeUpLate(seed: number, wrappers: Wrappers): Promise<{ verdict: Verdict; ended: string | null }> {
  let ended: string | null = null;
  const verdict = await withSimulation(
    seed,
    calm,
    async (simulation) => {
      const { world } = simulation;
      const wait = (ms: number): Promise<boolean> => world.run(world.now + ms);
      simulation.begin();
      simulation.stopAsking();
      await simulation.untilAllServe();
      await simulation.untilRest();
      simulation.letGo();
      const [victim] = simulation.nodes;
      const process = victim?.process;
      const events: SimEvent[] = [];
      world.observe((event) => {
        events.push(event);
        if (event.type === "life_ended" && event.life === process?.life) ended = event.why;
      });
      process?.pause();
      await wait(LEASE_MS * 2.5);
      expect(events.some((event) => event.type === "evicted" && event.life === process?.life)).toBe(true);
      victim?.cutLink();
      process?.resume();
      await wait(5);
      const port = victim?.port;
      if (port) simulation.workload.write(port, 100, 110, { fua: false }, () => {});
      await wait(LEASE_MS);
    },
    wrappers,
  );
  return { verdict, ended };
}

describe("a late writer whose lease does not stop it", () => {
  it("finds its pill before it writes its bitmap, and writes nothing", async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const { verdict, ended } = await wakeUpLate(seed, { lease: endless });
      expect(verdict.violations).toEqual([]);
      expect(ended).toMatch(/says that its slot was taken over/);
    }
  });

  it("writes on when it cannot see the pill", async () => {
    /** Whatever lies between the bitmaps and the data reads as nothing. */
    const blind = (original: IoRing): IoRing =>
      new Proxy(original, {
        get(target, key) {
          const value = Reflect.get(target, key, target);
          if (key !== "read") return typeof value === "function" ? value.bind(target) : value;
          return (...[device, at, sectors, buffer, tag]: Parameters<IoRing["read"]>): void => {
            const isRecord = sectors === 8 && at >= 16 + 4 * 8 && at < 32 + 4 * 8 + 9 * 8;
            target.read(device, (isRecord ? 0 : at) as typeof at, sectors, buffer, tag);
          };
        },
      });
    const { verdict } = await wakeUpLate(1, { lease: endless, ring: blind });
    expect(verdict.violations.join("\n")).toMatch(/without a lease|LATE/);
  });
});
