import { MdError } from "../base/md-error.ts";
import { type Sector, sector } from "../base/units.ts";
import { Feature, hasFeature, isActiveRole, ROLE_FAULTY, roleOf, type Superblock } from "../superblock/superblock.ts";
import { withShape } from "./array-shape.ts";
import { CopyGroups } from "./copy-groups.ts";
import {
  inSyncDisks,
  inSyncMembers,
  type MdArray,
  memberByNumber,
  memberByRaidDisk,
  replaceMember,
  replacementAt,
} from "./md-array.ts";
import type { Member } from "./member.ts";
import { faultyNumbers, memberOf } from "./superblock-of.ts";

/** What a transition did; in the order in which the data plane must learn of it. */
export type ArrayChange =
  /** It gives up `raidDisk` (null: it was a spare). Nothing is read from it or written to it any more. */
  | { readonly type: "failed"; readonly number: number; readonly raidDisk: number | null }
  | { readonly type: "removed"; readonly number: number }
  | { readonly type: "added"; readonly number: number }
  /** A spare has taken a raid_disk or is to replace who has it, or a peer has got further with filling it. */
  | ({ readonly type: "rebuilding"; readonly raidDisk: number } & Pick<
      Member,
      "number" | "recoveredTo" | "byBitmap" | "isReplacement"
    >)
  | { readonly type: "rebuilt"; readonly number: number; readonly raidDisk: number };

export interface Transition {
  /** Not yet written: `nextUpdate` and `writeSuperblocks` do that. */
  readonly array: MdArray;
  /** Empty: nothing to do, nothing to write. */
  readonly changes: readonly ArrayChange[];
}

const unchanged = (array: MdArray): Transition => ({ array, changes: [] });

const whole = { recoveredTo: sector(0), byBitmap: false, isReplacement: false } as const;
const noPlace = { raidDisk: null, ...whole } as const;

function existing(array: MdArray, number: number): Member {
  const member = memberByNumber(array, number);
  if (member === null) throw new MdError("E_MEMBER_NOT_FOUND", `"${array.name}" has no member number ${number}`);
  return member;
}

/** Would some data have no copy left to read from if `number` failed? A member that is no full copy is never the last. */
export function isLastCopy(array: MdArray, number: number): boolean {
  const member = inSyncMembers(array).find((one) => one.number === number);
  if (member === undefined || member.raidDisk === null) return false;
  return new CopyGroups(array).isLastCopy(member.raidDisk, inSyncDisks(array));
}

const rebuildingChange = (raidDisk: number, { number, recoveredTo, byBitmap, isReplacement }: Member): ArrayChange => ({
  type: "rebuilding",
  number,
  raidDisk,
  recoveredTo,
  byBitmap,
  isReplacement,
});

/**
 * E_LAST_COPY, E_MEMBER_NOT_FOUND. Failing a faulty member again changes nothing. Of a raid_disk that was about to be
 * replaced the replacement is left, which is filled as any member is.
 */
export function failMember(array: MdArray, number: number): Transition {
  const member = existing(array, number);
  if (member.state === "faulty") return unchanged(array);
  if (isLastCopy(array, number)) {
    throw new MdError("E_LAST_COPY", `failing member ${number} of "${array.name}" would lose the last good copy`);
  }
  const failed = replaceMember(array, { ...member, ...noPlace, state: "faulty" });
  const changes: readonly ArrayChange[] = [{ type: "failed", number, raidDisk: member.raidDisk }];
  const heir = member.raidDisk === null || member.isReplacement ? null : replacementAt(array, member.raidDisk);
  if (heir === null || heir.raidDisk === null) return { array: failed, changes };
  const alone = { ...heir, isReplacement: false };
  return { array: replaceMember(failed, alone), changes: [...changes, rebuildingChange(heir.raidDisk, alone)] };
}

/** Faulty members and spares only: E_MEMBER_ACTIVE, E_MEMBER_NOT_FOUND. */
export function removeMember(array: MdArray, number: number): Transition {
  const { state } = existing(array, number);
  if (state === "in_sync" || state === "rebuilding") {
    throw new MdError("E_MEMBER_ACTIVE", `member ${number} of "${array.name}" is an active member`);
  }
  return {
    array: { ...array, members: array.members.filter((member) => member.number !== number) },
    changes: [{ type: "removed", number }],
  };
}

/** Binds a device that is prepared (see `prepareMember`) as a spare. E_DEVICE_IN_ARRAY if its number is taken. */
export function addSpare(array: MdArray, spare: Member): Transition {
  if (memberByNumber(array, spare.number) !== null) {
    throw new MdError("E_DEVICE_IN_ARRAY", `"${array.name}" has a member number ${spare.number} already`);
  }
  const member: Member = { ...spare, ...noPlace, state: "spare" };
  const maxDev = Math.max(array.maxDev, spare.number + 1);
  const faultyElsewhere = array.faultyElsewhere.filter((number) => number !== spare.number);
  return {
    array: { ...replaceMember(array, member), maxDev, faultyElsewhere },
    changes: [{ type: "added", number: spare.number }],
  };
}

