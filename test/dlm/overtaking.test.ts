import { expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { envOf, joinRecorded } from "../support/lockspace-node.ts";

it("opens a lock whose grant arrives before the reply to the call that asked for it", async () => {
  const clock = new FakeClock();
  const server = new MemoryLockMaster();
  // Replies take longer than notifications, as on two connections.
  const slow: LockMaster = {
    about: server.about,
    call: async (lockspace, call) => {
      const reply = await server.call(lockspace, call);
      if (call.op === "lock") await new Promise<void>((resolve) => clock.after(20, resolve));
      return reply;
    },
    watch: (lockspace, member, deliver) => server.watch(lockspace, member, deliver),
    onReachable: () => server.onReachable(),
    close: () => server.close(),
  };
  const joining = joinRecorded(slow, envOf(clock), "n1");
  await clock.advance(10);
  const { lockspace } = await joining;
  let mode: string | null = null;
  void lockspace.open("token", { lvb: false }).then(async (lock) => {
    mode = (await lock.convert("EX")).mode;
  });
  await clock.advance(100);
  expect(mode).toBe("EX");
});
