import { setTimeout as pause } from "node:timers/promises";
import { describe, expect } from "vitest";
import { lossCases, NODES, STALL_MS } from "../support/loss-cases.ts";
import { ReplicatedWorld } from "../support/replicated-world.ts";

describe("a verified load on two nodes, with a primary Redis and two replicas", () => {
  const losing = lossCases(() => ReplicatedWorld.start());

  losing("goes on after a failover to a replica that missed the last writes (F31)", async (world) => {
    const { cluster } = world;
    // The other replica has them, so they count.
    world.replicationOf(world.replica(0)).hold("reply");
    await cluster.works();
    expect(await world.missedBy(world.replica(0))).toBeGreaterThan(0);
    await world.primary.kill();
    await cluster.remastering(async () => {
      await world.promote();
      for (const node of NODES) world.direct(node, world.primary);
    });
    await world.takeBack();
  });

  losing("waits while no replica confirms a renewal, and nobody is declared dead (F31)", async (world) => {
    const { cluster } = world;
    const replication = [0, 1].map((number) => world.replicationOf(world.replica(number)));
    for (const link of replication) link.hold("request", "reply");
    for (const node of NODES) await cluster.until(node, ({ verdict }) => verdict === "frozen");
    await pause(STALL_MS);
    for (const link of replication) link.heal();
  });

  losing.fatal("ends on the node that sees the old primary when the other sees a new one (F31)", async (world) => {
    const { cluster } = world;
    const { host } = cluster;
    const [one, two] = await cluster.lastEvents();
    await world.promote();
    world.direct("n2", world.primary);
    await host.event("n2", ({ event, array }) => event === "TAKEOVER" && array === "md0", two);
    await host.event("n2", ({ event, array }) => event === "NODEDOWN" && array === null, two);
    await cluster.works(["n2"]);
    await world.takeBack();
    world.direct("n1", world.primary);
    await host.event("n1", ({ event, array }) => event === "FENCED" && array === "md0", one);
    await host.event("n2", ({ event }) => event === "NODEUP", two);
    await cluster.assemble("n1");
    await cluster.load(["n1"]);
  });
});
