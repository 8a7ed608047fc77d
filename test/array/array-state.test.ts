import { describe, expect, it } from "vitest";
import {
  activateSpares,
  addSpare,
  applyPeerUpdate,
  beginReplacement,
  failMember,
  isLastCopy,
  memberRebuilt,
  memberRecovered,
  removeMember,
  type Transition,
  withoutReplacement,
} from "../../src/array/array-state.ts";
import { isDegraded, type MdArray, memberByNumber, memberByRaidDisk, replacementAt } from "../../src/array/md-array.ts";
import { nextUpdate, superblockOf } from "../../src/array/superblock-of.ts";
import { sector } from "../../src/base/units.ts";
import { Feature, type Superblock } from "../../src/superblock/superblock.ts";
import { createRequest, DISK_SECTORS, deviceUuid, planFor, rolesOf } from "./example.ts";

const disks = (count: number) => Array.from({ length: count }, () => ({ size: sector(DISK_SECTORS) }));
const mirror = (count = 2): MdArray => planFor(disks(count));
const [spareDevice] = createRequest([DISK_SECTORS]).members;

const withSpare = (count = 2): MdArray => planFor(disks(count), { spares: spareDevice ? [spareDevice] : [] });

/** Carries out one transition after the other. */
const chain = (array: MdArray, ...steps: readonly ((array: MdArray) => Transition)[]): MdArray =>
  steps.reduce((current, step) => step(current).array, array);

const refused = (action: () => unknown, code: string) => expect(action).toThrowError(expect.objectContaining({ code }));

describe("a failure", () => {
  it("takes the member out of its place and leaves the others alone", () => {
    const { array, changes } = failMember(mirror(), 1);
    expect(rolesOf(array)).toEqual({ 0: "in_sync 0", 1: "faulty" });
    expect(changes).toEqual([{ type: "failed", number: 1, raidDisk: 1 }]);
    expect(isDegraded(array)).toBe(true);
    expect(superblockOf(array, array.members[0] as never).devRoles.slice(0, 3)).toEqual([0, 0xfffe, 0xffff]);
  });

  it("of a member that has failed changes nothing", () => {
    const failed = failMember(mirror(), 1).array;
    expect(failMember(failed, 1)).toEqual({ array: failed, changes: [] });
  });

  it("never takes the last copy (F12)", () => {
    const one = failMember(mirror(), 1).array;
    refused(() => failMember(one, 0), "E_LAST_COPY");
    refused(() => failMember(mirror(1), 0), "E_LAST_COPY");
    expect(isLastCopy(one, 0)).toBe(true);
    expect(isLastCopy(mirror(), 0)).toBe(false);
  });

  it("does not take a member under rebuild, or a spare, for a copy", () => {
    const rebuilding = chain(withSpare(), (array) => failMember(array, 1), activateSpares);
    expect(rolesOf(rebuilding)).toEqual({ 0: "in_sync 0", 1: "faulty", 2: "rebuilding 1" });
    refused(() => failMember(rebuilding, 0), "E_LAST_COPY");
    expect(failMember(rebuilding, 2).changes).toEqual([{ type: "failed", number: 2, raidDisk: 1 }]);
    refused(
      () =>
        failMember(
          chain(withSpare(), (array) => failMember(array, 1)),
          0,
        ),
      "E_LAST_COPY",
    );
    expect(failMember(withSpare(), 2).changes).toEqual([{ type: "failed", number: 2, raidDisk: null }]);
  });

  it("needs a member that exists", () => refused(() => failMember(mirror(), 7), "E_MEMBER_NOT_FOUND"));
});

describe("removing", () => {
  it("is for spares and faulty members only", () => {
    refused(() => removeMember(mirror(), 1), "E_MEMBER_ACTIVE");
    refused(
      () =>
        removeMember(
          chain(withSpare(), (a) => failMember(a, 1), activateSpares),
          2,
        ),
      "E_MEMBER_ACTIVE",
    );
    refused(() => removeMember(mirror(), 4), "E_MEMBER_NOT_FOUND");
    const removed = chain(
      mirror(),
      (array) => failMember(array, 1),
      (array) => removeMember(array, 1),
    );
    expect(rolesOf(removed)).toEqual({ 0: "in_sync 0" });
    // From 0xfffe to 0xffff at the next update.
    expect(superblockOf(removed, removed.members[0] as never).devRoles[1]).toBe(0xffff);
  });
});

