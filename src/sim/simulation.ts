import type { ClusterNode } from "../cluster/cluster-node.ts";
import { Feature, hasFeature } from "../superblock/superblock.ts";
import { judgeLocks } from "./checkers/at-rest.ts";
import type { Checker } from "./checkers/checker.ts";
import { FalseMismatchChecker } from "./checkers/false-mismatch.ts";
import { FaultyMemberChecker } from "./checkers/faulty-member.ts";
import { ForeignWindowChecker } from "./checkers/foreign-window.ts";
import { judgeHealed } from "./checkers/healed.ts";
import { LastCopyChecker } from "./checkers/last-copy.ts";
import { LeaseChecker } from "./checkers/lease.ts";
import { ListedReadsChecker } from "./checkers/listed-reads.ts";
import { MemberViewChecker } from "./checkers/member-view.ts";
import { MessageOrderChecker } from "./checkers/message-order.ts";
import { SuperblockEventsChecker } from "./checkers/superblock-events.ts";
import { SuspendListChecker } from "./checkers/suspend-list.ts";
import { TokenChecker } from "./checkers/token.ts";
import { WriteIntentChecker } from "./checkers/write-intent.ts";
import { ContentModel } from "./content-model.ts";
import { inSyncDisks, newestSuperblock } from "./disk-superblocks.ts";
import { Faults } from "./faults.ts";
import { bringBack } from "./operator.ts";
import { SaidMessages } from "./said-messages.ts";
import { drawScenario, type Scenario } from "./scenario.ts";
import { createSimArray, type SimArray } from "./sim-array.ts";
import { SimLockServer } from "./sim-lock-server.ts";
import { SimNode } from "./sim-node.ts";
import type { TracedEvent } from "./trace.ts";
import { Workload } from "./workload.ts";
import { World } from "./world.ts";
import type { Wrappers } from "./wrappers.ts";

export interface Verdict {
  readonly seed: number;
  readonly ok: boolean;
  readonly violations: readonly string[];
  readonly scenario: Scenario;
  /** Two runs of one seed have the same. */
  readonly hash: string;
  readonly steps: number;
  readonly virtualMs: number;
  /** Requests answered with success, and with an error. */
  readonly answered: number;
  readonly errors: number;
  readonly faults: readonly string[];
  /** Faults whose time came, with those of `scenario.without`. */
  readonly injected: number;
  /** The end of the story, to read. */
  readonly trace: (lines: number) => readonly string[];
  readonly events: (count: number) => readonly TracedEvent[];
}

/** Milliseconds that a mended cluster may take until it rests. */
const REST_WITHIN = 60_000;
/** Milliseconds in which clients still ask for things when all is mended. */
const ASK_ON_MS = 300;
/** Milliseconds between two looks at what costs more than an event. */
const LOOK_EVERY = 2;

/** A cluster of the real node code in a world made of one seed. */
export class Simulation {
  readonly world: World;
  readonly scenario: Scenario;
  readonly server: SimLockServer;
  readonly array: SimArray;
  readonly nodes: readonly SimNode[];
  readonly content: ContentModel;
  readonly workload: Workload;
  readonly faults: Faults;
  #asking = false;
  /** Nodes that are down are started again. */
  #keepingUp = false;

  static async create(seed: number, fixed: Partial<Scenario> = {}, wrappers: Wrappers = {}): Promise<Simulation> {
    const world = new World(seed, fixed.traceLines);
    const scenario = drawScenario(world, fixed);
    const array = await createSimArray(world, { ...scenario, slots: Math.max(4, scenario.nodes) });
    return new Simulation(world, scenario, array, wrappers);
  }

