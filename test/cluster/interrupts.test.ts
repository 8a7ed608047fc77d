import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import type { EngineCommand } from "../../src/engine/engine-protocol.ts";
import { ClusterWorld, type TestNode } from "./cluster-world.ts";

const sent = ({ engine }: TestNode, type: EngineCommand["type"]): number =>
  engine.log.filter((command) => command.type === type).length;

/** A node that has a resync to do, and waits for its turn at the disks until `go`. */
async function delayed() {
  const world = await ClusterWorld.create({ clean: false });
  const other = world.turnsOf("n1").ask("backup", world.members);
  const n1 = await world.start("n1");
  await world.until(() => n1.node.status().sync?.phase === "delayed");
  return { world, n1, go: () => other.end() };
}

describe("an operator who says frozen", () => {
  it("is heard between the plan and the first window, too", async () => {
    const { world, n1, go } = await delayed();
    let said = false;
    n1.engine.onCommand = ({ type }) => {
      if (said || type !== "scan") return;
      said = true;
      n1.node.setSyncAction("frozen");
    };
    go();
    await world.clock.advance(20_000);
    expect(said).toBe(true);
    expect(sent(n1, "copy")).toBe(0);
    expect(n1.engine.needed.size).toBeGreaterThan(0);
    n1.node.setSyncAction("idle");
    await world.idle(n1);
    expect(n1.engine.needed.size).toBe(0);
  });

  it("ends the wait for another array on the same disk", async () => {
    const { world, n1, go } = await delayed();
    n1.node.setSyncAction("frozen");
    await world.clock.advance(100);
    expect(n1.node.status().sync).toBe(null);
    go();
    await world.clock.advance(5000);
    expect(sent(n1, "copy")).toBe(0);
    n1.node.setSyncAction("idle");
    await world.idle(n1);
    expect(n1.engine.needed.size).toBe(0);
  });
});

it("a check that the data plane can never make ends and says why", async () => {
  const world = await ClusterWorld.create();
  const n1 = await world.start("n1");
  await world.idle(n1);
  n1.engine.onCommand = ({ type }) => {
    if (type === "compare") throw new MdError("E_VALUE", "the transfer memory is too small to compare so many copies");
  };
  n1.node.scrub({ action: "check", from: null, to: null, source: null });
  await world.clock.advance(5000);
  expect(n1.node.status().scrub).toMatchObject({
    state: "stopped",
    why: "the transfer memory is too small to compare so many copies",
  });
  expect(n1.node.events().at(-1)?.text).toMatch(/^check stopped at 0: the transfer .*; no difference up to 0$/);
  expect(sent(n1, "compare")).toBe(1);
  expect(n1.node.status().sync).toBe(null);
});

it("a resync of which the data plane refuses a part is tried again: what waits for bits to be cleared is let go", async () => {
  const world = await ClusterWorld.create({ clean: false });
  const n1 = await world.start("n1");
  n1.engine.scansRuns = true;
  let refusals = 0;
  n1.engine.onCommand = ({ type }) => {
    if (type === "copy" && refusals++ < 3) throw new MdError("E_VALUE", "that is not a range of the array");
  };
  await world.clock.advance(30_000);
  expect(refusals).toBeGreaterThan(3);
  expect(n1.engine.needed.size).toBe(0);
});
