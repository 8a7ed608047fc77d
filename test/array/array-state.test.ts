import { describe, expect, it } from "vitest";
import {
  activateSpares,
  addSpare,
  applyPeerUpdate,
  failMember,
  isLastCopy,
  memberRebuilt,
  memberRecovered,
  removeMember,
  type Transition,
} from "../../src/array/array-state.ts";
import { isDegraded, type MdArray, memberByNumber } from "../../src/array/md-array.ts";
import { nextUpdate, superblockOf } from "../../src/array/superblock-of.ts";
import { sector } from "../../src/base/units.ts";
import type { Superblock } from "../../src/superblock/superblock.ts";
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
  it("is one event later and never claims that the array is in sync", () => {
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
