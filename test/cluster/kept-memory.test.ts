import { expect, it } from "vitest";
import { heapKinds } from "../support/heap-kinds.ts";
import { CHUNK_SECTORS, ClusterWorld } from "./cluster-world.ts";

/** MDCTL_ROUNDS=1000: as many as one likes. */
const ROUNDS = Number(process.env["MDCTL_ROUNDS"] ?? 20);
/** What is made once, by us or by the test runner, grows in one of these; what is kept each time in all of them. */
const SPANS = 3;

it("26.27: a node keeps nothing of those who come and go, of devices, messages and the bitmaps that it read", {
  timeout: 120_000 + SPANS * ROUNDS * 500,
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

  // The journal keeps a number of events: first of all it is filled.
  for (let filled = -1; filled !== a.node.events().length; await round()) filled = a.node.events().length;
  const counts = [await heapKinds()];
  for (let span = 0; span < SPANS; span++) {
    for (let i = 0; i < ROUNDS; i++) await round();
    counts.push(await heapKinds());
  }
  const of = (span: number, kind: string): number => counts[span]?.get(kind) ?? 0;
  const keptOf = (kind: string): number =>
    Math.min(...counts.slice(1).map((_, span) => of(span + 1, kind) - of(span, kind)));
  const kept = [...(counts[SPANS]?.keys() ?? [])].map((kind) => ({ kind, kept: keptOf(kind) }));
  expect(kept.filter((each) => each.kept >= ROUNDS)).toEqual([]);
  const { resources, members } = await world.wait(a.node.locks());
  expect(members).toHaveLength(1);
  expect(resources.length).toBeLessThan(20);
});