describe("a spare", () => {
  it("takes the lowest vacant place, is filled, and then is a copy", () => {
    let array = chain(
      withSpare(3),
      (a) => failMember(a, 2),
      (a) => failMember(a, 1),
    );
    array = chain(array, activateSpares);
    expect(rolesOf(array)).toEqual({ 0: "in_sync 0", 1: "faulty", 2: "faulty", 3: "rebuilding 1" });
    array = memberRecovered(array, 3, sector(512)).array;
    expect(memberByNumber(array, 3)?.recoveredTo).toBe(512);
    expect(superblockOf(array, memberByNumber(array, 3) as never)).toMatchObject({
      featureMap: 0x103,
      recoveryOffset: 512n,
    });
    expect(memberRecovered(array, 3, sector(256)).changes).toEqual([]);
    const done = memberRebuilt(array, 3);
    expect(done.changes).toEqual([{ type: "rebuilt", number: 3, raidDisk: 1 }]);
    expect(rolesOf(done.array)[3]).toBe("in_sync 1");
    expect(superblockOf(done.array, memberByNumber(done.array, 3) as never).featureMap).toBe(0x101);
  });

  it("stays one while every place is taken", () => {
    expect(activateSpares(withSpare())).toEqual({ array: withSpare(), changes: [] });
  });

  it("brings a number that is free", () => {
    const member = { ...withSpare().members[2], deviceUuid: deviceUuid(7) } as MdArray["members"][number];
    expect(addSpare(mirror(), member).changes).toEqual([{ type: "added", number: 2 }]);
    refused(() => addSpare(withSpare(), member), "E_DEVICE_IN_ARRAY");
    expect(addSpare(mirror(), { ...member, number: 200 }).array.maxDev).toBe(201);
  });
});

describe("an update", () => {
  it("26.13: is one event later and never claims that the array is in sync", () => {
    const array = planFor(disks(2), { assumeClean: true });
    const next = nextUpdate(array, { seconds: 1_700_000_500, microseconds: 0 });
    expect(next).toMatchObject({ events: 2, resyncOffset: 0n, updated: { seconds: 1_700_000_500 } });
    expect(next.created).toEqual(array.created);
  });
});

describe("what a peer has written", () => {
  const later = (array: MdArray): MdArray => nextUpdate(array, { seconds: 1_700_000_600, microseconds: 0 });
  const written = (array: MdArray): Map<number, Superblock> =>
    new Map(array.members.map((member) => [member.number, superblockOf(array, member)]));
  const hear = (mine: MdArray, theirs: MdArray, unread: readonly number[] = []): Transition => {
    const superblocks = written(theirs);
    const announced = superblocks.get(0);
    if (announced === undefined) throw new Error("no superblock");
    for (const number of unread) superblocks.delete(number);
    return applyPeerUpdate(mine, announced, superblocks);
  };

  it.each<[string, MdArray, (array: MdArray) => Transition]>([
    ["a failure", mirror(), (a) => failMember(a, 1)],
    ["a failed spare", withSpare(), (a) => failMember(a, 2)],
    ["a removal", failMember(mirror(), 1).array, (a) => removeMember(a, 1)],
    ["an activation", failMember(withSpare(), 1).array, activateSpares],
    ["progress", chain(withSpare(), (a) => failMember(a, 1), activateSpares), (a) => memberRecovered(a, 2, sector(64))],
    ["a finished rebuild", chain(withSpare(), (a) => failMember(a, 1), activateSpares), (a) => memberRebuilt(a, 2)],
    ["nothing", mirror(), (a) => ({ array: a, changes: [] })],
  ])("has the same effect here: %s", (_, before, step) => {
    const { array, changes } = step(before);
    const theirs = later(array);
    expect(hear(before, theirs)).toEqual({ array: theirs, changes });
  });

  it("may be several things at once", () => {
    const before = chain(withSpare(3), (a) => failMember(a, 1));
    const theirs = later(
      chain(
        before,
        activateSpares,
        (a) => failMember(a, 2),
        (a) => removeMember(a, 1),
      ),
    );
    const { array, changes } = hear(before, theirs);
    expect(rolesOf(array)).toEqual(rolesOf(theirs));
    expect(changes.map(({ type, number }) => `${type} ${number}`)).toEqual(["removed 1", "failed 2", "rebuilding 3"]);
  });

  it("counts a member for nothing that it has activated and that we cannot read", () => {
    const before = failMember(withSpare(), 1).array;
    const theirs = later(chain(before, activateSpares, (a) => memberRebuilt(a, 2)));
    expect(hear(before, theirs, [2]).array.members[2]).toMatchObject({ state: "rebuilding", recoveredTo: 0 });
  });

  it("does not believe a superblock that the update did not reach", () => {
    const before = failMember(withSpare(), 1).array;
    const theirs = later(chain(before, activateSpares, (a) => memberRebuilt(a, 2)));
    const superblocks = written(theirs);
    superblocks.set(2, superblockOf(before, before.members[2] as never));
    const announced = superblockOf(theirs, theirs.members[0] as never);
    expect(applyPeerUpdate(before, announced, superblocks).array.members[2]?.state).toBe("rebuilding");
  });

  it("is a failure also when its table has forgotten a member that we use", () => {
    const theirs = later(
      chain(
        mirror(),
        (a) => failMember(a, 1),
        (a) => removeMember(a, 1),
      ),
    );
    const { array, changes } = hear(mirror(), theirs);
    expect(changes).toEqual([{ type: "failed", number: 1, raidDisk: 1 }]);
    expect(rolesOf(array)[1]).toBe("faulty");
  });

  it("changes nothing when it is older than what we know", () => {
    const newer = later(later(failMember(mirror(), 1).array));
    expect(hear(newer, later(mirror()))).toEqual({ array: newer, changes: [] });
  });

  it("may change the array's shape", () => {
    const { array } = hear(mirror(), later({ ...mirror(), raidDisks: 3, memberSize: sector(128) }));
    expect(array).toMatchObject({ raidDisks: 3, memberSize: 128, size: 128 });
  });
});

