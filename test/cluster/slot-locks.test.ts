import { expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { SlotLocks } from "../../src/cluster/slot-locks.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { envOf, joinRecorded } from "../support/lockspace-node.ts";

it("a wait that is ended before it could begin ends, and nobody waits behind it", async () => {
  const clock = new FakeClock();
  const master = new MemoryLockMaster();
  const locksOf = async (node: string, seed: number): Promise<SlotLocks> => {
    const joining = joinRecorded(master, envOf(clock, seed), node);
    for (let turn = 0; turn < 20; turn++) await clock.advance(turn);
    const locks = new SlotLocks((await joining).lockspace);
    await locks.takeOwn();
    return locks;
  };
  const a = await locksOf("a", 1);
  await locksOf("b", 2);
  const other = slotNumber(1);
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
