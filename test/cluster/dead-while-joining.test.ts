import { expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { ClusterWorld } from "./cluster-world.ts";

/** The newcomer is declared dead when it begins its `nth` read of a member. How its join ends; null: it had no such read. */
async function declaredDeadAt(nth: number): Promise<{ readonly wasMember: boolean; readonly error: unknown } | null> {
  const world = await ClusterWorld.create();
  const a = await world.start("a");
  await world.idle(a);
  const open = world.disks.open.bind(world.disks);
  let reads = 0;
  let wasMember = false;
  world.disks.open = (path, host) => {
    const device = open(path, host);
    if (host !== "b") return device;
    return Object.assign(Object.create(device), {
      read: async (...args: Parameters<typeof device.read>) => {
        if (++reads === nth) {
          const b = a.node.lockspaceStatus().members.find(({ node }) => node === "b");
          wasMember = b !== undefined;
          if (b !== undefined) await a.node.evict({ node: b.node, slot: b.slot });
        }
        return device.read(...args);
      },
    });
  };
  const joining = world.begin("b", world.members).then(
    () => null,
    (error: unknown) => error,
  );
  const error = await world.wait(joining);
  return reads < nth ? null : { wasMember, error };
}

it("a node that is declared dead at any moment of its join gives up: it does not wait for its lease", async () => {
  let evicted = 0;
  for (let nth = 1; ; nth++) {
    const end = await declaredDeadAt(nth);
    if (end === null) break;
    if (!end.wasMember) continue;
    evicted++;
    expect(end.error, `read ${nth}`).toBeInstanceOf(MdError);
  }
  expect(evicted).toBeGreaterThan(3);
});
