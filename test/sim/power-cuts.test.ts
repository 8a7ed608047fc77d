import { afterEach, describe, expect, it, vi } from "vitest";
import { sector } from "../../src/base/units.ts";
import type { ClusterNode } from "../../src/cluster/cluster-node.ts";
import type { GrowRequest } from "../../src/cluster/grow-command.ts";
import { BadBlocks } from "../../src/engine/bad-blocks.ts";
import { withSimulation } from "../../src/sim/run-simulation.ts";
import type { Scenario } from "../../src/sim/scenario.ts";
import { SIM_CLUSTER } from "../../src/sim/sim-array.ts";
import type { Simulation } from "../../src/sim/simulation.ts";
import { expectOk } from "./expect-ok.ts";

/** Nothing breaks but what the test breaks. */
const quiet: Partial<Scenario> = {
  nodes: 2,
  members: 2,
  spares: 0,
  size: 200,
  chunkSectors: 64,
  longest: 24,
  leaseMs: 1000,
  faults: [],
  burst: 1,
  think: [2, 40],
  shortTransfers: 0,
  drift: 0,
};

const nothing: GrowRequest = { size: null, raidDisks: null, chunkBytes: null, stripeSectors: null, assumeClean: false };

type Command = (node: ClusterNode, simulation: Simulation) => Promise<unknown>;

interface Script {
  readonly scenario?: Partial<Scenario>;
  readonly commands: readonly Command[];
  /** Some command ends the node: the next one waits for its return. */
  readonly restarts?: boolean;
}

const pathOf = ({ array }: Simulation, disk: number): string => array.disks[disk]?.path ?? "";

const alone: Partial<Scenario> = { nodes: 1 };

/** Of the second member sectors [lo, hi) of the data take no writes from now on. */
function worn({ array }: Simulation, lo: number, hi: number): Promise<void> {
  const [, disk] = array.disks;
  const { dataAt } = array.geometry;
  if (disk !== undefined) disk.bad = lo < hi ? [{ lo: dataAt + lo, hi: dataAt + hi, read: false, write: true }] : [];
  return Promise.resolve();
}

const scripts: Readonly<Record<string, Script>> = {
  "failing, removing and re-adding a member": {
    commands: [
      (node) => node.failMember(1),
      (node) => node.removeMember(1),
      (node, simulation) => node.addMember(pathOf(simulation, 1), "re-add"),
    ],
  },
  "replacing a member": {
    scenario: { spares: 1 },
    commands: [(node) => node.replaceMember(1, null), (node) => node.removeMember(1)],
  },
  "growing to a larger size": {
    scenario: { size: 300, used: 128 },
    commands: [(node) => node.grow({ ...nothing, size: "max" })],
  },
  shrinking: {
    scenario: { size: 300, used: 256 },
    commands: [(node) => node.grow({ ...nothing, size: sector(160) })],
  },
  "growing by a raid device, and shrinking by it": {
    scenario: { spares: 1 },
    commands: [
      (node) => node.grow({ ...nothing, raidDisks: 3 }),
      async (node) => {
        await node.waitIdle();
        await node.failMember(2);
        await node.removeMember(2);
        await node.grow({ ...nothing, raidDisks: 2 });
      },
    ],
  },
  "switching the bitmap off and on": {
    scenario: alone,
    commands: [
      async (node) => {
        await node.waitIdle();
        await node.switchBitmap({ kind: "none", slots: 0, clusterName: "" });
      },
      (node) => node.switchBitmap({ kind: "clustered", slots: 4, clusterName: SIM_CLUSTER }),
    ],
  },
  "switching between a bitmap of all nodes and one of one node": {
    scenario: alone,
    commands: [
      async (node) => {
        await node.waitIdle();
        await node.switchBitmap({ kind: "internal", slots: 1, clusterName: "" });
      },
      (node) => node.switchBitmap({ kind: "clustered", slots: 4, clusterName: SIM_CLUSTER }),
    ],
  },
  "recording bad blocks, and making them good": {
    scenario: { ...alone, bitmap: "internal", badBlockLog: true },
    restarts: true,
    commands: [
      (_, simulation) => worn(simulation, 45, 55),
      // The write before it is recorded.
      (node, simulation) => {
        void worn(simulation, 0, 0);
        return node.stop();
      },
      // And the one before it makes it good: who begins anew tries again.
      async () => {},
    ],
  },
  "changing the chunk of the bitmap": { commands: [(node) => node.grow({ ...nothing, chunkBytes: 65536 })] },
};

/** Cuts the power (what was not flushed is lost, what was under way torn) at the `at`th landing of metadata since the first command; how many there were until the last had ended. */
async function run({ scenario = {}, commands, restarts = false }: Script, at: number): Promise<number> {
  let landings = 0;
  let counts = false;
  const outcomes: string[] = [];
  const verdict = await withSimulation(77, { ...quiet, ...scenario }, async (simulation) => {
    const { world, workload } = simulation;
    world.observe((event) => {
      if (!counts || event.type !== "write_landed" || event.area === "data") return;
      landings++;
      if (landings === at) world.schedule(0, null, () => simulation.faults.powerCut());
    });
    simulation.begin();
    simulation.stopAsking();
    await simulation.untilAllServe();
    await simulation.untilRest();
    counts = true;
    for (const command of commands) {
      if (restarts) await simulation.untilAllServe();
      const { node, process, port } = simulation.nodes[0] ?? { node: null, process: null, port: null };
      if (node === null || process === null) break;
      if (port !== null) workload.write(port, 40, 60, { fua: true });
      let over = false;
      world.schedule(0, process.control, () => {
        void command(node, simulation)
          .then(
            () => outcomes.push("done"),
            (error: unknown) => outcomes.push(String(error)),
          )
          .then(() => {
            over = true;
          });
      });
      await world.run(world.now + 5000, () => over || process.ended);
      await world.run(world.now + 300);
    }
    counts = false;
    await simulation.healAndJudge();
  });
  expectOk(verdict);
  if (at < 0) expect(outcomes).toEqual(commands.map(() => "done"));
  return landings;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("F22: the power is cut at every single write of metadata of two nodes while one of them is", () => {
  it.each(Object.keys(scripts))("%s", { timeout: 300_000 }, async (name) => {
    const script = scripts[name];
    if (script === undefined) throw new RangeError(name);
    const recorded = vi.spyOn(BadBlocks.prototype, "record");
    const healed = vi.spyOn(BadBlocks.prototype, "heal");
    const landings = await run(script, -1);
    const happened = [recorded, healed].map(({ mock }) => mock.results.some(({ value }) => value === true));
    const hasLog = script.scenario?.badBlockLog ?? false;
    expect(happened).toEqual([hasLog, hasLog]);
    expect(landings).toBeGreaterThan(5);
    for (let at = 1; at <= landings; at++) await run(script, at);
  });
});
