import { describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import type { IoRing } from "../../src/blockdev/io-ring.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { EngineCommand } from "../../src/engine/engine-protocol.ts";
import { runSimulation, withSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import type { Simulation } from "../../src/sim/simulation.ts";
import type { Wrappers } from "../../src/sim/wrappers.ts";

/**
 * The checkers at work on whole clusters: one promise is taken away between two parts, and some seed must show it. What
 * is not taken away is proved by the same seeds in one piece.
 */
const hard: Partial<Scenario> = { members: 2, spares: 0, chunkSectors: 16, burst: 5, think: [1, 30], longest: 24 };

/** The first violation that one of a few seeds finds. */
async function firstViolation(
  fixed: Partial<Scenario>,
  wrappers: Wrappers,
  use?: (simulation: Simulation) => Promise<void>,
): Promise<string> {
  for (let seed = 1; seed <= 12; seed++) {
    const verdict =
      use === undefined
        ? await runSimulation({ seed, steps: 8000, scenario: { ...hard, ...fixed }, wrappers })
        : await withSimulation(seed, { ...hard, ...fixed }, use, wrappers);
    const [violation] = verdict.violations;
    if (violation !== undefined) return violation;
  }
  return "nothing was noticed";
}

/** The same object, but for some of its methods. */
function changed<T extends object>(original: T, changes: Partial<T>): T {
  return new Proxy(original, {
    get(target, key) {
      const value = Reflect.get(key in changes ? changes : target, key, target);
      return typeof value === "function" && !(key in changes) ? value.bind(target) : value;
    },
  });
}

describe("a broken promise is noticed", () => {
  it("when bitmap writes are not durable", async () => {
    const ring = (original: IoRing): IoRing =>
      changed(original, {
        write: (device, at, sectors, buffer, _flags, tag) => original.write(device, at, sectors, buffer, 0, tag),
      });
    expect(await firstViolation({ faults: ["crash"] }, { ring })).toMatch(/chunk \d+ (has no bit|lost its last bit)/);
  });

  it("when flushes do nothing", async () => {
    const ring = (original: IoRing): IoRing =>
      changed(original, { flush: (device, tag) => original.read(device, 0 as never, 0, 0, tag) });
    expect(await firstViolation({ faults: ["powerCut"] }, { ring })).toMatch(/lost its last bit|read|holds/);
  });

  it("when a window is not suspended although the node says so", async () => {
    const engine = (original: Engine): Engine =>
      changed(original, {
        send: ((command: EngineCommand) =>
          command.type === "suspend"
            ? original.send({ type: "resume", slot: slotNumber(command.slot) })
            : original.send(command)) as Engine["send"],
      });
    const found = await firstViolation({ nodes: 3, faults: ["crash"], pace: [100, 800] }, { engine });
    expect(found).toMatch(/which n\d\.\d+ copies|differs|holds|read/);
  });

  it("when the data plane believes its lease to last for ever", async () => {
    const lease: Wrappers["lease"] = (sink) => (writeUntil, readUntil) =>
      sink(writeUntil === 0 ? 0 : Number.POSITIVE_INFINITY, readUntil === 0 ? 0 : Number.POSITIVE_INFINITY);
    const found = await firstViolation(
      { nodes: 2, faults: ["stallControl", "pauseLong"], pace: [100, 800] },
      { lease },
    );
    expect(found).toMatch(/without a lease|LATE/);
  });

  it("when reads go on for ever without a lease", async () => {
    const lease: Wrappers["lease"] = (sink) => (writeUntil) => sink(writeUntil, Number.POSITIVE_INFINITY);
    const found = await firstViolation({ nodes: 2 }, { lease }, async (simulation) => {
      simulation.begin();
      simulation.stopAsking();
      await simulation.untilAllServe();
      await simulation.untilRest();
      const [isolated, other] = simulation.nodes;
      isolated?.cutLink();
      const bad = simulation.array.disks[1];
      if (bad !== undefined) bad.bad = [{ lo: 0, hi: bad.sectors, read: false, write: true }];
      for (let i = 0; i < 300; i++) {
        const lo = (i * 8) % 240;
        if (other?.port != null) simulation.workload.write(other.port, lo, lo + 8, { fua: false });
        if (isolated?.port != null) simulation.workload.read(isolated.port, lo, lo + 8);
        await simulation.world.run(simulation.world.now + 10);
      }
    });
    expect(found).toMatch(/read \[/);
  });

  it("when a failed mirror is settled before the others know", async () => {
    const engine = (original: Engine): Engine => {
      original.onNotice((notice) => {
        if (notice.type !== "memberFailed") return;
        const { place } = notice;
        void original.send({ type: "settleFailure", place, outcome: "faulty" }).catch(() => {});
      });
      return changed(original, {
        send: ((command: EngineCommand) =>
          command.type === "settleFailure"
            ? Promise.resolve({ type: "none" })
            : original.send(command)) as Engine["send"],
      });
    };
    const found = await firstViolation({ nodes: 3, faults: ["writeErrors", "deadDisk"], pace: [100, 300] }, { engine });
    expect(found).toMatch(/is acknowledged, but n\d\.\d+ may read|read \[/);
  });

  it("when two nodes get the token at once", async () => {
    const lockspace: Wrappers["lockspace"] = (original) =>
      changed(original, {
        open: async (resource, options) => {
          const lock = await original.open(resource, options);
          if (resource !== "token") return lock;
          // As if EX were compatible with everything.
          return changed(lock, { convert: (mode, more) => lock.convert(mode === "EX" ? "CR" : mode, more) });
        },
      });
    const found = await firstViolation({ nodes: 3, faults: ["crash"] }, { lockspace });
    expect(found).not.toBe("nothing was noticed");
  });
});