  private constructor(world: World, scenario: Scenario, array: SimArray, wrappers: Wrappers) {
    this.world = world;
    this.scenario = scenario;
    this.array = array;
    this.server = new SimLockServer(world);
    const { leaseMs, longest, shortTransfers, zeroing, drift, syncSpeedMax, ioTimeoutMs, slowIoMs, link } = scenario;
    const messages = new SaidMessages();
    this.nodes = Array.from({ length: scenario.nodes }, (_, i) => {
      const clock = { rate: 1 + world.random.between(-drift, drift), offset: world.random.between(0, 1e6) };
      const options = {
        leaseMs,
        clock,
        longest,
        shortTransfers,
        zeroes: zeroing,
        syncSpeedMax,
        ioTimeoutMs,
        slowIoMs,
        link,
        messages,
        wrappers,
      };
      return new SimNode(world, `n${i + 1}`, this.server, array, options);
    });
    this.content = new ContentModel(array.geometry.size);
    const { size } = array.geometry;
    const copies = (): readonly string[] => inSyncDisks(array.disks, array.geometry).map(({ path }) => path);
    this.workload = new Workload(world, this.content, { ...scenario, size, copies });
    this.faults = new Faults(
      { world, nodes: this.nodes, array, server: this.server },
      { kinds: scenario.faults, without: scenario.without, pace: scenario.pace, leaseMs },
    );
    for (const checker of this.#checkers()) world.observe((event) => checker.observe(event));
  }

  #checkers(): readonly Checker[] {
    const { world, content } = this;
    const { geometry, disks } = this.array;
    const report = (text: string): void => world.violation(text);
    const now = (): number => world.now;
    return [
      new WriteIntentChecker(geometry, disks, content, report),
      new ForeignWindowChecker(geometry, report),
      new LeaseChecker(report),
      new TokenChecker(report),
      new MemberViewChecker(geometry, new Map(disks.map((disk) => [disk.path, disk])), content, report),
      new FalseMismatchChecker(geometry, disks, content, report),
      new LastCopyChecker(geometry, disks, report),
      new FaultyMemberChecker(report),
      new ListedReadsChecker(geometry, disks, report),
      new SuperblockEventsChecker(geometry, disks, report),
      new MessageOrderChecker(now, report),
      new SuspendListChecker(now, () => geometry.size, report),
    ];
  }

  /** Sectors that the array has on all nodes that serve it. */
  get size(): number {
    const { size } = this.array.geometry;
    if (this.scenario.used === undefined) return size;
    return this.nodes.reduce((least, { node }) => Math.min(least, node?.status().size ?? least), size);
  }

  get failed(): boolean {
    return this.world.violations.length > 0;
  }

  /** Starts all nodes, keeps them up, and has their clients ask for things. */
  begin(): void {
    this.#keepingUp = true;
    for (const node of this.nodes) node.start();
    for (const node of this.nodes) this.#lookAfter(node);
    this.attend();
  }

  /** Has the clients of all nodes that serve IO ask for things; which nodes do is the caller's affair. */
  attend(): void {
    this.#asking = true;
    for (const node of this.nodes) this.#askSoon(node);
  }

  /** Runs until all nodes serve IO. */
  async untilAllServe(withinMs = REST_WITHIN): Promise<void> {
    await this.#expect("all nodes serve IO", withinMs, () => this.nodes.every(({ port }) => port !== null));
  }

  /** Clients ask for nothing new. */
  stopAsking(): void {
    this.#asking = false;
  }

  resumeAsking(): void {
    this.#asking = true;
  }

  /** Nodes that go down stay down. */
  letGo(): void {
    this.#keepingUp = false;
  }

  keepUp(): void {
    this.#keepingUp = true;
  }

  /** Mends everything, lets the cluster come to rest and judges what is left. */
  async healAndJudge(): Promise<void> {
    this.faults.heal();
    await this.untilAllServe();
    await this.world.run(this.world.now + ASK_ON_MS);
    this.stopAsking();
    await this.#expect("all requests are answered", REST_WITHIN, () => this.workload.isQuiet && this.#allAnswered());
    await this.#expect("what operators have begun is over", REST_WITHIN, () => this.faults.isOver);
    // Who served when all was mended may have been declared dead before: what it had begun its next life announces.
    await this.untilAllServe();
    await this.#refill();
    await this.untilRest();
    this.#judgeContent();
    await this.#readEverything();
    await this.#judgeRest();
    await this.#stopAll();
  }

