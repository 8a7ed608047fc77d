import { expect, it } from "vitest";
import { SyncTurns } from "../../src/resync/sync-turns.ts";
import { settle } from "../support/fake-clock.ts";

const never = new AbortController().signal;

it("arrays that share a disk take turns in the order in which they came; others wait for nobody", async () => {
  const turns = new SyncTurns();
  const first = turns.ask("md0", ["sda", "sdb"]);
  const second = turns.ask("md1", ["sdb", "sdc"]);
  const apart = turns.ask("md2", ["sdx"]);
  const third = turns.ask("md3", ["sdc"]);
  const begun: string[] = [];
  for (const turn of [first, second, apart, third]) void turn.wait(never).then(() => begun.push(turn.array));
  await settle();
  expect(begun).toEqual(["md0", "md2"]);
  // It waits for the one before it, though that has not begun.
  expect([second.waitsFor, third.waitsFor, apart.waitsFor]).toEqual(["md0", "md1", null]);
  first.end();
  first.end();
  await settle();
  expect(begun).toEqual(["md0", "md2", "md1"]);
  second.end();
  await settle();
  expect(begun).toEqual(["md0", "md2", "md1", "md3"]);
});

it("who gives up waiting keeps nobody", async () => {
  const turns = new SyncTurns();
  const first = turns.ask("md0", ["sda"]);
  const second = turns.ask("md1", ["sda"]);
  const third = turns.ask("md2", ["sda"]);
  const stop = new AbortController();
  const given = second.wait(stop.signal);
  stop.abort();
  await given;
  second.end();
  expect(third.waitsFor).toBe("md0");
  first.end();
  expect(third.waitsFor).toBe(null);
});