/** Every vacant raid_disk takes a spare, lowest numbers first; what it holds counts for nothing until it is filled. */
export function activateSpares(array: MdArray): Transition {
  let next = array;
  const changes: ArrayChange[] = [];
  const spares = array.members.filter((member) => member.state === "spare");
  for (let raidDisk = 0; raidDisk < array.raidDisks; raidDisk++) {
    if (memberByRaidDisk(array, raidDisk) !== null) continue;
    const spare = spares.shift();
    if (spare === undefined) break;
    next = replaceMember(next, { ...spare, ...whole, state: "rebuilding", raidDisk });
    changes.push(rebuildingChange(raidDisk, { ...spare, ...whole }));
  }
  return { array: next, changes };
}

/**
 * A spare is to replace a member, which serves until the spare is whole (`memberRebuilt`). E_MEMBER_NOT_FOUND; E_VALUE if
 * the one is no full copy or the other no spare, E_MEMBER_ACTIVE if the member is being replaced already.
 */
export function beginReplacement(array: MdArray, number: number, spareNumber: number): Transition {
  const { raidDisk, state } = existing(array, number);
  const spare = existing(array, spareNumber);
  if (raidDisk === null || state !== "in_sync") {
    throw new MdError(
      "E_VALUE",
      `member ${number} of "${array.name}" is not active and in sync: it cannot be replaced`,
    );
  }
  const other = replacementAt(array, raidDisk);
  if (other !== null) {
    throw new MdError("E_MEMBER_ACTIVE", `member ${number} of "${array.name}" is being replaced by ${other.number}`);
  }
  if (spare.state !== "spare") {
    const what = spare.state === "faulty" ? "faulty" : "active";
    throw new MdError("E_VALUE", `member ${spareNumber} of "${array.name}" is ${what}: it cannot be a replacement`);
  }
  const filled: Member = { ...spare, ...whole, state: "rebuilding", raidDisk, isReplacement: true };
  return { array: replaceMember(array, filled), changes: [rebuildingChange(raidDisk, filled)] };
}

/** Filled below `recoveredTo` sectors; never backwards. */
export function memberRecovered(array: MdArray, number: number, recoveredTo: Sector): Transition {
  const member = existing(array, number);
  if (member.state !== "rebuilding" || member.raidDisk === null || recoveredTo <= member.recoveredTo) {
    return unchanged(array);
  }
  const further = { ...member, recoveredTo };
  return { array: replaceMember(array, further), changes: [rebuildingChange(member.raidDisk, further)] };
}

/** All of it is filled: from now on it is a full copy. Whoever it replaces is faulty with the same step, as in md. */
export function memberRebuilt(array: MdArray, number: number): Transition {
  const member = existing(array, number);
  if (member.state !== "rebuilding" || member.raidDisk === null) return unchanged(array);
  const { raidDisk } = member;
  const old = member.isReplacement ? memberByRaidDisk(array, raidDisk) : null;
  const rebuilt = replaceMember(array, { ...member, ...whole, state: "in_sync" });
  const changes: readonly ArrayChange[] = [{ type: "rebuilt", number, raidDisk }];
  if (old === null) return { array: rebuilt, changes };
  return {
    array: replaceMember(rebuilt, { ...old, ...noPlace, state: "faulty" }),
    changes: [...changes, { type: "failed", number: old.number, raidDisk }],
  };
}

/**
 * The device of `number` cannot be written with a step that makes it whole in place of another. As if only that had
 * happened: it is faulty, and who was to be replaced (as `before` has it) stays. Null if the step does no such thing.
 */
export function withoutReplacement(before: MdArray, { array, changes }: Transition, number: number): Transition | null {
  const rebuilt = changes.find((change) => change.type === "rebuilt" && change.number === number);
  if (rebuilt?.type !== "rebuilt" || memberByNumber(before, number)?.isReplacement !== true) return null;
  const old = memberByRaidDisk(before, rebuilt.raidDisk);
  if (old === null || old.number === number || memberByNumber(array, old.number) === null) return null;
  const failed = replaceMember(array, { ...existing(array, number), ...noPlace, state: "faulty" });
  return {
    array: replaceMember(failed, old),
    changes: [
      ...changes.filter((change) => change.number !== number && change.number !== old.number),
      { type: "failed", number, raidDisk: rebuilt.raidDisk },
    ],
  };
}