describe("a replacement", () => {
  const begun = (): MdArray => beginReplacement(withSpare(), 0, 2).array;

  it("shares the raid_disk of the member that serves until it is whole, and then has it alone", () => {
    const { array, changes } = beginReplacement(withSpare(), 0, 2);
    expect(rolesOf(array)).toEqual({ 0: "in_sync 0", 1: "in_sync 1", 2: "rebuilding 0" });
    expect(changes).toEqual([
      { type: "rebuilding", number: 2, raidDisk: 0, recoveredTo: 0, byBitmap: false, isReplacement: true },
    ]);
    expect(isDegraded(array)).toBe(false);
    expect(memberByRaidDisk(array, 0)?.number).toBe(0);
    const further = memberRecovered(array, 2, sector(64)).array;
    expect(replacementAt(further, 0)).toMatchObject({ number: 2, recoveredTo: 64 });
    const whole = memberRebuilt(further, 2);
    expect(rolesOf(whole.array)).toEqual({ 0: "faulty", 1: "in_sync 1", 2: "in_sync 0" });
    expect(whole.changes).toEqual([
      { type: "rebuilt", number: 2, raidDisk: 0 },
      { type: "failed", number: 0, raidDisk: 0 },
    ]);
  });

  it("has the feature bit on its own superblock alone, and only while there are two", () => {
    const bits = (array: MdArray) =>
      array.members.map((member) => (superblockOf(array, member).featureMap & Feature.replacement) !== 0);
    expect(bits(begun())).toEqual([false, false, true]);
    expect(superblockOf(begun(), begun().members[0] as never).devRoles.slice(0, 3)).toEqual([0, 1, 0]);
    expect(bits(failMember(begun(), 0).array)).toEqual([false, false, false]);
    expect(bits(memberRebuilt(begun(), 2).array)).toEqual([false, false, false]);
  });

  it("becomes the plain member of the raid_disk, as far as it is filled, when the other one fails", () => {
    const { array, changes } = failMember(memberRecovered(begun(), 2, sector(64)).array, 0);
    expect(rolesOf(array)).toEqual({ 0: "faulty", 1: "in_sync 1", 2: "rebuilding 0" });
    expect(changes).toEqual([
      { type: "failed", number: 0, raidDisk: 0 },
      { type: "rebuilding", number: 2, raidDisk: 0, recoveredTo: 64, byBitmap: false, isReplacement: false },
    ]);
    expect(memberRebuilt(array, 2).changes).toEqual([{ type: "rebuilt", number: 2, raidDisk: 0 }]);
    // It is no copy before: nobody may fall back on it.
    refused(() => failMember(array, 1), "E_LAST_COPY");
  });

  it("that fails leaves the other as it was", () => {
    const { array, changes } = failMember(begun(), 2);
    expect(rolesOf(array)).toEqual({ 0: "in_sync 0", 1: "in_sync 1", 2: "faulty" });
    expect(changes).toEqual([{ type: "failed", number: 2, raidDisk: 0 }]);
  });

  it("of the last copy takes its place, and is the last copy then", () => {
    const last = chain(begun(), (array) => failMember(array, 1));
    refused(() => failMember(last, 0), "E_LAST_COPY");
    const whole = memberRebuilt(last, 2).array;
    expect(rolesOf(whole)).toEqual({ 0: "faulty", 1: "faulty", 2: "in_sync 0" });
    refused(() => failMember(whole, 2), "E_LAST_COPY");
  });

  it("is a spare, of a member that is in sync and is not being replaced already", () => {
    const failed = failMember(withSpare(), 0).array;
    refused(() => beginReplacement(failed, 0, 2), "E_VALUE");
    refused(() => beginReplacement(activateSpares(failed).array, 2, 2), "E_VALUE");
    refused(() => beginReplacement(withSpare(), 2, 2), "E_VALUE");
    refused(() => beginReplacement(withSpare(), 0, 1), "E_VALUE");
    refused(() => beginReplacement(failed, 1, 0), "E_VALUE");
    refused(() => beginReplacement(withSpare(), 0, 7), "E_MEMBER_NOT_FOUND");
    refused(() => beginReplacement(withSpare(), 7, 2), "E_MEMBER_NOT_FOUND");
    refused(() => beginReplacement(begun(), 0, 2), "E_MEMBER_ACTIVE");
  });

  it("that cannot be written when it is whole is gone, and the other stays: nobody was told yet", () => {
    const before = begun();
    const step = memberRebuilt(before, 2);
    const undone = withoutReplacement(before, step, 2);
    expect(undone && rolesOf(undone.array)).toEqual({ 0: "in_sync 0", 1: "in_sync 1", 2: "faulty" });
    expect(undone?.changes).toEqual([{ type: "failed", number: 2, raidDisk: 0 }]);
    expect(withoutReplacement(before, step, 1)).toBeNull();
    expect(withoutReplacement(begun(), memberRecovered(begun(), 2, sector(8)), 2)).toBeNull();
  });

  describe("as a peer learns of it", () => {
    /** What a peer that knows `known` makes of the superblocks of `after`; those of `unread` it cannot read. */
    const learn = (known: MdArray, after: MdArray, ...unread: number[]) => {
      const written = nextUpdate(after, { seconds: 1, microseconds: 0 });
      const superblocks = new Map(
        written.members
          .filter(({ number, state }) => state !== "faulty" && !unread.includes(number))
          .map((member) => [member.number, superblockOf(written, member)]),
      );
      return applyPeerUpdate(known, superblockOf(written, written.members[1] as never), superblocks);
    };

    it("is the same array at each step", () => {
      const steps = [
        withSpare(),
        begun(),
        memberRecovered(begun(), 2, sector(8)).array,
        memberRebuilt(begun(), 2).array,
      ];
      for (const [i, after] of steps.entries()) {
        expect(learn(steps[Math.max(0, i - 1)] as MdArray, after).array.members).toEqual(after.members);
        expect(learn(withSpare(), after).array.members).toEqual(after.members);
      }
      const failed = failMember(begun(), 0);
      expect(learn(begun(), failed.array).array.members).toEqual(failed.array.members);
      expect(learn(begun(), failed.array).changes).toEqual(failed.changes);
    });

    it("has the new copy before the old one is gone", () => {
      const { changes } = learn(begun(), memberRebuilt(begun(), 2).array);
      expect(changes.map(({ type }) => type)).toEqual(["rebuilt", "failed"]);
    });

    it("is a replacement, not a full copy, also when its own superblock cannot be read", () => {
      expect(learn(withSpare(), begun(), 2).array.members).toEqual(begun().members);
      const alone = failMember(begun(), 0).array;
      expect(learn(begun(), alone, 2).array.members).toEqual(alone.members);
    });
  });
});
