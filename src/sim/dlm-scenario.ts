import { badLink, fastLink, type LinkTiming } from "./lock-link.ts";
import type { NodeFaultKind } from "./node-faults.ts";
import type { World } from "./world.ts";

/** What seeds draw from that are not told otherwise. */
const usualKinds: readonly NodeFaultKind[] = [
  ...["crash", "pauseShort", "pauseLong", "stallControl", "cutShort", "cutLong", "stop", "jumpWall"],
  ...["cutRequests", "cutReplies", "restartLockServer", "rollBackLockServer", "splitLockServer"],
] as NodeFaultKind[];

/** What a simulation of lock managers alone is made of, besides its seed. */
export interface DlmScenario {
  readonly nodes: number;
  readonly resources: number;
  readonly leaseMs: number;
  readonly link: LinkTiming;
  readonly faults: readonly NodeFaultKind[];
  /** Milliseconds between faults. */
  readonly pace: readonly [number, number];
  /** Milliseconds between two things that a node does with a lock, and for which it holds one. */
  readonly think: readonly [number, number];
  readonly hold: readonly [number, number];
  /** Nodes talk over the message bus as well. */
  readonly messages: boolean;
  /** Clocks run this much too fast or too slow, at most. */
  readonly drift: number;
}

/** A scenario drawn by chance: rates and faults differ from seed to seed, and some seeds are calm in most respects. */
export function drawDlmScenario(world: World, fixed: Partial<DlmScenario> = {}): DlmScenario {
  const { random } = world;
  const leaseMs = fixed.leaseMs ?? 1000;
  const faults = usualKinds.filter(() => random.chance(0.3));
  return {
    nodes: random.integer(2, 5),
    resources: random.integer(1, 4),
    leaseMs,
    link: random.chance(0.5) ? badLink(leaseMs) : fastLink,
    faults: faults.length > 0 ? faults : ["restartLockServer"],
    pace: random.pick([
      [50, 400],
      [300, 2000],
      [1000, 4000],
    ] as const),
    think: random.pick([
      [1, 20],
      [5, 100],
    ] as const),
    hold: random.pick([
      [0, 10],
      [1, 150],
    ] as const),
    messages: random.chance(0.3),
    drift: random.chance(0.3) ? 0.1 : 0,
    ...fixed,
  };
}
