import { badCalls, badNotices, type Direction, type LinkTiming } from "./lock-link.ts";
import type { SimLockServer } from "./sim-lock-server.ts";
import type { SimProcess } from "./sim-process.ts";
import type { World } from "./world.ts";

/** A host whose process can be hurt. */
export interface FragileNode {
  readonly name: string;
  /** Null: it is down. */
  readonly process: SimProcess | null;
  kill(why: string): void;
  /** A clean stop. */
  stop(): void;
  /** No effect while it is up. */
  start(): void;
  cutLink(direction?: Direction): void;
  healLink(): void;
}

export const nodeFaultKinds = [
  "crash",
  "pauseShort",
  "pauseLong",
  "stallControl",
  "cutShort",
  "cutLong",
  "stop",
  "jumpWall",
  /** All it does takes long; its clock runs too fast or too slow; it ends, in whatever way, and is started at once. */
  "slowNode",
  "skewClock",
  "restart",
] as const;

/** What happens to the lock server, and to the ways to it. */
export const lockFaultKinds = [
  /** Only what nodes ask is lost, or only what they are told. */
  "cutRequests",
  "cutReplies",
  /** Comes back with nothing; with a state that lacks the last calls. */
  "restartLockServer",
  "rollBackLockServer",
  /** A replica takes over while one node still speaks with the former primary. */
  "splitLockServer",
  /** Of one node, for a while: what the server tells comes late, twice or never; calls do. */
  "badNotices",
  "badCalls",
] as const;

export type NodeFaultKind = (typeof nodeFaultKinds)[number] | (typeof lockFaultKinds)[number];

export interface NodeFaultTargets {
  readonly world: World;
  readonly nodes: readonly FragileNode[];
  readonly server: SimLockServer;
  readonly leaseMs: number;
  readonly say: (what: string) => void;
}

/** How wrong a clock may run: what the times of a lease allow for. */
const MOST_SKEW = 0.1;

/** Breaks processes, links and the lock server; each of them mends by itself after a while. */
export class NodeFaults {
  readonly #targets: NodeFaultTargets;
  #isHealed = false;

  constructor(targets: NodeFaultTargets) {
    this.#targets = targets;
  }

  /** Everything goes on, and all links are whole. */
  heal(): void {
    const { nodes, server } = this.#targets;
    this.#isHealed = true;
    server.unite();
    for (const node of nodes) {
      node.process?.resume();
      node.process?.link.trouble(null);
      node.healLink();
    }
  }

  /** One fault, on whatever is there to be hurt; none if nothing is. */
  inject(kind: NodeFaultKind): void {
    const { nodes, world, server, leaseMs, say } = this.#targets;
    const { random } = world;
    const alive = nodes.filter((node) => node.process !== null);
    const target = alive.length > 0 ? random.pick(alive) : null;
    switch (kind) {
      case "crash":
        if (target !== null) this.#crash(target);
        break;
      case "pauseShort":
        if (target !== null) this.#pause(target, random.between(1, leaseMs * 0.5), "process");
        break;
      case "pauseLong":
        if (target !== null) this.#pause(target, random.between(leaseMs * 0.6, leaseMs * 3), "process");
        break;
      case "stallControl":
        if (target !== null) this.#pause(target, random.between(1, leaseMs * 2), "control");
        break;
      case "cutShort":
        if (target !== null) this.#cut(target, random.between(1, leaseMs * 0.5), "both");
        break;
      case "cutLong":
        if (target !== null) this.#cut(target, random.between(leaseMs * 0.6, leaseMs * 3), "both");
        break;
      case "cutRequests":
      case "cutReplies": {
        const direction = kind === "cutRequests" ? "requests" : "replies";
        if (target !== null) this.#cut(target, random.between(1, leaseMs * 2), direction);
        break;
      }
      case "stop":
        say(`${target?.name ?? "nobody"} is stopped`);
        target?.stop();
        break;
      case "jumpWall":
        say(`${target?.name ?? "nobody"}'s calendar jumps`);
        target?.process?.clock.jumpWall(random.between(-3_600_000, 3_600_000));
        break;
      case "slowNode":
        if (target !== null) this.#slow(target, random.between(leaseMs * 0.2, leaseMs * 2));
        break;
      case "skewClock":
        if (target !== null) this.#skew(target, 1 + random.between(-MOST_SKEW, MOST_SKEW));
        break;
      case "restart":
        if (target !== null) this.#restart(target, random.chance(0.5));
        break;
      case "badNotices":
        if (target !== null) this.#trouble(target, "notices", badNotices(leaseMs));
        break;
      case "badCalls":
        if (target !== null) this.#trouble(target, "calls", badCalls(leaseMs));
        break;
      case "restartLockServer":
        server.restart();
        break;
      case "rollBackLockServer":
        server.rollBack(random.integer(1, 20));
        break;
      case "splitLockServer":
        if (target === null) break;
        server.split(new Set([target.name]), random.integer(0, 20));
        world.schedule(random.between(1, leaseMs * 3), null, () => server.unite());
        break;
    }
  }

  #crash(node: FragileNode): void {
    this.#targets.say(`${node.name} is killed`);
    node.kill("killed");
  }

  #pause(node: FragileNode, ms: number, what: "process" | "control"): void {
    const { process } = node;
    this.#targets.say(`${node.name} is paused (${what}) for ${ms.toFixed(0)} ms`);
    process?.pause(what);
    this.#targets.world.schedule(ms, null, () => process?.resume());
  }

  /** It runs for a moment, and stands still for a longer one, again and again. */
  #slow(node: FragileNode, ms: number): void {
    const { world, say } = this.#targets;
    const { process } = node;
    const until = world.now + ms;
    say(`${node.name} is slow for ${ms.toFixed(0)} ms`);
    const stutter = (): void => {
      process?.pause();
      world.schedule(world.random.between(1, 15), null, () => {
        process?.resume();
        if (world.now < until && !this.#isHealed) world.schedule(world.random.between(0.5, 3), null, stutter);
      });
    };
    stutter();
  }

  #skew(node: FragileNode, rate: number): void {
    this.#targets.say(`${node.name}'s clock runs ${rate.toFixed(3)} times as fast`);
    node.process?.skew(rate);
  }

  #restart(node: FragileNode, clean: boolean): void {
    const { world, say } = this.#targets;
    say(`${node.name} is ${clean ? "stopped" : "killed"} and started again at once`);
    if (clean) node.stop();
    else node.kill("killed");
    const again = (): void => {
      if (node.process === null) node.start();
      else if (clean && !this.#isHealed) world.schedule(world.random.between(1, 10), null, again);
    };
    world.schedule(world.random.between(0, 5), null, again);
  }

  #trouble(node: FragileNode, what: string, timing: Partial<LinkTiming>): void {
    const { world, leaseMs, say } = this.#targets;
    const ms = world.random.between(leaseMs * 0.2, leaseMs * 3);
    say(`${node.name}'s ${what} are lost, doubled or late for ${ms.toFixed(0)} ms`);
    const { process } = node;
    process?.link.trouble(timing);
    world.schedule(ms, null, () => process?.link.trouble(null));
  }

  #cut(node: FragileNode, ms: number, direction: Direction): void {
    const how = direction === "both" ? "cannot reach the lock server" : `loses its ${direction}`;
    this.#targets.say(`${node.name} ${how} for ${ms.toFixed(0)} ms`);
    node.cutLink(direction);
    this.#targets.world.schedule(ms, null, () => node.healLink());
  }
}
