import { expect, it } from "vitest";
import { heapKinds } from "../support/heap-kinds.ts";
import { CHUNK_SECTORS, ClusterWorld } from "./cluster-world.ts";

/** MDCTL_ROUNDS=2000: as many as one likes. */
const ROUNDS = Number(process.env["MDCTL_ROUNDS"] ?? 20);
/** Until the journal, which keeps so many events, is full. */
const FIRST_ROUNDS = 60;

it("26.27: a node keeps nothing of those who come and go, of devices, messages and the bitmaps that it read", {
  timeout: 120_000 + ROUNDS * 500,
}, async () => {
  const world = await ClusterWorld.create({ slots: 4 });
  world.disks.add("/dev/new", 8192);
  const a = await world.start("a");

  /** Each of these reads bitmaps of other slots, or has another node read ours. */
  const round = async (): Promise<void> => {
    // Joins: probes the free slots.
    const b = await world.start("b");
    await world.wait(a.node.addMember("/dev/new"));
    await world.wait(b.node.removeMember(2));
    // Comes back with what both nodes wrote meanwhile: their bits are gathered.
    await world.wait(a.node.failMember(1));
    await world.wait(a.node.removeMember(1));
    await world.wait(a.engine.write(3 * CHUNK_SECTORS, 1, 1));
    await world.wait(b.engine.write(5 * CHUNK_SECTORS, 1, 2));
    await world.wait(b.node.addMember("/dev/d1", "re-add"));
    await world.until(() => a.node.status().health === "UU" && b.node.status().health === "UU");
    await world.idle(a, b);
    await world.wait(a.node.bitmaps());
    await world.wait(b.node.stop());
    a.engine.log.length = 0;
  };

  for (let i = 0; i < FIRST_ROUNDS; i++) await round();
  const before = await heapKinds();
  for (let i = 0; i < ROUNDS; i++) await round();
  const after = await heapKinds();

  const kept = [...after].map(([kind, count]) => ({ kind, kept: count - (before.get(kind) ?? 0) }));
  expect(kept.filter((each) => each.kept >= ROUNDS)).toEqual([]);
  const { resources, members } = await world.wait(a.node.locks());
  expect(members).toHaveLength(1);
  expect(resources.length).toBeLessThan(20);
});
