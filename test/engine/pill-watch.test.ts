import { describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { encodeTakeover, type PillRecord } from "../../src/fencing/takeover-blocks.ts";
import { EngineBench, isBitmap, isWrite, member, on, PILL_AT } from "../support/engine-bench.ts";
import type { FakeOp } from "../support/fake-ring.ts";

const EIO = -5;
const EAGAIN = -11;
const EVERY_MS = 100;
const arrayUuid = new Uint8Array(16).fill(7);
const reader = { arrayUuid, slot: 0, incarnation: "me", generation: 3 };

const isPill = (op: FakeOp): boolean => op.type === "read" && op.at === PILL_AT;

const pill = (change: Partial<PillRecord> = {}): Uint8Array =>
  encodeTakeover({
    kind: "pill",
    arrayUuid,
    generation: 4,
    time: 0,
    slot: slotNumber(0),
    incarnation: "me",
    node: "n1",
    by: "n2",
    cluster: "c",
    ...change,
  });

/** A bench that has come to rest, with nothing in its log. */
function bench(change: ConstructorParameters<typeof EngineBench>[0] = {}): EngineBench {
  const made = new EngineBench({ pill: reader, ...change });
  made.ring.log.length = 0;
  return made;
}

const put = (made: EngineBench, disk: string, block: Uint8Array): void =>
  made.ring.disks.get(disk)?.set(block, PILL_AT * 512);

const condemned = (made: EngineBench): number => made.notices.filter(({ type }) => type === "condemned").length;

describe("the own pill", () => {
  it("is read on every in-sync member before a bitmap page is written", () => {
    const made = bench({ disks: 3, members: [{}, {}, { state: "rebuilding" }] });
    made.ring.hold(isPill);
    const write = made.write(0, 8, 1);
    made.run();
    expect(made.ring.log.map(({ type, path }) => `${type} ${path}`)).toEqual(["read d0", "read d1"]);
    made.ring.release(on("d0"));
    made.run();
    expect(made.ring.log.some(isBitmap)).toBe(false);
    made.ring.release();
    made.run();
    expect(write.errno).toBe(0);
    expect(made.ring.log.filter(isBitmap).length).toBe(3);
  });

  it("lets nothing spin while it is being read", () => {
    const made = bench();
    made.ring.hold(isPill);
    made.write(0, 8, 1);
    made.run();
    expect(made.ring.lastWaitMs).toBe(-1);
    made.ring.release();
  });

  it("is read once for all pages of a turn, and not for writes whose bits are set", () => {
    const made = bench({ chunkSectors: 64 });
    made.write(0, 8, 1);
    made.write(640, 8, 1);
    made.run();
    expect(made.ring.log.filter(isPill).length).toBe(2);
    made.write(8, 8, 1);
    made.run();
    expect(made.ring.log.filter(isPill).length).toBe(2);
    expect(made.ring.log.filter(isWrite).length).toBe(6);
  });

  it("is read again now and then while members are used, and not while they rest", () => {
    const made = bench();
    made.write(0, 8, 1);
    made.run();
    made.ring.log.length = 0;
    made.pass(EVERY_MS);
    const looks = (): number => made.ring.log.filter(on("d0", isPill)).length;
    expect(looks()).toBe(1);
    made.pass(EVERY_MS);
    made.pass(EVERY_MS);
    expect(looks()).toBe(1);
    for (let i = 0; i < 4; i++) {
      made.write(0, 8, 2);
      made.run();
      made.pass(EVERY_MS / 2);
    }
    expect(looks()).toBe(4);
  });

  it("is not taken for unread long after it was read", () => {
    const made = bench({ chunkSectors: 64 });
    made.write(0, 8, 1);
    made.run();
    // The look after the last use finds nothing, and the members rest for long.
    made.pass(EVERY_MS);
    made.pass(36 * EVERY_MS);
    put(made, "d1", pill());
    made.ring.log.length = 0;
    const late = made.write(640, 8, 1);
    made.run();
    expect(made.ring.log.filter(({ type }) => type === "write")).toEqual([]);
    expect([late.errno, condemned(made)]).toEqual([null, 1]);
  });

  it("is read for as long as it takes, however slow the members are", () => {
    const made = bench();
    made.ring.hold(isPill);
    const write = made.write(0, 8, 1);
    made.run();
    made.pass(5 * EVERY_MS);
    made.ring.release();
    made.run();
    expect(write.errno).toBe(0);
  });

  it.each(["d0", "d1"])("ends all writing and answering, whichever member has it: %s", (disk) => {
    const made = bench();
    put(made, disk, pill());
    const write = made.write(0, 8, 1);
    made.run();
    expect(made.ring.log.filter(({ type }) => type === "write")).toEqual([]);
    expect(write.errno).toBeNull();
    expect(condemned(made)).toBe(1);
    // Whatever the control plane says of the lease from now on.
    made.shared.setLease(Number.POSITIVE_INFINITY);
    const read = made.read(0, 8);
    made.pass(EVERY_MS);
    expect(made.shared.leaseHolds(made.now)).toBe(false);
    expect([write.errno, read.errno]).toEqual([null, null]);
    expect(made.ring.log.filter(({ type }) => type === "write")).toEqual([]);
    expect(condemned(made)).toBe(1);
  });

  it("ends writing that goes on over bits that are set", () => {
    const made = bench();
    made.write(0, 8, 1);
    made.run();
    put(made, "d1", pill());
    made.ring.log.length = 0;
    const last = made.write(0, 8, 2);
    made.run();
    expect(last.errno).toBe(0);
    made.pass(EVERY_MS);
    const late = made.write(0, 8, 3);
    made.run();
    expect(late.errno).toBeNull();
    expect(condemned(made)).toBe(1);
  });

  it("for a former owner of the slot is not meant for us", () => {
    const made = bench();
    for (const disk of ["d0", "d1"]) put(made, disk, pill({ incarnation: "before", generation: 3 }));
    const write = made.write(0, 8, 1);
    made.run();
    expect(write.errno).toBe(0);
  });

  it("that was written since we have the slot is meant for us, whoever it names", () => {
    const made = bench();
    put(made, "d0", pill({ incarnation: "somebody" }));
    made.write(0, 8, 1);
    made.run();
    expect(condemned(made)).toBe(1);
  });

  it("that cannot be read, or makes no sense, ends nothing: the lease still holds", () => {
    const made = bench();
    made.ring.fail((op) => isPill(op) && op.path === "d0", EIO);
    put(made, "d1", new Uint8Array(4096).fill(0xee));
    const write = made.write(0, 8, 1);
    made.run();
    expect(write.errno).toBe(0);
    expect(condemned(made)).toBe(0);
  });

  it("is asked for again when the kernel puts the read off", () => {
    const made = bench();
    put(made, "d1", pill());
    made.ring.fail((op) => isPill(op) && op.path === "d1", EAGAIN, 3);
    made.write(0, 8, 1);
    made.run();
    expect(condemned(made)).toBe(1);
    expect(made.ring.log.some(isBitmap)).toBe(false);
  });

  it("is not looked for on members that have none", () => {
    const made = bench({ members: [{ pillAt: null }, { pillAt: null }] });
    const write = made.write(0, 8, 1);
    made.run();
    expect(write.errno).toBe(0);
    expect(made.ring.log.filter(({ type }) => type === "read")).toEqual([]);
    expect(member(0).pillAt).toBe(PILL_AT);
  });

  it("is looked for by a node that stops, and does not keep it from stopping", async () => {
    const made = bench();
    made.write(0, 8, 1);
    made.run();
    put(made, "d0", pill());
    made.pass(EVERY_MS);
    expect(condemned(made)).toBe(1);
    const stop = await made.send({ type: "stop" });
    expect(stop.error).toBeNull();
    expect(stop.answer).not.toBeNull();
  });
});
