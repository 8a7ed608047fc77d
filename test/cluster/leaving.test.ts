import { expect, it } from "vitest";
import { ClusterWorld } from "./cluster-world.ts";

it("a node whose data plane does not come to an end gives nothing back: the others declare it dead", async () => {
  const world = await ClusterWorld.create({ clean: false });
  const a = await world.start("a");
  let isCopying = false;
  a.engine.onCopy = () => {
    isCopying = true;
    return new Promise(() => {});
  };
  await world.until(() => isCopying);
  const b = await world.start("b");
  await world.wait(a.node.stop(), 120_000);
  expect(a.engine.shared.leaseHolds(world.clock.now())).toBe(false);
  expect(b.node.status().slots[0]?.state).toBe("up");
  await world.until(() => b.node.events().some(({ code }) => code === "NODEDOWN"));
  expect(b.node.events().map(({ code }) => code)).not.toContain("LEAVE");
  await world.idle(b);
});

it("a node that is leaving acknowledges what it need not follow any more, and complains of nothing", async () => {
  const world = await ClusterWorld.create({ spares: 1 });
  const a = await world.start("a");
  const b = await world.start("b");
  await world.idle(a, b);
  let failing: Promise<void> | null = null;
  a.engine.onCommand = ({ type }) => {
    if (type === "stop") failing = b.node.failMember(1);
  };
  await world.wait(a.node.stop());
  await world.wait(failing ?? Promise.reject(new Error("the data plane was not stopped")));
  expect(a.node.status().messages.failed).toEqual({});
  await world.idle(b);
  expect(b.node.status().health).toBe("UU");
});
