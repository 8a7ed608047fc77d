import { sector } from "../base/units.ts";
import type { ClusterNode } from "../cluster/cluster-node.ts";
import type { SeededRandom } from "./random.ts";
import type { SimProcess } from "./sim-process.ts";
import type { World } from "./world.ts";

/** Nodes that can be given commands. */
interface Commanded {
  readonly node: ClusterNode | null;
  readonly process: SimProcess | null;
}

interface OperatorTargets {
  readonly world: World;
  readonly nodes: readonly Commanded[];
  readonly leaseMs: number;
  readonly say: (what: string) => void;
}

/** Carries a command out on a node. `number`: of the member at the command's path, -1 if it is none there. */
type Act = (node: ClusterNode, number: number) => Promise<void>;

/**
 * Somebody who gives commands to whatever nodes are up, and leaves what they refuse: others may have been there first. A
 * command is over when it is answered or its node is gone.
 */
export class Operator {
  readonly #targets: OperatorTargets;
  /** Commands that are still to be given, or answered: by which process, null if it is not known yet. */
  readonly #open = new Set<{ readonly path: string; process: SimProcess | null }>();

  constructor(targets: OperatorTargets) {
    this.#targets = targets;
  }

  /** Nothing of what was commanded is still to come. */
  get isDone(): boolean {
    return this.#pending().size === 0;
  }

  /** What is to become of this disk is not over. */
  isBusyWith(path: string): boolean {
    for (const command of this.#pending()) if (command.path === path) return true;
    return false;
  }

  /**
   * Fails a member on one node, perhaps removes it on another, and wants it back on a third after a while, by `add` or
   * `re-add`, all as soon as the nodes let him.
   */
  moveMember(path: string): void {
    const { world, leaseMs, say } = this.#targets;
    const { random } = world;
    const removes = random.chance(0.5);
    const how = random.chance(0.5) ? "re-add" : "add";
    say(`${path} is failed${removes ? ", removed" : ""} and wanted back (${how})`);
    this.#command(0, path, async (node, number) => {
      await node.failMember(number);
      if (removes) this.#command(random.between(0, leaseMs / 4), path, (other, again) => other.removeMember(again));
      this.#command(random.between(1, leaseMs * 2), path, async (other, again) => {
        const isBound = other.status().members.some((one) => one.number === again && one.state === "faulty");
        if (isBound && how === "add") await other.removeMember(again);
        await other.addMember(path, how);
      });
    });
  }

  /**
   * Has a spare take a member's place on one node; once it is faulty the old one is removed on another, and stands by for
   * the next one. The member may be the last copy, and either of the two may fail in between.
   */
  replaceMember(path: string): void {
    const { world, leaseMs, say } = this.#targets;
    say(`${path} is to be replaced`);
    this.#command(0, path, async (node, number) => {
      await node.replaceMember(number, null);
      this.#command(world.random.between(leaseMs, leaseMs * 4), path, async (other, again) => {
        await other.removeMember(again);
        await other.addMember(path, "add-spare");
      });
    });
  }

  /** A disk that some node does not know as a member becomes one, to stand by or to fill a place that is free. */
  addDisk(paths: readonly string[]): void {
    const { random } = this.#targets.world;
    const path = random.pick(paths);
    const how = random.chance(0.5) ? "add" : "add-spare";
    this.#targets.say(`${path} is wanted as a member (${how})`);
    this.#command(0, path, async (node, number) => {
      if (number === -1) await node.addMember(path, how);
    });
  }

  /** A spare is taken out; one that has begun to be filled meanwhile is refused. */
  removeSpare(): void {
    this.#targets.say("a spare is removed");
    this.#command(0, "a spare", async (node) => {
      const spares = node.status().members.filter(({ state }) => state === "spare");
      if (spares.length > 0) await node.removeMember(this.#targets.world.random.pick(spares).number);
    });
  }

  /** The array grows on its members, by some sectors or as far as there is room. */
  growSize(): void {
    const { world, say } = this.#targets;
    const by = world.random.chance(0.3) ? null : world.random.integer(8, 100);
    say(`the array is to grow ${by === null ? "as far as it can" : `by ${by} sectors of each member`}`);
    this.#command(0, "the array", async (node) => {
      const size = by === null ? "max" : sector(evenBelow(node.status().memberSize + by));
      await node.grow({ size, raidDisks: null, chunkBytes: null, stripeSectors: null, assumeClean: false });
    });
  }

  /** Somebody has all copies compared or repaired, or stops what goes on, on whatever node. `random`: for this alone. */
  syncAction(random: SeededRandom): void {
    const action = random.pick(["check", "check", "repair", "frozen", "idle"] as const);
    const at = random.next();
    const limited = random.chance(0.3);
    this.#targets.say(`sync_action: ${action}`);
    this.#command(0, "sync_action", (node) => {
      if (action === "frozen" || action === "idle") {
        node.setSyncAction(action);
        return Promise.resolve();
      }
      const { size, members } = node.status();
      const source = action === "repair" ? random.pick(members).number : null;
      const from = limited ? sector(Math.floor(at * size)) : null;
      return Promise.resolve().then(() => node.scrub({ action, from, to: null, source }));
    });
  }

  /** A disk that was out for a fault is a member again. */
  bringBack(path: string): void {
    this.#command(0, path, (node) => bringBack(node, path));
  }

  #pending(): ReadonlySet<{ readonly path: string }> {
    for (const command of this.#open) if (command.process?.ended) this.#open.delete(command);
    return this.#open;
  }

  /** Has some node that is up do it, `ms` from now. */
  #command(ms: number, path: string, act: Act): void {
    const { world, nodes } = this.#targets;
    const command: { readonly path: string; process: SimProcess | null } = { path, process: null };
    this.#open.add(command);
    world.schedule(ms, null, () => {
      const up = nodes.filter(({ node, process }) => node !== null && process !== null);
      const { node, process } = up.length > 0 ? world.random.pick(up) : { node: null, process: null };
      if (node === null || process === null) {
        this.#open.delete(command);
        return;
      }
      command.process = process;
      world.schedule(0, process.control, () => {
        const number = node.status().members.find((one) => one.path === path)?.number ?? -1;
        void act(node, number)
          .catch((error: unknown) => world.trace.note(world.now, `${path}: ${String(error)}`))
          .finally(() => this.#open.delete(command));
      });
    });
  }
}

/** Sizes are whole KiB. */
const evenBelow = (sectors: number): number => sectors - (sectors % 2);

/** Takes a faulty member out and adds it again; one that has its place already is left alone. */
export async function bringBack(node: ClusterNode, path: string): Promise<void> {
  const member = node.status().members.find((one) => one.path === path);
  if (member?.state === "in_sync" || member?.state === "rebuilding" || member?.state === "spare") return;
  if (member?.state === "faulty") await node.removeMember(member.number);
  await node.addMember(path);
}
