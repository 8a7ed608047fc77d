import { describe, expect, it } from "vitest";
import type { ProtocolRange } from "../../src/messages/protocol-version.ts";
import { ClusterWorld } from "./cluster-world.ts";

const speaks = (oldest: number, newest: number, features = 1): { readonly protocol: ProtocolRange } => ({
  protocol: { oldest, newest, features },
});

describe("F46: a node of another protocol version", () => {
  it("N+1 joins a cluster of N and speaks N; what it does reaches the others", async () => {
    const world = await ClusterWorld.create({ spares: 1 });
    const a = await world.start("a", world.members, speaks(1, 1));
    const b = await world.start("b", world.members, speaks(1, 2));
    await world.idle(a, b);
    await world.wait(b.node.failMember(1));
    await world.until(() => a.node.status().members.some(({ number, state }) => number === 1 && state === "faulty"));
    // A third one of the old version finds the old one spoken.
    const c = await world.start("c", world.members, speaks(1, 1));
    await world.idle(a, b, c);
  });

  it("N+1 that speaks N no more is refused with both versions; nothing has changed for the others", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a", world.members, speaks(1, 1));
    const { events } = a.node.status();
    await expect(world.wait(world.begin("b", world.members, speaks(2, 2)))).rejects.toMatchObject({
      code: "E_PROTOCOL_VERSION",
      why: "a speaks version 1 of the cluster protocol, this node speaks 2 only",
    });
    await world.idle(a);
    expect(a.node.status()).toMatchObject({ events, state: "active", readBalance: "balanced" });
  });

  it("N that comes to a cluster of N+1 is refused, and let in when all were restarted with N", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a", world.members, speaks(1, 2));
    const b = await world.start("b", world.members, speaks(1, 2));
    await expect(world.wait(world.begin("c", world.members, speaks(1, 1)))).rejects.toMatchObject({
      why: "a speaks version 2 of the cluster protocol, this node speaks 1 only",
    });
    for (const { node } of [a, b]) await world.wait(node.stop());
    const c = await world.start("c", world.members, speaks(1, 1));
    const again = await world.start("a", world.members, speaks(1, 2));
    await world.idle(c, again);
  });

  it("says nothing in the slot of one that was killed: who comes next agrees with those who live", async () => {
    const world = await ClusterWorld.create();
    const a = await world.start("a", world.members, speaks(1, 2));
    world.kill(a);
    const b = await world.start("b", world.members, speaks(1, 1));
    await world.idle(b);
    await expect(world.wait(world.begin("c", world.members, speaks(2, 2)))).rejects.toMatchObject({
      why: "b speaks version 1 of the cluster protocol, this node speaks 2 only",
    });
  });
});
