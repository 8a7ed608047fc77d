import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import { pickSuperblock } from "../../src/superblock/pick-superblock.ts";
import { ROLE_FAULTY as F, Feature, ROLE_SPARE as S, type Superblock } from "../../src/superblock/superblock.ts";
import { exampleSuperblock } from "./example.ts";

/** A member of a mirror: its number, its event count, its table of roles. */
function member(number: number, events: number, table: readonly number[], change: Partial<Superblock> = {}) {
  const devRoles = [...table, ...new Array<number>(128 - table.length).fill(S)];
  const deviceUuid = new Uint8Array(16).fill(number + 1);
  const superblock: Superblock = { ...exampleSuperblock, devNumber: number, deviceUuid, events, devRoles, ...change };
  return { path: `/dev/${String.fromCharCode(97 + number)}`, superblock };
}

const rebuilding = { featureMap: 0x101 | Feature.recoveryOffset, recoveryOffset: 512n };

function pick(...args: Parameters<typeof pickSuperblock>) {
  const { used, refused, missing } = pickSuperblock(...args);
  return {
    used: Object.fromEntries(
      used.map(({ candidate, role }) => [
        candidate.path,
        role.type === "spare" ? "spare" : `${role.type} ${role.raidDisk}`,
      ]),
    ),
    refused: Object.fromEntries(refused.map(({ candidate, reason }) => [candidate.path, reason])),
    missing: missing.map(({ raidDisk }) => raidDisk),
  };
}

describe("members that agree", () => {
  it("are all in sync", () => {
    expect(pick([member(0, 7, [0, 1]), member(1, 7, [0, 1])])).toEqual({
      used: { "/dev/a": "in_sync 0", "/dev/b": "in_sync 1" },
      refused: {},
      missing: [],
    });
  });

  it("may be one event apart: an update did not reach all of them", () => {
    expect(pick([member(0, 7, [0, 1]), member(1, 8, [0, 1])]).used).toEqual({
      "/dev/a": "in_sync 0",
      "/dev/b": "in_sync 1",
    });
  });

  it("keep how far a member under rebuild has got", () => {
    const { used } = pickSuperblock([member(0, 7, [0, S, 1]), member(2, 7, [0, S, 1], rebuilding)]);
    expect(used[1]?.role).toEqual({
      type: "rebuilding",
      raidDisk: 1,
      recoveredTo: sector(512),
      byBitmap: false,
      isReplacement: false,
    });
  });

  it("may include spares, but none that the array has gone on without", () => {
    const mirror = [member(0, 90, [0, 1]), member(1, 90, [0, 1])];
    expect(pick([...mirror, member(2, 89, [0, 1])]).used["/dev/c"]).toBe("spare");
    expect(pick([...mirror, member(2, 88, [0, 1])]).refused["/dev/c"]).toBe("it is 2 events behind");
  });

  it("define the array by the freshest that is a member, not by a spare", () => {
    const { freshest } = pickSuperblock([member(0, 8, [0, 1]), member(1, 7, [0, 1]), member(2, 9, [0, F])]);
    expect(freshest.path).toBe("/dev/a");
  });
});

