import { afterAll, afterEach, beforeEach, describe, it } from "vitest";
import { Host } from "../support/daemons.ts";
import { startRedis } from "../support/redis.ts";
import { Fleet, WATCHED_KIB } from "./daemon-stage.ts";
import { playPart } from "./play.ts";
import { scenarios } from "./rows/all.ts";

interface World {
  readonly fleet: Fleet;
  readonly close: () => Promise<void>;
}

let world: World | null = null;

async function openWorld(): Promise<World> {
  const redis = await startRedis();
  // Long enough that no lease lapses by itself on a busy machine: that is no part of any scenario.
  const host = new Host({ lockServer: redis.url, lease: "4s", daemonOptions: [`--sync-speed-max=${WATCHED_KIB}`] });
  const close = async (): Promise<void> => {
    await host.close();
    await redis.stop();
  };
  return { fleet: new Fleet(host), close };
}

async function closeWorld(): Promise<void> {
  const old = world;
  world = null;
  await old?.close();
}

beforeEach(async () => {
  world ??= await openWorld();
});

// Of a part that failed anything may be left, also what still waits for an answer: the next one has daemons of its own.
afterEach(async ({ task }) => {
  if (task.result?.state === "fail") await closeWorld();
});

afterAll(closeWorld);

/** `npm run test:cluster`: what the simulator plays in `simulated.test.ts`, by daemons as processes. */
describe.each(scenarios)("$name with real daemons", ({ parts }) => {
  it.for(parts)("$title", { timeout: 240_000 }, async (part, { signal }) => {
    if (world === null) throw new Error("there is no world");
    await playPart(part, world.fleet.stage(), signal);
  });
});
