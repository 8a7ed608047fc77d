import { isActiveRole, isRebuilding, ownRole, ROLE_SPARE, roleOf, type Superblock } from "./superblock.ts";

/** Could the array of this superblock go on if only the raid_disks with `alive[i] !== 0` were left? */
export type Survives = (superblock: Superblock, alive: Uint8Array) => boolean;

/**
 * Is what `newer` tells the continuation of what `older` does, directly or by way of others that are here? Who failed a
 * member goes on without it, so the table of one that went on alone knows nobody of the other history.
 */
export function isContinuedBy(
  older: Superblock,
  newer: Superblock,
  all: readonly Superblock[],
  survives: Survives,
): boolean {
  const before = all.filter((superblock) => superblock.events === older.events && isCutShort(older, superblock));
  const reached = new Set([older, ...before]);
  for (const from of reached) {
    if (sameUpdate(from, newer) || knows(from, newer, survives)) return true;
    for (const superblock of all) if (knows(from, superblock, survives)) reached.add(superblock);
  }
  return false;
}

/** Were both written by one update? */
export function sameUpdate(one: Superblock, other: Superblock): boolean {
  const numbers = Math.max(one.devRoles.length, other.devRoles.length);
  const differs = Array.from({ length: numbers }, (_, number) => roleOf(one, number) !== roleOf(other, number));
  const sameShape = one.raidDisks === other.raidDisks && one.size === other.size;
  return one.events === other.events && sameShape && !differs.includes(true);
}

/**
 * Of two updates with one number: the one that `mine` has never reached `theirs`, which it lists, so nobody relied on it;
 * and who wrote the other went on from what both had before, without the member of `mine`.
 */
export const isCutShort = (mine: Superblock, theirs: Superblock): boolean =>
  isActiveRole(roleOf(mine, theirs.devNumber)) && !isActiveRole(roleOf(theirs, mine.devNumber));

/** `newer` was written later, and by somebody who had `older` with it, or went on after the two were together. */
function knows(older: Superblock, newer: Superblock, survives: Survives): boolean {
  const behind = newer.events - older.events;
  if (behind <= 0) return false;
  const isNext = behind === 1;
  if (isNext && lists(newer, older, older.devNumber)) return true;
  // What is being filled may by now be filled by anybody: it says nothing of those who had its number or place before.
  if (isRebuilding(newer) && !isNext) return false;
  if (newer.devNumber !== older.devNumber && lists(older, newer, newer.devNumber)) return true;
  return survives(older, othersOf(older)) && (shareMember(older, newer) || tookPlace(older, newer));
}

/** Has `one` an active member of this number where `other` has it? */
const lists = (one: Superblock, other: Superblock, number: number): boolean =>
  isActiveRole(roleOf(one, number)) && roleOf(one, number) === roleOf(other, number);

const activeNumbers = ({ devRoles }: Superblock): readonly number[] =>
  devRoles.flatMap((role, number) => (isActiveRole(role) ? [number] : []));

/** Does a third one go with both? Who comes back is taken only by those whom its own table lists. */
const shareMember = (older: Superblock, newer: Superblock): boolean =>
  activeNumbers(newer).some(
    (number) => number !== older.devNumber && number !== newer.devNumber && lists(older, newer, number),
  );

/**
 * Has `newer` a place that somebody had whom `older` lists, among members that are all new to it? Then all were replaced
 * one by one; it is no place where a member that had left before went on alone.
 */
function tookPlace(older: Superblock, newer: Superblock): boolean {
  const place = ownRole(newer);
  if (!isActiveRole(place) || !older.devRoles.includes(place)) return false;
  const isNew = (number: number): boolean => number >= older.raidDisks && roleOf(older, number) === ROLE_SPARE;
  // Each that went took an update, and the new one to come in.
  const gone = activeNumbers(older).filter((number) => !lists(older, newer, number));
  const present = activeNumbers(newer).filter((number) => number !== older.devNumber);
  return present.every(isNew) && newer.events - older.events > gone.length;
}

/** By raid_disk: 1 where its table has a member that is not its own. */
function othersOf({ devRoles, devNumber, raidDisks }: Superblock): Uint8Array {
  const alive = new Uint8Array(raidDisks);
  for (const [number, role] of devRoles.entries()) if (number !== devNumber && role < raidDisks) alive[role] = 1;
  return alive;
}