describe("members left behind (F13)", () => {
  it("are not used when the freshest table calls them faulty, even one event behind", () => {
    expect(pick([member(0, 8, [0, F]), member(1, 7, [0, 1])])).toEqual({
      used: { "/dev/a": "in_sync 0" },
      refused: { "/dev/b": "it has failed" },
      missing: [],
    });
  });

  it("are not used when the table has forgotten them", () => {
    expect(pick([member(0, 8, [0]), member(1, 7, [0, 1])]).refused).toEqual({ "/dev/b": "it is no longer a member" });
  });

  it("are not used two events behind, and are missed", () => {
    expect(pick([member(0, 9, [0, 1]), member(1, 7, [0, 1])])).toEqual({
      used: { "/dev/a": "in_sync 0" },
      refused: { "/dev/b": "it is 2 events behind" },
      missing: [1],
    });
  });

  it("do not count as copies when an activation did not reach them", () => {
    const { used } = pickSuperblock([member(0, 8, [0, S, 1]), member(2, 7, [0, S, S])]);
    expect(used[1]?.role).toEqual({
      type: "rebuilding",
      raidDisk: 1,
      recoveredTo: sector(0),
      byBitmap: false,
      isReplacement: false,
    });
  });

  it("do not count as copies of a raid disk that is not theirs", () => {
    const [newer, older] = [member(0, 8, [0, 1, 2], { raidDisks: 3 }), member(1, 7, [0, 2, 1], { raidDisks: 3 })];
    const { used } = pickSuperblock([newer, older]);
    expect(used[1]?.role).toEqual({
      type: "rebuilding",
      raidDisk: 1,
      recoveredTo: sector(0),
      byBitmap: false,
      isReplacement: false,
    });
  });

  it("lose their number to the device that has it now", () => {
    const old = member(2, 3, [0, 1, S], { deviceUuid: new Uint8Array(16).fill(99) });
    const chosen = pick([{ ...old, path: "/dev/old" }, member(0, 9, [0, S, 1]), member(2, 9, [0, S, 1])]);
    expect(chosen.used).toEqual({ "/dev/a": "in_sync 0", "/dev/c": "in_sync 1" });
    expect(chosen.refused["/dev/old"]).toContain("belongs to another device");
  });

  it("are told by which raid disks lack a member", () => {
    expect(pick([member(0, 7, [0, 1, 2], { raidDisks: 3 })]).missing).toEqual([1, 2]);
  });
});

