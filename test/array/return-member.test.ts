import { describe, expect, it } from "vitest";
import { failMember, removeMember } from "../../src/array/array-state.ts";
import { planCreate } from "../../src/array/create-array.ts";
import type { MdArray } from "../../src/array/md-array.ts";
import { returningMember, returnMember } from "../../src/array/return-member.ts";
import { superblockOf } from "../../src/array/superblock-of.ts";
import { sector } from "../../src/base/units.ts";
import { Feature, ROLE_FAULTY, ROLE_SPARE, type Superblock } from "../../src/superblock/superblock.ts";
import { createRequest, rolesOf } from "./example.ts";

const whole: MdArray = { ...planCreate(createRequest([4096, 4096])), events: 10 };
const [, second] = whole.members;
if (second === undefined) throw new Error("two members");
/** What member 1 held when it left at event 10; the array has gone on to 20. */
const left = superblockOf(whole, second);
const faulty: MdArray = { ...failMember(whole, 1).array, events: 20 };
const removed: MdArray = removeMember(faulty, 1).array;
const judge = (array: MdArray, change: Partial<Superblock> = {}, eventsCleared = 10) =>
  returningMember(array, { ...left, ...change }, eventsCleared);

describe("a device that was a member", () => {
  it("may come back into its place, removed or still bound, and lacks only what the bitmaps say", () => {
    for (const array of [removed, faulty]) {
      const member = judge(array);
      if (typeof member === "string") throw new Error(member);
      expect(member).toMatchObject({ number: 1, raidDisk: 1, state: "rebuilding", recoveredTo: 0, byBitmap: true });
      const back = returnMember(array, member);
      expect(rolesOf(back.array)).toEqual({ 0: "in_sync 0", 1: "rebuilding 1" });
      const superblock = superblockOf(back.array, member);
      expect(superblock.featureMap & (Feature.recoveryOffset | Feature.recoveryBitmap)).toBe(2 | 128);
    }
    const types = (array: MdArray) => {
      const member = judge(array);
      return typeof member === "string" ? [] : returnMember(array, member).changes.map(({ type }) => type);
    };
    expect(types(removed)).toEqual(["added", "rebuilding"]);
    expect(types(faulty)).toEqual(["removed", "added", "rebuilding"]);
  });

  it("that failed again while it was filled by the bitmaps may, one that was filled from the start may not", () => {
    const filling = Feature.recoveryOffset | Feature.bitmapOffset | Feature.clustered;
    expect(judge(removed, { featureMap: filling | Feature.recoveryBitmap })).toMatchObject({ byBitmap: true });
    expect(judge(removed, { featureMap: filling })).toBe("it was not filled yet when it left");
  });

  const spare = [0, ROLE_SPARE];
  it.each<[string, Partial<Superblock>, string]>([
    ["older than the bits that were cleared", { events: 9 }, "the bitmaps do not reach back to event 9"],
    ["written elsewhere since", { events: 21 }, "it was written elsewhere since it left"],
    ["used alone elsewhere", { devRoles: [ROLE_FAULTY, 1] }, "none of the present members was one"],
    ["a spare", { devRoles: spare }, "it was a spare"],
    ["of another size", { size: sector(left.size - 8) }, "the size of the array has changed"],
    ["of another shape", { raidDisks: 3 }, "the number of raid disks has changed"],
    ["with bitmaps elsewhere", { bitmapOffset: 16 }, "the place of the bitmap has changed"],
    ["with a feature that we do not know here", { featureMap: left.featureMap | Feature.journal }, "the kind"],
  ])("%s must be filled from the start", (_, change, reason) => {
    expect(judge(removed, change)).toContain(reason);
  });

  it("does not take a place or a number that is somebody else's", () => {
    const taken: MdArray = { ...removed, members: [...removed.members, { ...second, number: 2 }] };
    expect(judge(taken)).toContain("raid disk 1 has member 2");
    const stranger = { ...second, deviceUuid: new Uint8Array(16).fill(9), state: "spare" as const, raidDisk: null };
    expect(judge({ ...removed, members: [...removed.members, stranger] })).toContain("its number 1 belongs to another");
  });
});
