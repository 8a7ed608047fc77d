import { describe, expect, it } from "vitest";
import type { IoRing } from "../../src/blockdev/io-ring.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { EngineCommand } from "../../src/engine/engine-protocol.ts";
import type { Wrappers } from "../../src/sim/wrappers.ts";
import { changed, foundIn } from "./planted.ts";

/**
 * The checkers at work on whole clusters: one promise is taken away between two parts, and some seed must show it. What
 * is not taken away is proved by the same seeds in one piece.
 */
describe("a broken promise is noticed", () => {
  it("when bitmap writes are not durable", async () => {
    const ring = (original: IoRing): IoRing =>
      changed(original, {
        write: (device, at, sectors, buffer, _flags, tag) => original.write(device, at, sectors, buffer, 0, tag),
      });
    expect(await foundIn({ faults: ["crash"] }, { ring })).toMatch(/chunk \d+ (has no bit|lost its last bit)/);
  });

  it("when flushes do nothing", async () => {
    const ring = (original: IoRing): IoRing =>
      changed(original, { flush: (device, tag) => original.read(device, 0 as never, 0, 0, tag) });
    expect(await foundIn({ faults: ["powerCut"] }, { ring })).toMatch(/lost its last bit|read|holds/);
  });

  it("when the data plane believes its lease to last for ever", async () => {
    const lease: Wrappers["lease"] = (sink) => (writeUntil, readUntil) =>
      sink(writeUntil === 0 ? 0 : Number.POSITIVE_INFINITY, readUntil === 0 ? 0 : Number.POSITIVE_INFINITY);
    const found = await foundIn({ nodes: 2, faults: ["stallControl", "pauseLong"], pace: [100, 800] }, { lease });
    expect(found).toMatch(/without a lease|LATE/);
  });

  it("when reads go on for ever without a lease", async () => {
    const lease: Wrappers["lease"] = (sink) => (writeUntil) => sink(writeUntil, Number.POSITIVE_INFINITY);
    const found = await foundIn({ nodes: 2, size: 256 }, { lease }, async (simulation) => {
      simulation.begin();
      simulation.stopAsking();
      await simulation.untilAllServe();
      await simulation.untilRest();
      const [isolated, other] = simulation.nodes;
      isolated?.cutLink();
      const bad = simulation.array.disks[1];
      if (bad !== undefined) bad.bad = [{ lo: 0, hi: bad.sectors, read: false, write: true }];
      for (let i = 0; i < 300; i++) {
        const lo = (i * 8) % 240;
        if (other?.port != null) simulation.workload.write(other.port, lo, lo + 8, { fua: false });
        if (isolated?.port != null) simulation.workload.read(isolated.port, lo, lo + 8);
        await simulation.world.run(simulation.world.now + 10);
      }
    });
    expect(found).toMatch(/read \[/);
  });

  it("when a failed mirror is settled before the others know", async () => {
    const engine = (original: Engine): Engine => {
      original.onNotice((notice) => {
        if (notice.type !== "memberFailed") return;
        const { place } = notice;
        void original.send({ type: "settleFailure", place, outcome: "faulty" }).catch(() => {});
      });
      return changed(original, {
        send: ((command: EngineCommand) =>
          command.type === "settleFailure"
            ? Promise.resolve({ type: "none" })
            : original.send(command)) as Engine["send"],
      });
    };
    const found = await foundIn({ nodes: 3, faults: ["writeErrors", "deadDisk"], pace: [100, 300] }, { engine });
    expect(found).toMatch(/is acknowledged, but n\d\.\d+ may read|read \[/);
  });
});
