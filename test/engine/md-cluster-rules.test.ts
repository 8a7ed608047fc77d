import { describe, expect, it } from "vitest";
import { sector, slotNumber } from "../../src/base/units.ts";
import { RequestOp } from "../../src/blockdev/front-end.ts";
import { Raid10 } from "../../src/raid10/raid10.ts";
import { diskName, EngineBench, isData, isRead, isWrite, on, range } from "../support/engine-bench.ts";
import { placesOf, raid10Shape } from "../support/raid10.ts";

/** What md-cluster's data plane is suspected or known to get wrong (md-cluster, 26 and 27). */

const EIO = -5;
const CHUNK = 16;
const shape = raid10Shape("n2", 4, CHUNK, 64);
const raid10 = new Raid10(shape);
const bits = (): Uint8Array => new Uint8Array(Math.ceil(shape.size / 64 / 8));
const otherSlot = slotNumber(1);

describe("27.6: a member that is being filled is never the first copy", () => {
  const rebuilding = { state: "rebuilding" as const, recoveredTo: sector(100) };
  const levels = {
    raid1: () => new EngineBench({ members: [rebuilding, {}] }),
    raid10: () => new EngineBench({ disks: 4, shape, bits: bits(), members: [rebuilding, {}, {}, {}] }),
  };

  it.each(Object.entries(levels))(
    "%s: not in a window, not where all read the first one, not past its mark",
    async (_, make) => {
      const bench = make();
      const reads = (): number => bench.ring.log.filter(on("d0", isRead)).length;
      await bench.send({ type: "setBalance", balance: "first" });
      const read = (at: number): number | null => {
        const request = bench.read(at, CHUNK);
        bench.run();
        return request.errno;
      };
      // Past the mark: 100 sectors of the member are 200 of a RAID10 of two pairs.
      expect([read(224), read(512), read(1024)]).toEqual([0, 0, 0]);
      await bench.send({ type: "suspend", slot: otherSlot, range: range(0, 1024) });
      expect([read(224), read(512), read(768)]).toEqual([0, 0, 0]);
      expect(reads()).toBe(0);
      // Where the first copy must be read, a part that is filled is none either: the others read another one.
      expect([read(0), read(32)]).toEqual([0, 0]);
      expect(reads()).toBe(0);
    },
  );
});

describe("27.7: a discard of several stripes of a RAID10", () => {
  const make = (): EngineBench => {
    const bench = new EngineBench({ disks: 4, shape, bits: bits() });
    bench.write(0, 16 * CHUNK, 5);
    bench.run();
    return bench;
  };

  it.each([RequestOp.discard, RequestOp.zero])(
    "waits for a window of another node as a write does (%i)",
    async (op) => {
      const bench = make();
      await bench.send({ type: "suspend", slot: otherSlot, range: range(5 * CHUNK, 6 * CHUNK) });
      const before = bench.ring.log.length;
      const discard = bench.submit(op, 0, 12 * CHUNK, 0, 0);
      bench.run();
      expect(discard.errno).toBeNull();
      expect(bench.ring.log.slice(before).filter(isData)).toEqual([]);
      await bench.send({ type: "resume", slot: otherSlot });
      expect(discard.errno).toBe(0);
      for (let at = 0; at < 12 * CHUNK; at += CHUNK) {
        const copies = placesOf(raid10, at).map(([disk, place]) => bench.content(diskName(disk), place, 1)[0]);
        expect(copies).toEqual([0, 0]);
      }
    },
  );

  it("is answered only when the failure of the member, not of the copy, is known everywhere", async () => {
    const bench = make();
    bench.ring.fail(
      on("d3", (op) => op.type === "zero" || isWrite(op)),
      EIO,
    );
    const discard = bench.submit(RequestOp.discard, 0, 12 * CHUNK, 0, 0);
    bench.run();
    expect(bench.failures()).toEqual([expect.objectContaining({ place: 3 })]);
    expect(discard.errno).toBeNull();
    // It is blocked: what needs it waits as well; what needs the other pair, and no new bit, goes on.
    const later = bench.write(CHUNK, CHUNK, 7);
    const elsewhere = bench.write(14 * CHUNK, CHUNK, 7);
    bench.run();
    expect([later.errno, elsewhere.errno]).toEqual([null, 0]);
    await bench.send({ type: "settleFailure", place: 3, outcome: "faulty" });
    expect([discard.errno, later.errno]).toEqual([0, 0]);
  });
});

describe("27.22: what cannot be read on one member", () => {
  it.each([
    ["RAID1", () => new EngineBench()],
    ["RAID10", () => new EngineBench({ disks: 4, shape, bits: bits() })],
  ] as const)("is read from another copy, and never written back past other nodes' writes (%s)", async (_, make) => {
    const bench = make();
    bench.write(0, 8, 5);
    bench.run();
    await bench.send({ type: "setBalance", balance: "first" });
    const before = bench.ring.log.length;
    bench.ring.fail(on("d0", isRead), EIO);
    const read = bench.read(0, 8);
    bench.run();
    expect(read.errno).toBe(0);
    expect(bench.ring.arena[read.buffer]).toBe(5);
    expect(bench.ring.log.slice(before).map(({ type, path }) => `${type} ${path}`)).toEqual(["read d0", "read d1"]);
    expect(bench.failures()).toEqual([]);
  });
});