/**
 * What a peer has written (METADATA_UPDATED): `announced` is the superblock of the member it named; `superblocks` are
 * those of all members that could be read, by number, for what each says of itself. An announcement older than what we
 * know changes nothing. Source: md-cluster, 16.
 */
export function applyPeerUpdate(
  array: MdArray,
  announced: Superblock,
  superblocks: ReadonlyMap<number, Superblock>,
): Transition {
  if (announced.events < array.events) return unchanged(array);
  let next: MdArray = {
    ...withShape(array, {
      memberSize: announced.size,
      raidDisks: announced.raidDisks,
      stripeSectors: announced.chunkSectors,
    }),
    events: announced.events,
    updated: announced.utime,
    resyncOffset: announced.resyncOffset,
    maxDev: Math.max(array.maxDev, announced.devRoles.length),
  };
  // One that the update did not reach says nothing about what the member is now.
  const currentOf = ({ number }: Member): Superblock | null => {
    const own = superblocks.get(number);
    return own !== undefined && own.events >= announced.events ? own : null;
  };
  next = { ...next, members: next.members.map((member) => countedBy(member, currentOf(member))) };
  const changes: ArrayChange[] = [];
  for (const member of next.members) {
    const change = peerChange(member, announced, currentOf(member));
    if (change === null) continue;
    changes.push(change);
    next = applyChange(next, member, change);
  }
  const faultyElsewhere = faultyNumbers(announced).filter((number) => memberByNumber(next, number) === null);
  // A replacement is whole before the one that it replaces is gone: at no time is there no copy to read.
  const rebuilt = changes.filter(({ type }) => type === "rebuilt");
  return {
    array: { ...next, faultyElsewhere },
    changes: [...rebuilt, ...changes.filter(({ type }) => type !== "rebuilt")],
  };
}

/** What any node has corrected stays counted: the next update of another one is not to write an older number. */
function countedBy(member: Member, own: Superblock | null): Member {
  if (own === null || own.correctedReads <= member.correctedReads) return member;
  return { ...member, correctedReads: own.correctedReads };
}

/** What became of one member, by the table of roles and its own superblock. */
function peerChange(member: Member, announced: Superblock, own: Superblock | null): ArrayChange | null {
  const { number, raidDisk, state } = member;
  const role = roleOf(announced, number);
  if (!isActiveRole(role)) {
    if (state === "faulty") return role === ROLE_FAULTY ? null : { type: "removed", number };
    if (state === "spare") return role === ROLE_FAULTY ? { type: "failed", number, raidDisk } : null;
    // Also when the table has forgotten it altogether: whoever writes such a table does not write to the member.
    return { type: "failed", number, raidDisk };
  }
  // Without its own word a member that we did not know as a copy counts for nothing.
  const filling = own === null ? state !== "in_sync" : hasFeature(own, Feature.recoveryOffset);
  const isShared = announced.devRoles.some((other, one) => one !== number && other === role);
  const isReplacement = isShared && (own === null ? filling : hasFeature(own, Feature.replacement));
  if (!filling) return state === "in_sync" && raidDisk === role ? null : { type: "rebuilt", number, raidDisk: role };
  const recoveredTo = sector(own === null ? member.recoveredTo : Number(own.recoveryOffset));
  const byBitmap = own === null ? member.byBitmap : hasFeature(own, Feature.recoveryBitmap);
  const isKnown = state === "rebuilding" && raidDisk === role && byBitmap === member.byBitmap;
  if (isKnown && recoveredTo === member.recoveredTo && isReplacement === member.isReplacement) return null;
  return { type: "rebuilding", number, raidDisk: role, recoveredTo, byBitmap, isReplacement };
}

function applyChange(array: MdArray, member: Member, change: ArrayChange): MdArray {
  switch (change.type) {
    case "failed":
      return replaceMember(array, { ...member, ...noPlace, state: "faulty" });
    case "removed":
      return { ...array, members: array.members.filter(({ number }) => number !== change.number) };
    case "rebuilding":
      return replaceMember(array, {
        ...member,
        state: "rebuilding",
        raidDisk: change.raidDisk,
        recoveredTo: change.recoveredTo,
        byBitmap: change.byBitmap,
        isReplacement: change.isReplacement,
      });
    case "rebuilt":
      return replaceMember(array, { ...member, ...whole, state: "in_sync", raidDisk: change.raidDisk });
    case "added":
      return array;
  }
}

/** The spare that the superblock of a device new to us describes; null if it is no device of this array's. */
export function spareOf(array: MdArray, superblock: Superblock): Member | null {
  if (!superblock.setUuid.every((byte, i) => byte === array.uuid[i])) return null;
  return memberOf(superblock, { ...noPlace, state: "spare" });
}
