import { afterAll, expect, it } from "vitest";
import type { MirrorCluster } from "./mirror-cluster.ts";

/** `MDCTL_LOSSES=20 npx vitest run test/integration/lock-server-`: each case so often in a row. */
const TIMES = Number(process.env["MDCTL_LOSSES"] ?? 1);
/** How long something stands still that is to stand still for longer than a lease: `MDCTL_STALL_MS=30000` for real. */
export const STALL_MS = Number(process.env["MDCTL_STALL_MS"] ?? 3000);
export const LEASE_MS = 2000;
export const NODES = ["n1", "n2"];

/** What no fault may lead to unless a case says so. */
const DEATHS = ["FENCED", "NODEDOWN", "TAKEOVER", "FAILED"];

export interface LossWorld {
  readonly cluster: MirrorCluster;
  close(): Promise<void>;
}

interface LossCase<W> {
  (name: string, fault: (world: W) => Promise<unknown>): void;
  /** Somebody is declared dead in this one. */
  readonly fatal: (name: string, fault: (world: W) => Promise<unknown>) => void;
}

/**
 * Declares cases of one file, in each of which something happens to the lock server under a verified load, and all must
 * hold afterwards that `MirrorCluster.settle` looks at. They share a world as long as they leave a sound one behind.
 */
export function lossCases<W extends LossWorld>(start: () => Promise<W>): LossCase<W> {
  let shared: W | null = null;
  afterAll(() => shared?.close());
  const declare = (name: string, fault: (world: W) => Promise<unknown>, deaths: boolean): void => {
    it(name, { repeats: TIMES - 1, timeout: 60_000 + 3 * STALL_MS }, async () => {
      const world = shared ?? (await start());
      shared = null;
      const { cluster } = world;
      try {
        const since = await cluster.lastEvents();
        await cluster.load();
        await fault(world);
        await cluster.works();
        await cluster.settle();
        if (!deaths) expect((await cluster.eventsAfter(since)).filter((code) => DEATHS.includes(code))).toEqual([]);
      } catch (error) {
        await world.close();
        throw error;
      }
      shared = world;
    });
  };
  const losing = (name: string, fault: (world: W) => Promise<unknown>): void => declare(name, fault, false);
  return Object.assign(losing, {
    fatal: (name: string, fault: (world: W) => Promise<unknown>) => declare(name, fault, true),
  });
}
