import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import type { LockReply } from "../../src/dlm/lock-call.ts";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { envOf, joinRecorded } from "../support/lockspace-node.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

it("a member keeps nothing of the answers to its renewals", async () => {
  const clock = new FakeClock();
  const real = new MemoryLockMaster();
  const answers: WeakRef<LockReply>[] = [];
  const master: LockMaster = {
    about: real.about,
    call: async (lockspace, call) => {
      const reply = await real.call(lockspace, call);
      answers.push(new WeakRef(reply));
      return reply;
    },
    watch: (lockspace, member, deliver) => real.watch(lockspace, member, deliver),
    onReachable: () => real.onReachable(),
    close: () => real.close(),
  };
  const joining = joinRecorded(master, envOf(clock), "n1");
  for (let i = 0; i < 20; i++) await clock.advance(50);
  const node = await joining;
  answers.length = 0;
  for (let i = 0; i < 100; i++) await clock.advance(100);
  expect(answers.length).toBeGreaterThan(50);
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  const kept = answers.filter((answer) => answer.deref() !== undefined);
  expect(kept.length).toBeLessThan(5);
  expect(node.log.length).toBeGreaterThan(0);
});
