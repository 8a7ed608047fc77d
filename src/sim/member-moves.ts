import type { ClusterNode } from "../cluster/cluster-node.ts";
import type { World } from "./world.ts";

/** Nodes that can be given commands. */
interface Commanded {
  readonly name: string;
  readonly node: ClusterNode | null;
  readonly process: { readonly control: Parameters<World["schedule"]>[1] } | null;
}

interface MemberMoves {
  readonly world: World;
  readonly nodes: readonly Commanded[];
  readonly leaseMs: number;
  readonly say: (what: string) => void;
}

/**
 * An operator fails a member on one node, perhaps removes it on another, and wants it back on a third after a while, by
 * `add` or `re-add`, all as soon as the nodes let him. What they refuse is left: others may have been there first.
 */
export function moveMember(moves: MemberMoves, path: string): void {
  const { world, leaseMs, say } = moves;
  const { random } = world;
  const removes = random.chance(0.5);
  const how = random.chance(0.5) ? "re-add" : "add";
  say(`${path} is failed${removes ? ", removed" : ""} and wanted back (${how})`);
  command(moves, 0, path, async (node, number) => {
    await node.failMember(number);
    if (removes) command(moves, random.between(0, leaseMs / 4), path, (other, again) => other.removeMember(again));
    command(moves, random.between(1, leaseMs * 2), path, async (other, again) => {
      const isBound = other.status().members.some((one) => one.number === again && one.state === "faulty");
      if (isBound && how === "add") await other.removeMember(again);
      await other.addMember(path, how);
    });
  });
}

/** Has some node that is up do it, `ms` from now. `number`: of the member at `path`, -1 if it is none. */
function command(
  { world, nodes }: MemberMoves,
  ms: number,
  path: string,
  act: (node: ClusterNode, number: number) => Promise<void>,
): void {
  world.schedule(ms, null, () => {
    const up = nodes.filter(({ node, process }) => node !== null && process !== null);
    if (up.length === 0) return;
    const { node, process } = world.random.pick(up);
    if (node === null || process === null) return;
    world.schedule(0, process.control, () => {
      const number = node.status().members.find((one) => one.path === path)?.number ?? -1;
      void act(node, number).catch((error: unknown) => {
        world.trace.note(world.now, `${path}: ${String(error)}`);
      });
    });
  });
}
