import { afterAll, beforeAll, describe, it } from "vitest";
import { Host } from "../support/daemons.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { Fleet, WATCHED_KIB } from "./daemon-stage.ts";
import { playPart } from "./play.ts";
import { scenarios } from "./rows/all.ts";

let redis: RedisServer;
let host: Host;
let fleet: Fleet;

beforeAll(async () => {
  redis = await startRedis();
  // Long enough that no lease lapses by itself on a busy machine: that is no part of any scenario.
  host = new Host({ lockServer: redis.url, lease: "4s", daemonOptions: [`--sync-speed-max=${WATCHED_KIB}`] });
  fleet = new Fleet(host);
});

afterAll(async () => {
  await host.close();
  await redis.stop();
});

/** `npm run test:cluster`: what the simulator plays in `simulated.test.ts`, by daemons as processes. */
describe.each(scenarios)("$name with real daemons", ({ parts }) => {
  it.each(parts)("$title", { timeout: 240_000 }, async (part) => {
    await playPart(part, fleet.stage());
  });
});
