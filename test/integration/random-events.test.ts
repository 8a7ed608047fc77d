import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HistoryEvent } from "../../src/daemon/control-api.ts";
import { MirrorCluster } from "../support/mirror-cluster.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { SeededRandom } from "../support/seeded-random.ts";

/** MDCTL_EVENTS=100 MDCTL_SEED=7 npx vitest run test/integration/random-events.test.ts: more, and other ones. */
const EVENTS = Number(process.env["MDCTL_EVENTS"] ?? 10);
const SEED = Number(process.env["MDCTL_SEED"] ?? 1);
const NODES = ["n1", "n2", "n3"];

let redis: RedisServer;
let cluster: MirrorCluster;
let random: SeededRandom;

beforeEach(async () => {
  redis = await startRedis();
  cluster = await MirrorCluster.start(NODES, { lockServer: redis.url });
  random = new SeededRandom(SEED);
});

afterEach(async () => {
  await cluster.close();
  await redis.stop();
});

const othersOf = (...nodes: readonly string[]): readonly string[] => NODES.filter((node) => !nodes.includes(node));

/**
 * Until the slots of the dead are taken over there may be no room (E_NODES_FULL), and on a busy machine a lease may lapse
 * while its node is still joining (E_NOT_JOINED): an operator would try again.
 */
const PASSING = ["E_NODES_FULL", "E_NOT_JOINED"];

/** Starts again what has ended, and has it write. */
async function comeBack(node: string): Promise<void> {
  const { host, members } = cluster;
  await cluster.gone(node);
  await host.start(node);
  for (;;) {
    const { error } = await host.json(node, "assemble", "md0", ...members);
    if (error === null) break;
    if (!PASSING.includes(error.code)) throw new Error(`${node} does not come back: ${JSON.stringify(error)}`);
  }
  await cluster.load([node]);
}

async function kill(...nodes: readonly string[]): Promise<void> {
  await Promise.all(nodes.map((node) => cluster.host.end(node, "SIGKILL")));
  // Whether the others have noticed by then is left to chance.
  if (random.next() < 0.5) await cluster.progress(othersOf(...nodes), 20);
  for (const node of nodes) await comeBack(node);
}

async function restart(node: string): Promise<void> {
  await cluster.host.end(node, "SIGTERM");
  await cluster.progress(othersOf(node), 20);
  await comeBack(node);
}

/** Perhaps for less than its lease, perhaps not: whoever lost its place comes back. */
async function stall(node: string): Promise<void> {
  const { host } = cluster;
  process.kill(host.pidOf(node), "SIGSTOP");
  await cluster.progress(othersOf(node), 20);
  process.kill(host.pidOf(node), "SIGCONT");
  try {
    await cluster.progress([node], 20);
  } catch {
    await kill(node);
  }
}

async function stallPastLease(node: string): Promise<void> {
  const { host } = cluster;
  const [survivor = ""] = othersOf(node);
  const since = await host.lastEvent(survivor);
  process.kill(host.pidOf(node), "SIGSTOP");
  const isTakeover = ({ event, fields }: HistoryEvent): boolean => event === "TAKEOVER" && fields["node"] === node;
  await host.event(survivor, isTakeover, since);
  await cluster.progress(othersOf(node), 20);
  process.kill(host.pidOf(node), "SIGCONT");
  await host.event(node, ({ event, array }) => event === "FENCED" && array === "md0");
  await kill(node);
}

describe("three nodes under a verified load", () => {
  it(`lose nothing over ${EVENTS} kills, stalls and restarts by chance (seed ${SEED}), and the mirrors are equal`, {
    timeout: 60_000 + EVENTS * 30_000,
  }, async () => {
    await cluster.load();
    const happened: string[] = [];
    for (let count = 0; count < EVENTS; count++) {
      const victim = NODES[Math.floor(random.next() * NODES.length)] ?? "n1";
      const [second = ""] = othersOf(victim);
      // In turn, so that a short run has each kind.
      const kinds = [
        ["kill", () => kill(victim)],
        ["stall past the lease of", () => stallPastLease(victim)],
        ["restart", () => restart(victim)],
        ["kill both", () => kill(victim, second)],
        ["stall", () => stall(victim)],
      ] as const;
      const [kind, happen] = kinds[count % kinds.length] ?? kinds[0];
      happened.push(`${kind} ${victim}`);
      await happen().catch((error: unknown) => {
        throw new Error(`seed ${SEED}: ${happened.join(", ")}: ${String(error)}`, { cause: error });
      });
    }
    await cluster.settle();
    expect(happened).toHaveLength(EVENTS);
  });
});
