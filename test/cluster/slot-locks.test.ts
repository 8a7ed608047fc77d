import { beforeEach, describe, expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { SlotLocks } from "../../src/cluster/slot-locks.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { envOf, joinRecorded } from "../support/lockspace-node.ts";

const other = slotNumber(1);
let clock: FakeClock;
let a: SlotLocks;
let b: SlotLocks;

beforeEach(async () => {
  clock = new FakeClock();
  const master = new MemoryLockMaster();
  const locksOf = async (node: string, seed: number): Promise<SlotLocks> => {
    const joining = joinRecorded(master, envOf(clock, seed), node);
    for (let turn = 0; turn < 20; turn++) await clock.advance(turn);
    return new SlotLocks((await joining).lockspace);
  };
  a = await locksOf("a", 1);
  await a.takeOwn();
  b = await locksOf("b", 2);
});

it("a wait that is ended before it could begin ends, and nobody waits behind it", async () => {
  await b.takeOwn();
  await a.read(other);
  // A question is under way when the slot is to be taken over, and then it turns out to have a new owner.
  const reading = a.read(other);
  let outcome: boolean | null = null;
  void a.take(other).then((taken) => {
    outcome = taken;
  });
  a.stopWaiting(other);
  await reading;
  let read = false;
  void a.read(other).then(() => {
    read = true;
  });
  await clock.advance(100);
  expect(outcome).toBe(false);
  expect(read).toBe(true);
});

describe("a slot that is being taken over", () => {
  beforeEach(async () => {
    expect(await a.take(other)).toBe(true);
  });

  const owned = (): { taken: boolean } => {
    const own = { taken: false };
    void b.takeOwn().then((taken) => {
      own.taken = taken;
    });
    return own;
  };

  it("is not given back by a question about it: its next owner waits for the end", async () => {
    const own = owned();
    expect(await a.read(other)).toEqual({ range: null, needsResync: true });
    await clock.advance(100);
    expect(own.taken).toBe(false);
    await a.release(other);
    await clock.advance(100);
    expect(own.taken).toBe(true);
  });

  it("is not taken by another part of the same node, which would give it back for both", async () => {
    expect(await a.tryTake(other)).toBe(false);
    let second: boolean | null = null;
    void a.take(other).then((taken) => {
      second = taken;
    });
    await clock.advance(100);
    expect(second).toBeNull();
    await a.release(other);
    await clock.advance(100);
    expect(second).toBe(true);
    const own = owned();
    await clock.advance(100);
    expect(own.taken).toBe(false);
    await a.release(other);
    await clock.advance(100);
    expect(own.taken).toBe(true);
  });

  it("is waited for in vain once it has its next owner", async () => {
    let second: boolean | null = null;
    void a.take(other).then((taken) => {
      second = taken;
    });
    a.stopWaiting(other);
    await clock.advance(100);
    expect(second).toBe(false);
  });
});
