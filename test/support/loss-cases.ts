import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { MirrorCluster } from "./mirror-cluster.ts";

/** `MDCTL_LOSSES=20 npx vitest run test/integration/lock-server-`: each case so often in a row. */
const TIMES = Number(process.env["MDCTL_LOSSES"] ?? 1);
/** On a machine that is busy with other things a daemon may stand still for long: `MDCTL_LEASE_MS=5000`. */
export const LEASE_MS = Number(process.env["MDCTL_LEASE_MS"] ?? 2000);
/** How long something stands still that is to stand still for longer than a lease: `MDCTL_STALL_MS=30000` for real. */
export const STALL_MS = Number(process.env["MDCTL_STALL_MS"] ?? 1.5 * LEASE_MS);
export const NODES = ["n1", "n2"];
/** Each judges the daemons' whole lives: in a world that is used for longer, that takes longer than what happens in it. */
const CASES_PER_WORLD = 12;

/** `MDCTL_LOSS_LOGS=DIR`: where the daemons' logs of a case that failed go; they are gone with its world otherwise. */
function keepLogs(name: string, cluster: MirrorCluster): void {
  const folder = process.env["MDCTL_LOSS_LOGS"];
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  for (const { life, lines } of cluster.host.lives()) {
    writeFileSync(
      join(folder, `${Date.now()} ${name.replaceAll(/[^a-z0-9]+/gi, " ").slice(0, 40)} ${life}.log`),
      lines.join("\n"),
    );
  }
}

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
  let cases = 0;
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
        keepLogs(name, cluster);
        await world.close();
        throw error;
      }
      cases += 1;
      if (cases % CASES_PER_WORLD === 0) await world.close();
      else shared = world;
    });
  };
  const losing = (name: string, fault: (world: W) => Promise<unknown>): void => declare(name, fault, false);
  return Object.assign(losing, {
    fatal: (name: string, fault: (world: W) => Promise<unknown>) => declare(name, fault, true),
  });
}
