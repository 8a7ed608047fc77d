import type { Direction } from "./lock-link.ts";
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
] as const;

export type NodeFaultKind = (typeof nodeFaultKinds)[number] | (typeof lockFaultKinds)[number];

export interface NodeFaultTargets {
  readonly world: World;
  readonly nodes: readonly FragileNode[];
  readonly server: SimLockServer;
  readonly leaseMs: number;
  readonly say: (what: string) => void;
}

/** Breaks processes, links and the lock server; each of them mends by itself after a while. */
export class NodeFaults {
  readonly #targets: NodeFaultTargets;

  constructor(targets: NodeFaultTargets) {
    this.#targets = targets;
  }

  /** Everything goes on, and all links are whole. */
  heal(): void {
    const { nodes, server } = this.#targets;
    server.unite();
    for (const node of nodes) {
      node.process?.resume();
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

  #cut(node: FragileNode, ms: number, direction: Direction): void {
    const how = direction === "both" ? "cannot reach the lock server" : `loses its ${direction}`;
    this.#targets.say(`${node.name} ${how} for ${ms.toFixed(0)} ms`);
    node.cutLink(direction);
    this.#targets.world.schedule(ms, null, () => node.healLink());
  }
}