describe("two histories (F14)", () => {
  const alone0 = [0, F];
  const alone1 = [F, 1];

  it.each([
    ["at equal events", 9, 9],
    ["one apart", 9, 10],
    ["far apart", 9, 50],
    ["far apart the other way", 50, 9],
  ])("are refused %s", (_, a, b) => {
    expect(() => pickSuperblock([member(0, a, alone0), member(1, b, alone1)])).toThrowError(
      expect.objectContaining({ code: "E_CLUSTER_CONFLICT" }),
    );
  });

  it("are refused when each has forgotten the other", () => {
    expect(() => pickSuperblock([member(0, 9, [0]), member(1, 12, [S, 1])])).toThrowError(
      expect.objectContaining({ code: "E_CLUSTER_CONFLICT" }),
    );
  });

  it("are decided by force for the longer one, but never at a tie", () => {
    expect(pick([member(0, 9, alone0), member(1, 12, alone1)], { force: true }).used).toEqual({
      "/dev/b": "in_sync 1",
    });
    expect(() => pickSuperblock([member(0, 9, alone0), member(1, 9, alone1)], { force: true })).toThrowError(
      expect.objectContaining({ code: "E_CLUSTER_CONFLICT" }),
    );
  });

  it("are not seen in a member that failed and was replaced", () => {
    // b failed; c took its raid disk; a is not here now.
    expect(pick([member(1, 4, [0, 1]), member(2, 20, [0, S, 1])])).toMatchObject({
      used: { "/dev/c": "in_sync 1" },
      missing: [0],
    });
  });

  it("are not seen where a third superblock tells how one became the other (all members replaced over time)", () => {
    // b failed; a power cut came while c was activated in its place, and a missed that; later a failed.
    const [a, c] = [member(0, 9, [0, F]), member(2, 20, [F, F, 1])];
    const link = member(3, 10, [0, F, 1, S]);
    expect(() => pickSuperblock([a, c])).toThrowError(expect.objectContaining({ code: "E_CLUSTER_CONFLICT" }));
    expect(pick([a, c, link])).toMatchObject({ used: { "/dev/c": "in_sync 1" }, missing: [] });
    // One that knows neither links nothing.
    expect(() => pickSuperblock([a, c, member(3, 15, [F, F, F, S])])).toThrowError(
      expect.objectContaining({ code: "E_CLUSTER_CONFLICT" }),
    );
  });

  it("are not seen where one that the older knows was written with the newest, in one update", () => {
    // The first was removed, the third failed, the first came back: only the second knew all the time.
    const back = [member(0, 7, [0, 1, F], rebuilding), member(1, 7, [0, 1, F])];
    expect(pick([...back, member(2, 5, [S, 1, 2])])).toEqual({
      used: { "/dev/a": "rebuilding 0", "/dev/b": "in_sync 1" },
      refused: { "/dev/c": "it has failed" },
      missing: [],
    });
  });

  it("are not seen in a member that an activation has just not reached", () => {
    expect(pick([member(0, 7, [0, F]), member(1, 8, [0, 1], rebuilding)]).used).toEqual({
      "/dev/a": "in_sync 0",
      "/dev/b": "rebuilding 1",
    });
  });

  it("are seen where one half has filled a new device in the other's place", () => {
    // a failed, b went on alone; then a was run alone and took c in.
    const half = [member(0, 8, [0, S, 1]), member(2, 8, [0, S, 1], rebuilding)];
    expect(() => pickSuperblock([...half, member(1, 7, [F, 1])])).toThrowError(
      expect.objectContaining({ code: "E_CLUSTER_CONFLICT" }),
    );
  });

  it("are seen between two full copies that are both behind one that is being filled", () => {
    // While b came back only c was told; then b was run alone.
    const between = member(2, 8, [0, 1, 0], { ...rebuilding, featureMap: rebuilding.featureMap | Feature.replacement });
    expect(() => pickSuperblock([member(0, 7, [0, F, 0]), member(1, 7, [S, 1]), between])).toThrowError(
      expect.objectContaining({ code: "E_CLUSTER_CONFLICT" }),
    );
  });

  it("are not seen in a re-add that was cut short, before the array was started without the device", () => {
    const back = { featureMap: rebuilding.featureMap | Feature.recoveryBitmap, recoveryOffset: 0n };
    expect(pick([member(0, 7, [0, 1], back), member(1, 7, [S, 1])])).toEqual({
      used: { "/dev/b": "in_sync 1" },
      refused: { "/dev/a": "it is no longer a member" },
      missing: [],
    });
  });

  it("are refused when tables differ at equal events although both call each other members", () => {
    expect(() => pickSuperblock([member(0, 7, [0, 1, S]), member(1, 7, [0, 1, F])])).toThrowError(
      expect.objectContaining({ code: "E_CLUSTER_CONFLICT" }),
    );
  });
});

describe("devices that do not belong together (F21)", () => {
  const fails = (candidates: Parameters<typeof pickSuperblock>[0], code: string, text: string) =>
    expect(() => pickSuperblock(candidates)).toThrowError(
      expect.objectContaining({ code, message: expect.stringContaining(text) }),
    );

  it("are refused by name: another array's", () => {
    const foreign = member(1, 7, [0, 1], { setUuid: new Uint8Array(16).fill(0xee), setName: "any:other" });
    fails([member(0, 7, [0, 1]), foreign], "E_DEVICE_IN_ARRAY", '"any:other"');
  });

  it("are refused: the same device twice", () => {
    fails([member(0, 7, [0, 1]), { ...member(0, 7, [0, 1]), path: "/dev/z" }], "E_DEVICE_IN_ARRAY", "/dev/z");
  });

  it("are refused: the same raid disk twice", () => {
    fails([member(0, 7, [0, 0]), member(1, 7, [0, 0])], "E_CLUSTER_CONFLICT", "raid disk 0");
  });

  it("are refused: another shape", () => {
    fails([member(0, 8, [0, 1]), member(1, 7, [0, 1], { level: 0 })], "E_SUPERBLOCK_BAD", "level");
  });

  it("are refused: no full copy among them", () => {
    fails([member(1, 7, [0, 1], rebuilding)], "E_NO_DEVICE", "full copy");
    fails([member(2, 7, [0, 1])], "E_NO_DEVICE", "active member");
    fails([], "E_NO_DEVICE", "no member");
  });

  it("are refused: a creation that was cut short", () => {
    fails([member(0, 0, [0, 1]), member(1, 0, [0, 1])], "E_NO_ARRAY", "cut short");
  });

  it("come in any order", () => {
    const all = [member(0, 8, [0, F, 1]), member(1, 7, [0, 1]), member(2, 8, [0, F, 1])];
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 2, 0],
      [1, 0, 2],
    ]) {
      const shuffled = order.flatMap((i) => all[i] ?? []);
      expect(pick(shuffled).used).toEqual({ "/dev/a": "in_sync 0", "/dev/c": "in_sync 1" });
    }
  });
});

