import { expect, it } from "vitest";
import { slotNumber } from "../../src/base/units.ts";
import { History } from "../../src/cluster/history.ts";
import { remasteringRecorder } from "../../src/cluster/remastering-history.ts";
import type { Frozen } from "../../src/dlm/lockspace.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { envOf } from "../support/lockspace-node.ts";

it("tells of a re-mastering when it begins, of each conflict, and when it is over: once each", async () => {
  const clock = new FakeClock();
  const env = envOf(clock);
  const history = new History(env);
  const record = remasteringRecorder(history, env);
  const frozen: Frozen = {
    reason: "the lock server has lost the lockspace",
    since: clock.now(),
    reported: ["n1"],
    missing: ["n2"],
    deadline: null,
    conflicts: [],
  };
  const locks = [
    { slot: slotNumber(0), node: "n1", mode: "PW" as const },
    { slot: slotNumber(1), node: "n2", mode: "PW" as const },
  ];
  record(frozen);
  record({ ...frozen, reported: ["n1", "n2"], missing: [] });
  record({ ...frozen, conflicts: [{ resource: "bitmap0001", locks }] });
  record({ ...frozen, conflicts: [{ resource: "bitmap0001", locks }] });
  await clock.advance(3200);
  record(null);
  record(frozen);
  expect(history.events.map(({ severity, code, text }) => [severity, code, text])).toEqual([
    ["warn", "REMASTERING", "the lock server has lost the lockspace: the nodes tell it anew what they hold"],
    ["error", "LOCKCONFLICT", "bitmap0001 is held by n1 (PW) and n2 (PW), which cannot be: evict one of them"],
    ["info", "REMASTERED", "locks are granted again, after 3.2 s"],
    ["warn", "REMASTERING", "the lock server has lost the lockspace: the nodes tell it anew what they hold"],
  ]);
});
