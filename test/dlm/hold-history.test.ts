import { describe, expect, it } from "vitest";
import { conflictsAmong, holdsOf } from "../../src/sim/replay/holds.ts";
import { type LifeLog, lifeTrace } from "../support/life-log.ts";

const held = (lock: string, mode: string, at: number, lkid = 1): string =>
  JSON.stringify({ evt: "lock.held", lockspace: "s", lock, lkid, mode, at });
const lease = (at: number, until: number): string => JSON.stringify({ evt: "lease.until", lockspace: "s", at, until });
const life = (name: string, lines: readonly string[], killedAt: number | null = null): LifeLog => ({
  life: name,
  lines,
  killedAt,
});
const conflicts = (...logs: readonly LifeLog[]): readonly string[] =>
  conflictsAmong(holdsOf(logs.map(lifeTrace))).map(
    ([a, b]) => `${a.life} ${a.mode} - ${b.life} ${b.mode} on ${a.lock}`,
  );

describe("the history of who could act under which lock", () => {
  it("shows two holders that exclude each other at the same time", () => {
    const one = life("one", [lease(0, 1000), held("token", "EX", 10), held("token", "NL", 30)]);
    const two = life("two", [lease(0, 1000), held("token", "EX", 20), held("token", "NL", 40)]);
    expect(conflicts(one, two)).toEqual(["one EX - two EX on s/token"]);
  });

  it("is content with compatible modes, and with one after the other", () => {
    const one = life("one", [lease(0, 1000), held("ack", "CR", 10), held("token", "EX", 10), held("token", "NL", 20)]);
    const two = life("two", [lease(0, 1000), held("ack", "PW", 15), held("token", "EX", 20)]);
    expect(conflicts(one, two)).toEqual([]);
  });

  it("lets a hold end with the lease of its node, not with what the node believes", () => {
    const renewed = [lease(0, 100), held("token", "EX", 10), lease(90, 190)];
    expect(conflicts(life("one", renewed), life("two", [lease(0, 1000), held("token", "EX", 200)]))).toEqual([]);
    expect(conflicts(life("one", renewed), life("two", [lease(0, 1000), held("token", "EX", 180)]))).toHaveLength(1);
  });

  it("begins it again when a lease that had run out is renewed: the node acts again", () => {
    const woken = [lease(0, 100), held("token", "EX", 10), lease(300, 400)];
    expect(conflicts(life("one", woken), life("two", [lease(0, 1000), held("token", "EX", 200)]))).toHaveLength(1);
  });

  it("ends it when the membership ends or the process is killed", () => {
    const fenced = [lease(0, 100), held("token", "EX", 10), lease(50, 0), lease(70, 170)];
    const two = life("two", [lease(0, 1000), held("token", "EX", 60)]);
    expect(conflicts(life("one", fenced), two)).toEqual([]);
    expect(conflicts(life("one", [lease(0, 100), held("token", "EX", 10)], 55), two)).toEqual([]);
    expect(conflicts(life("one", [lease(0, 100), held("token", "EX", 10)]), two)).toHaveLength(1);
  });
});
