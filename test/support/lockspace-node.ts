import type { JoinOptions } from "../../src/dlm/join-options.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import type { Frozen, Lockspace } from "../../src/dlm/lockspace.ts";
import { joinLockspace } from "../../src/dlm/lockspace-client.ts";
import type { Env } from "../../src/env/env.ts";
import { silentLogger } from "../../src/env/logger.ts";
import type { FakeClock } from "./fake-clock.ts";

/** A member that writes down what it is told. */
export interface RecordedNode {
  readonly lockspace: Lockspace;
  readonly log: string[];
  /** The last deadline given to the data plane. */
  deadline: number;
}

export function envOf(clock: FakeClock, seed = 1): Env {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const bytes = (size: number): Uint8Array => Uint8Array.from({ length: size }, () => Math.floor(next() * 256));
  return { clock, random: { next, bytes }, log: silentLogger };
}

interface Hooks {
  readonly onFrozen?: (state: Frozen) => void;
  readonly onFenced?: () => void;
}

export async function joinRecorded(
  master: LockMaster,
  env: Env,
  node: string,
  { onFrozen, onFenced, ...more }: Partial<JoinOptions> & Hooks = {},
): Promise<RecordedNode> {
  const log: string[] = [];
  const holder = { deadline: 0 };
  const lockspace = await joinLockspace({
    master,
    name: "array",
    cluster: "alpha",
    node,
    slots: 4,
    lease: { leaseMs: 1000 },
    env,
    listener: {
      recoverPrep: () => log.push("prep"),
      recoverSlot: (member) => log.push(`slot ${member.slot} ${member.node}`),
      recoverDone: (members, own, generation) =>
        log.push(`done ${generation}: ${members.map((m) => `${m.slot}=${m.node}`).join(" ")}, own ${own}`),
      fenced: (reason) => {
        log.push(`fenced: ${reason}`);
        onFenced?.();
      },
      frozen: (state) => {
        if (log.at(-1) !== "frozen") log.push("frozen");
        onFrozen?.(state);
      },
      thawed: () => log.push("thawed"),
      serverReachable: (reachable) => log.push(`reachable ${reachable}`),
    },
    leaseSink: (deadlineMs) => {
      holder.deadline = deadlineMs;
    },
    ...more,
  });
  return {
    lockspace,
    log,
    get deadline() {
      return holder.deadline;
    },
  };
}
