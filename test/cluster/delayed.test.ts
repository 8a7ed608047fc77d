import { expect, it } from "vitest";
import { ClusterWorld } from "./cluster-world.ts";

it("an array waits for another one of this node with which it shares a disk, and says so", async () => {
  const world = await ClusterWorld.create({ clean: false });
  const other = world.turnsOf("n1").ask("backup", [world.members[1] ?? ""]);
  const { node, engine } = await world.start("n1");
  const sync = () => node.status().sync;
  await world.until(() => sync()?.phase === "delayed");
  expect(sync()).toMatchObject({ action: "resync", waitsFor: "array backup on the same disk" });
  const before = engine.needed.size;
  expect(before).toBeGreaterThan(0);
  await world.clock.advance(5000);
  expect(engine.needed.size).toBe(before);
  other.end();
  await world.wait(node.waitIdle());
  expect(engine.needed.size).toBe(0);
  // And its own turn is over.
  expect(world.turnsOf("n1").ask("backup", world.members).waitsFor).toBe(null);
});

it("leaves in good order while it waits", async () => {
  const world = await ClusterWorld.create({ clean: false });
  const other = world.turnsOf("n1").ask("backup", world.members);
  const { node } = await world.start("n1");
  await world.until(() => node.status().sync?.phase === "delayed");
  await world.wait(node.stop());
  other.end();
  expect(world.turnsOf("n1").ask("backup", world.members).waitsFor).toBe(null);
});
