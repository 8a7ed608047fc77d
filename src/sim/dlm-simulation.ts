import { BastChecker } from "./checkers/bast.ts";
import type { Checker } from "./checkers/checker.ts";
import { LockBeliefChecker } from "./checkers/lock-belief.ts";
import { LockCastChecker } from "./checkers/lock-casts.ts";
import { LockValueChecker } from "./checkers/lock-values.ts";
import { MembershipOrderChecker } from "./checkers/membership-order.ts";
import { MessageOrderChecker } from "./checkers/message-order.ts";
import { DlmNode, type DlmNodeOptions } from "./dlm-node.ts";
import { type DlmScenario, drawDlmScenario } from "./dlm-scenario.ts";
import { NodeFaults } from "./node-faults.ts";
import { catchUnhandled, settle } from "./settle.ts";
import { SimLockServer } from "./sim-lock-server.ts";
import { World } from "./world.ts";

const DEFAULT_STEPS = 4000;
/** Leases that mended lock managers may take until they rest. */
const REST_LEASES = 30;

const losesState = ["restartLockServer", "rollBackLockServer", "splitLockServer"] as const;

export interface DlmSimulationOptions {
  readonly seed: number;
  readonly nodes?: number;
  /** Events while things break. */
  readonly steps?: number;
  readonly scenario?: Partial<DlmScenario>;
  readonly wrappers?: DlmNodeOptions["wrappers"];
}

export interface DlmVerdict {
  readonly seed: number;
  readonly ok: boolean;
  readonly violations: readonly string[];
  readonly scenario: DlmScenario;
  readonly hash: string;
  readonly steps: number;
  readonly virtualMs: number;
  /** Conversions that ended. */
  readonly conversions: number;
  readonly faults: readonly string[];
  readonly trace: (lines: number) => readonly string[];
}

/** Lock managers alone, without an array: the real lockspace client on the simulated lock server, from a seed. */
export class DlmSimulation {
  readonly world: World;
  readonly scenario: DlmScenario;
  readonly server: SimLockServer;
  readonly nodes: readonly DlmNode[];
  readonly faults: NodeFaults;
  readonly #basts: BastChecker;
  readonly #values: LockValueChecker;
  readonly #faultLog: string[] = [];
  #isOver = false;
  #breaking = false;
  #conversions = 0;

  constructor(seed: number, fixed: Partial<DlmScenario> = {}, wrappers: DlmNodeOptions["wrappers"] = {}) {
    const world = new World(seed);
    const scenario = drawDlmScenario(world, fixed);
    this.world = world;
    this.scenario = scenario;
    this.server = new SimLockServer(world);
    const { random } = world;
    this.nodes = Array.from({ length: scenario.nodes }, (_, i) => {
      const clock = { rate: 1 + random.between(-scenario.drift, scenario.drift), offset: random.between(0, 1e6) };
      const isOver = (): boolean => this.#isOver;
      return new DlmNode(world, `n${i + 1}`, this.server, { scenario, clock, wrappers, isOver });
    });
    const { leaseMs } = scenario;
    const say = (what: string): void => world.emit({ type: "fault", what });
    this.faults = new NodeFaults({ world, nodes: this.nodes, server: this.server, leaseMs, say });
    const report = (text: string): void => world.violation(text);
    const now = (): number => world.now;
    this.#basts = new BastChecker(now, report);
    const { faults } = scenario;
    this.#values = new LockValueChecker(now, report, {
      weakReads: !faults.includes("splitLockServer"),
      deathsForget: losesState.some((kind) => faults.includes(kind)),
    });
    const checkers: readonly Checker[] = [
      new LockBeliefChecker(now, report),
      new LockCastChecker(report),
      new MembershipOrderChecker(report),
      new MessageOrderChecker(now, report),
      this.#basts,
      this.#values,
    ];
    for (const checker of checkers) world.observe((event) => checker.observe(event));
    world.observe((event) => {
      if (event.type === "fault") this.#faultLog.push(`${world.now.toFixed(0)} ms: ${event.what}`);
      if (event.type === "lock_done") this.#conversions++;
    });
  }

  get failed(): boolean {
    return this.world.violations.length > 0;
  }

  /** Starts all nodes and keeps them up. */
  begin(): void {
    for (const node of this.nodes) {
      node.start();
      this.#lookAfter(node);
    }
  }

  #lookAfter(node: DlmNode): void {
    const { random } = this.world;
    this.world.schedule(random.between(50, random.chance(0.3) ? 3000 : 300), null, () => {
      node.start();
      this.#lookAfter(node);
    });
  }

  /** Things break from now on until `heal`. */
  breakThings(): void {
    this.#breaking = true;
    this.#breakNext();
  }

  #breakNext(): void {
    const { random } = this.world;
    this.world.schedule(random.between(...this.scenario.pace), null, () => {
      if (!this.#breaking) return;
      this.faults.inject(random.pick(this.scenario.faults));
      this.#breakNext();
    });
  }

  /** Mends everything, waits until nobody waits for anything, and judges what everybody has seen. */
  async healAndJudge(): Promise<void> {
    const { world, scenario } = this;
    this.#breaking = false;
    this.faults.heal();
    this.#isOver = true;
    const within = REST_LEASES * scenario.leaseMs;
    const rested = await world.run(world.now + within, () => this.nodes.every((node) => node.isAtRest));
    if (!this.failed && !rested) {
      this.#basts.judge(5 * scenario.leaseMs);
      const states = [...this.nodes.map((node) => node.describe()), ...(await this.server.describe())];
      world.violation(`within ${within} ms not everybody comes to rest\n  ${states.join("\n  ")}`);
    }
    this.#values.judge();
  }

  verdict(seed: number): DlmVerdict {
    const { world } = this;
    return {
      seed,
      ok: !this.failed,
      violations: [...world.violations],
      scenario: this.scenario,
      hash: world.trace.hash,
      steps: world.steps,
      virtualMs: world.now,
      conversions: this.#conversions,
      faults: this.#faultLog,
      trace: (lines) => world.trace.tail(lines),
    };
  }
}

/** Runs `use` on a simulation; contradictions that nobody awaits count as violations. */
export async function withDlmSimulation(
  { seed, nodes, scenario = {}, wrappers = {} }: DlmSimulationOptions,
  use: (simulation: DlmSimulation) => Promise<void>,
): Promise<DlmVerdict> {
  const simulation = new DlmSimulation(seed, nodes === undefined ? scenario : { ...scenario, nodes }, wrappers);
  const text = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));
  const stop = catchUnhandled((error) => simulation.world.violation(`nobody handled: ${text(error)}`));
  try {
    await use(simulation);
    await settle();
  } catch (error) {
    simulation.world.violation(`the simulation broke: ${text(error)}`);
  } finally {
    stop();
  }
  return simulation.verdict(seed);
}

/** One seed: nodes lock, everything breaks for a while, then is mended, and what they saw must make sense. */
export const runDlmSimulation = (options: DlmSimulationOptions): Promise<DlmVerdict> =>
  withDlmSimulation(options, async (simulation) => {
    const { world } = simulation;
    simulation.begin();
    simulation.breakThings();
    const end = world.steps + (options.steps ?? DEFAULT_STEPS);
    await world.run(world.now + 60_000, () => world.steps >= end);
    if (!simulation.failed) await simulation.healAndJudge();
  });