  #judgeContent(): void {
    if (this.failed) return;
    for (const wrong of judgeHealed(this.array.geometry, this.array.disks, this.content)) this.world.violation(wrong);
  }

  /** Nobody asks for anything: no lock is left over and no request pending. Nodes look after each other now and then. */
  async #judgeRest(): Promise<void> {
    const newest = newestSuperblock(this.array.disks, this.array.geometry);
    const clustered = newest !== null && hasFeature(newest, Feature.clustered);
    const until = this.world.now + REST_WITHIN;
    for (let wrong = ["nobody has looked yet"]; wrong.length > 0 && !this.failed; ) {
      await this.world.run(this.world.now + LOOK_EVERY);
      const dump = await this.server.dump();
      wrong = [...this.nodes.flatMap(({ pending }) => pending), ...(dump === null ? [] : judgeLocks(dump, clustered))];
      if (this.world.now < until) continue;
      for (const text of wrong) this.world.violation(text);
    }
  }

  /** All nodes leave in good order: what they leave behind is what the next ones find. */
  async #stopAll(): Promise<void> {
    if (this.failed) return;
    this.letGo();
    let powerCut = false;
    this.world.observe((event) => {
      if (event.type === "power_cut") powerCut = true;
    });
    for (const node of this.nodes) node.stop();
    await this.#expect("all nodes leave", REST_WITHIN, () => this.nodes.every(({ isDown }) => isDown));
    // Who died while it left is as dead as any: nobody is there to see to what it leaves.
    if (powerCut) return;
    const { members = [], resources = [] } = (await this.server.dump()) ?? {};
    for (const { node } of members) this.world.violation(`${node} has left and is still a member`);
    const left = resources.filter(({ locks }) => locks.length > 0).map(({ name }) => name);
    if (left.length > 0) this.world.violation(`all nodes have left, locked are ${left.join(", ")}`);
    this.#judgeContent();
  }

  /** Runs until no node has or knows of anything to resync, and all bitmaps are clean. */
  async untilRest(withinMs = REST_WITHIN): Promise<void> {
    await this.#expect("resync and recovery end", withinMs, () => this.#isIdle(), LOOK_EVERY);
    for (let round = 0; round < 2 && !this.failed; round++) {
      let flushing = 0;
      for (const { node, process } of this.nodes) {
        if (node === null || process === null) continue;
        flushing++;
        this.world.schedule(0, process.control, () => void node.flushBitmap().then(() => flushing--));
      }
      await this.#expect("bitmaps are flushed", REST_WITHIN, () => flushing === 0);
    }
  }

  /** Members that are out come back. */
  async #refill(): Promise<void> {
    const { disks, geometry } = this.array;
    for (const disk of disks) {
      if (this.failed || inSyncDisks(disks, geometry).includes(disk)) continue;
      await this.addBack(disk.path);
    }
    await this.#expect(
      "all members are full copies",
      REST_WITHIN,
      () => inSyncDisks(disks, geometry).length === newestSuperblock(disks, geometry)?.raidDisks,
    );
  }

  /** Takes the failed member at `path` out, if it still has a place, and adds it again; as often as it takes. */
  async addBack(path: string): Promise<void> {
    let outcome = "nobody was there to do it";
    for (let attempt = 0; attempt < 20 && outcome !== "done" && !this.failed; attempt++) {
      if (attempt > 0) await this.world.run(this.world.now + this.scenario.leaseMs / 2);
      outcome = (await this.#tryAddBack(path)) ?? outcome;
    }
    if (outcome !== "done" && !this.failed) this.world.violation(`${path} cannot be added again: ${outcome}`);
  }

  /** "done", or why not; null if no node could be asked or the one that was is gone. */
  async #tryAddBack(path: string): Promise<string | null> {
    const up = this.nodes.find(({ node }) => node !== null && isWorking(node));
    const { node, process } = up ?? { node: null, process: null };
    if (node == null || process == null) return null;
    let outcome: string | null = null;
    this.world.schedule(0, process.control, () => {
      void bringBack(node, path).then(
        () => {
          outcome = "done";
        },
        (error: unknown) => {
          outcome = String(error);
        },
      );
    });
    await this.#expect(`${path} is added again`, REST_WITHIN, () => outcome !== null || process.ended);
    return outcome;
  }

  /** All of the array, a part by each node in turn: copies are compared on the disks themselves. */
  async #readEverything(): Promise<void> {
    const { size } = this;
    const { longest } = this.scenario;
    for (let lo = 0; lo < size && !this.failed; lo += longest) {
      const port = this.nodes[(lo / longest) % this.nodes.length]?.port ?? null;
      if (port === null) continue;
      let answered = false;
      this.workload.read(port, lo, Math.min(size, lo + longest), () => {
        answered = true;
      });
      await this.#expect("a read is answered", 5000, () => answered);
    }
  }

  #isIdle(): boolean {
    return this.nodes.every(({ node }) => {
      if (node === null) return false;
      const { sync, slots, bitmap, readBalance } = node.status();
      return (
        sync === null &&
        bitmap.needed === 0 &&
        readBalance === "balanced" &&
        slots.every((slot) => !slot.needsResync && slot.state !== "recovering" && slot.window === null)
      );
    });
  }

  #allAnswered(): boolean {
    return this.nodes.every(({ port }) => port?.isIdle ?? true);
  }

  async #expect(what: string, withinMs: number, done: () => boolean, everyMs = 0): Promise<void> {
    if (this.failed || (await this.world.run(this.world.now + withinMs, done, everyMs)) || this.failed) return;
    const states = this.nodes.map(({ name, node, process }) => {
      const { sync, state, readBalance, slots } = node?.status() ?? {};
      return `${name}: ${JSON.stringify({ up: process !== null, state, readBalance, sync, slots })}`;
    });
    states.push(...(await this.server.describe()));
    this.world.violation(`within ${withinMs} ms it does not happen that ${what}\n  ${states.join("\n  ")}`);
  }

  /** Looks after one node: when it is down, it is started again after a while. */
  #lookAfter(node: SimNode): void {
    const { random } = this.world;
    this.world.schedule(random.between(50, random.chance(0.3) ? 3000 : 300), null, () => {
      if (this.#keepingUp && node.isDown && !node.isAway) node.start();
      this.#lookAfter(node);
    });
  }

  #askSoon(node: SimNode): void {
    const { random } = this.world;
    this.world.schedule(random.between(...this.scenario.think), null, () => {
      const { port, process } = node;
      if (this.#asking && port !== null && process !== null && !process.data.paused) {
        this.world.schedule(0, process.data, () => {
          for (let i = random.integer(1, this.scenario.burst + 1); i > 0; i--) this.workload.ask(port, this.size);
        });
      }
      this.#askSoon(node);
    });
  }

  verdict(seed: number): Verdict {
    const { world } = this;
    return {
      seed,
      ok: !this.failed,
      violations: [...world.violations],
      scenario: this.scenario,
      hash: world.trace.hash,
      steps: world.steps,
      virtualMs: world.now,
      answered: this.workload.answered,
      errors: this.workload.errors,
      faults: this.faults.log,
      injected: this.faults.injected,
      trace: (lines) => world.trace.tail(lines),
      events: (count) => world.trace.last(count),
    };
  }
}

/** Not one that is on its way out: what it says of the members may be old. */
const isWorking = (node: ClusterNode): boolean => ["active", "degraded"].includes(node.status().state);