describe("two members of one raid disk", () => {
  const table = [0, 1, 0];
  const replaces = { featureMap: rebuilding.featureMap | Feature.replacement, recoveryOffset: 512n };
  const whole = { featureMap: 0x101 | Feature.replacement };
  const rolesOf = (...candidates: ReturnType<typeof member>[]) =>
    pickSuperblock(candidates).used.map(({ candidate, role }) => [candidate.path, role]);

  it("are one that serves and one that replaces it, wherever that has got to", () => {
    const both = [member(0, 7, table), member(1, 7, table), member(2, 7, table, replaces)];
    expect(pick(both)).toEqual({
      used: { "/dev/a": "in_sync 0", "/dev/b": "in_sync 1", "/dev/c": "rebuilding 0" },
      refused: {},
      missing: [],
    });
    expect(rolesOf(...both)[2]?.[1]).toMatchObject({ recoveredTo: 512, isReplacement: true });
    // Whole, though the other one has not been told to go: filled to its end.
    const [, , filled] = rolesOf(member(0, 7, table), member(1, 7, table), member(2, 7, table, whole));
    expect(filled?.[1]).toMatchObject({ type: "rebuilding", recoveredTo: exampleSuperblock.size, isReplacement: true });
  });

  it("are told apart also if the update that made one of them a replacement has not reached it", () => {
    const [old, , replacement] = rolesOf(member(0, 8, table), member(1, 8, table), member(2, 7, [0, 1]));
    expect(old?.[1]).toEqual({ type: "in_sync", raidDisk: 0 });
    expect(replacement?.[1]).toMatchObject({ type: "rebuilding", recoveredTo: 0, isReplacement: true });
  });

  it("of which one has failed leave the other as a member like any other", () => {
    const after = [F, 1, 0];
    const found = rolesOf(member(1, 8, after), member(2, 8, after, replaces));
    expect(found[1]?.[1]).toMatchObject({ type: "rebuilding", raidDisk: 0, recoveredTo: 512, isReplacement: false });
    expect(pick([member(0, 7, table), member(1, 8, after), member(2, 8, after)])).toEqual({
      used: { "/dev/b": "in_sync 1", "/dev/c": "in_sync 0" },
      refused: { "/dev/a": "it has failed" },
      missing: [],
    });
  });

  it("of which one is not here are not all members", () => {
    expect(pick([member(0, 7, table), member(1, 7, table)]).missing).toEqual([0]);
    expect(pick([member(1, 7, table), member(2, 7, table, replaces)]).missing).toEqual([0]);
  });

  it("of which neither replaces the other contradict each other", () => {
    const claims = [member(0, 7, table), member(1, 7, table), member(2, 7, table)];
    expect(() => pick(claims)).toThrowError(expect.objectContaining({ code: "E_CLUSTER_CONFLICT" }));
    const three = [0, 1, 0, 0];
    const crowd = [0, 2, 3].map((number) => member(number, 7, three, number === 0 ? {} : replaces));
    expect(() => pick(crowd)).toThrowError(expect.objectContaining({ code: "E_CLUSTER_CONFLICT" }));
  });
});
