import { MdError } from "../base/md-error.ts";
import { type Sector, sector } from "../base/units.ts";
import { isContinuedBy, isCutShort, type Survives, sameUpdate } from "./one-history.ts";
import {
  Feature,
  hasFeature,
  isActiveRole,
  isRebuilding,
  ownRole,
  ROLE_FAULTY,
  roleOf,
  type Superblock,
} from "./superblock.ts";
import { mdUuidText, sameUuid } from "./uuid.ts";

export interface Candidate {
  readonly path: string;
  readonly superblock: Superblock;
}

type PickedRole =
  | { readonly type: "in_sync"; readonly raidDisk: number }
  /**
   * Good below `recoveredTo` sectors of data; `byBitmap`: above it lacks only what the bitmaps say; `isReplacement`: of
   * the member that has the raid_disk, too.
   */
  | {
      readonly type: "rebuilding";
      readonly raidDisk: number;
      readonly recoveredTo: Sector;
      readonly byBitmap: boolean;
      readonly isReplacement: boolean;
    }
  | { readonly type: "spare" };

interface Picked<C extends Candidate> {
  readonly candidate: C;
  readonly role: PickedRole;
}

interface Refused<C extends Candidate> {
  readonly candidate: C;
  /** For people; names no path. */
  readonly reason: string;
}

export interface Choice<C extends Candidate> {
  /** Its values define the array. */
  readonly freshest: C;
  readonly used: readonly Picked<C>[];
  readonly refused: readonly Refused<C>[];
  /** Active in the freshest table, but not among `used`: nobody has recorded that they are gone. */
  readonly missing: readonly { readonly number: number; readonly raidDisk: number }[];
}

export interface PickOptions {
  /** Of two histories take the newer one. */
  readonly force?: boolean;
  /** Default: a mirror's. */
  readonly survives?: Survives;
}

/**
 * Which of these devices make up the array, and as what. Never guesses which copy is right: where two histories
 * contradict each other it refuses (E_CLUSTER_CONFLICT) unless `force` and one is newer. E_DEVICE_IN_ARRAY for devices
 * of different arrays or the same device twice, E_NO_ARRAY for a creation that was cut short, E_NO_DEVICE without an
 * in-sync member. Source: on-disk format, section 15.
 */
export function pickSuperblock<C extends Candidate>(candidates: readonly C[], options: PickOptions = {}): Choice<C> {
  const { force = false, survives = (_, alive) => alive.includes(1) } = options;
  checkOneArray(candidates);
  const freshest = findFreshest(candidates);
  const used: Picked<C>[] = [];
  const refused: Refused<C>[] = [];
  const distinct = withoutReusedNumbers(candidates, freshest, refused);
  for (const candidate of candidates) {
    if (candidate !== freshest) checkHistory(candidate, freshest, distinct, { force, survives });
    if (!distinct.includes(candidate)) continue;
    const judged = judge(candidate.superblock, freshest.superblock);
    if (typeof judged === "string") refused.push({ candidate, reason: judged });
    else used.push({ candidate, role: judged });
  }
  checkOneUpdate(used);
  const settled = settlePlaces(used);
  const { superblock } = freshest;
  const missing = superblock.devRoles.flatMap((role, number) =>
    isActiveRole(role) && !used.some((picked) => picked.candidate.superblock.devNumber === number)
      ? [{ number, raidDisk: role }]
      : [],
  );
  return { freshest, used: settled, refused, missing };
}

function checkOneArray(candidates: readonly Candidate[]): void {
  const [first, ...others] = candidates;
  if (first === undefined) throw new MdError("E_NO_DEVICE", "no member devices were given");
  for (const { path, superblock } of others) {
    if (sameUuid(superblock.setUuid, first.superblock.setUuid)) continue;
    throw new MdError(
      "E_DEVICE_IN_ARRAY",
      `${first.path} and ${path} belong to different arrays: "${first.superblock.setName}" and "${superblock.setName}"`,
      { why: `array uuids ${mdUuidText(first.superblock.setUuid)} and ${mdUuidText(superblock.setUuid)}` },
    );
  }
  for (const [i, one] of candidates.entries()) {
    const twin = candidates
      .slice(i + 1)
      .find((other) => sameUuid(one.superblock.deviceUuid, other.superblock.deviceUuid));
    if (twin === undefined) continue;
    throw new MdError("E_DEVICE_IN_ARRAY", `${one.path} and ${twin.path} are the same member`, {
      why: `both have device uuid ${mdUuidText(one.superblock.deviceUuid)}: two paths to one disk, or a copy`,
    });
  }
}

/**
 * The most events. Of several with as many: a full copy before one that is being filled, which says what it says before
 * the others do; then the one that the others list, since an update that not all whom it lists have was cut short.
 */
function findFreshest<C extends Candidate>(candidates: readonly C[]): C {
  const active = candidates.filter(({ superblock }) => isActiveRole(ownRole(superblock)));
  const most = Math.max(...active.map(({ superblock }) => superblock.events));
  const newest = active.filter(({ superblock }) => superblock.events === most);
  const listings = ({ superblock: { devNumber } }: C): number =>
    newest.filter(({ superblock }) => isActiveRole(roleOf(superblock, devNumber))).length;
  const [freshest] = [...newest].sort(
    (a, b) =>
      Number(isRebuilding(a.superblock)) - Number(isRebuilding(b.superblock)) ||
      listings(b) - listings(a) ||
      a.superblock.devNumber - b.superblock.devNumber,
  );
  if (freshest === undefined) throw new MdError("E_NO_DEVICE", "none of the given devices is an active member");
  if (freshest.superblock.events === 0) {
    throw new MdError("E_NO_ARRAY", `${freshest.path}: the creation of this array was cut short`, {
      why: "its event count is still 0",
      hint: "create it again",
    });
  }
  return freshest;
}

/** Numbers of removed devices are given out again: of two claimants the one with the longer history has it. */
function withoutReusedNumbers<C extends Candidate>(
  candidates: readonly C[],
  freshest: C,
  refused: Refused<C>[],
): readonly C[] {
  return candidates.filter((candidate) => {
    const { devNumber, events } = candidate.superblock;
    const rivals = candidates.filter((other) => other !== candidate && other.superblock.devNumber === devNumber);
    if (rivals.length === 0 || candidate === freshest) return true;
    if (rivals.every((rival) => rival !== freshest && rival.superblock.events < events)) return true;
    refused.push({ candidate, reason: `device number ${devNumber} belongs to another device by now` });
    return false;
  });
}

/** Was this member written on its own, without the freshest one? Then there are two histories, and no right one. */
function checkHistory(
  candidate: Candidate,
  freshest: Candidate,
  all: readonly Candidate[],
  { force, survives }: Required<PickOptions>,
): void {
  const mine = candidate.superblock;
  const theirs = freshest.superblock;
  checkSameShape(candidate, freshest);
  if (!isActiveRole(ownRole(mine))) return;
  const behind = theirs.events - mine.events;
  if (behind === 0) {
    if (!sameUpdate(mine, theirs) && !isCutShort(mine, theirs)) refuseTie(candidate, freshest);
    return;
  }
  if (
    force ||
    isContinuedBy(
      mine,
      theirs,
      all.map(({ superblock }) => superblock),
      survives,
    )
  )
    return;
  const counts = `event counts ${mine.events} and ${theirs.events}`;
  refuseHistories(candidate, freshest, `${counts}, and the older one went on without the newer one`);
}

/** Two full copies that are both a step behind the freshest, which is no copy yet, may still contradict each other. */
function checkOneUpdate(used: readonly Picked<Candidate>[]): void {
  const copies = used.filter(({ role }) => role.type === "in_sync").map(({ candidate }) => candidate);
  for (const [i, one] of copies.entries()) {
    for (const other of copies.slice(i + 1)) {
      const isTie = one.superblock.events === other.superblock.events;
      if (isTie && !sameUpdate(one.superblock, other.superblock)) refuseTie(one, other);
    }
  }
}

const refuseTie = (one: Candidate, other: Candidate): never =>
  refuseHistories(one, other, `both have event count ${one.superblock.events}, but their tables of roles differ`);

function refuseHistories(one: Candidate, other: Candidate, why: string): never {
  throw new MdError(
    "E_CLUSTER_CONFLICT",
    `${one.path} and ${other.path} were both written alone since they were together`,
    { why, hint: `mdctl examine ${one.path} ${other.path}` },
  );
}

function checkSameShape(candidate: Candidate, freshest: Candidate): void {
  for (const field of ["level", "layout", "chunkSectors", "minor"] as const) {
    const mine = candidate.superblock[field];
    const theirs = freshest.superblock[field];
    // Somebody died while the chunk of a RAID10 was changed, which moves nothing.
    const isOld = field === "chunkSectors" && candidate.superblock.events < freshest.superblock.events;
    if (mine === theirs || isOld) continue;
    throw new MdError("E_SUPERBLOCK_BAD", `${candidate.path}: ${field} is ${mine}, but ${theirs} on ${freshest.path}`);
  }
}

const nothing = { recoveredTo: sector(0), byBitmap: false, isReplacement: false } as const;

/** The role, or why there is none. `mine === theirs` for the freshest itself. */
function judge(mine: Superblock, theirs: Superblock): PickedRole | string {
  const behind = theirs.events - mine.events;
  const own = ownRole(mine);
  const known = roleOf(theirs, mine.devNumber);
  if (known === ROLE_FAULTY) return "it has failed";
  if (behind > 1) return `it is ${behind} events behind`;
  if (!isActiveRole(own)) {
    if (!isActiveRole(known)) return { type: "spare" };
    // Activated by an update that did not reach it: nothing on it counts.
    return { type: "rebuilding", raidDisk: known, ...nothing };
  }
  if (!isActiveRole(known)) return "it is no longer a member";
  if (known !== own) return { type: "rebuilding", raidDisk: known, ...nothing };
  if (!isRebuilding(mine)) return { type: "in_sync", raidDisk: known };
  const byBitmap = hasFeature(mine, Feature.recoveryBitmap);
  const recoveredTo = sector(Number(mine.recoveryOffset));
  return { type: "rebuilding", raidDisk: known, recoveredTo, byBitmap, isReplacement: false };
}

/**
 * Two may share a raid_disk if one of them is there to replace the other; a replacement that is alone is a member like
 * any other.
 */
function settlePlaces<C extends Candidate>(used: readonly Picked<C>[]): readonly Picked<C>[] {
  const settled = used.map((one) => asReplacement(one, used));
  const holders = new Map<number, string>();
  for (const { candidate, role } of settled) {
    if (role.type === "spare" || (role.type === "rebuilding" && role.isReplacement)) continue;
    const holder = holders.get(role.raidDisk);
    if (holder !== undefined) {
      throw new MdError("E_CLUSTER_CONFLICT", `${holder} and ${candidate.path} both claim raid disk ${role.raidDisk}`);
    }
    holders.set(role.raidDisk, candidate.path);
  }
  if (!settled.some(({ role }) => role.type === "in_sync")) {
    throw new MdError("E_NO_DEVICE", "none of the given devices holds a full copy");
  }
  return settled;
}

/** Of two that share a raid_disk, the one that says that it replaces, or that the update with its role has not reached. */
function asReplacement<C extends Candidate>(one: Picked<C>, used: readonly Picked<C>[]): Picked<C> {
  const { candidate, role } = one;
  if (role.type === "spare") return one;
  const { raidDisk } = role;
  const others = used.filter(
    (other) => other !== one && other.role.type !== "spare" && other.role.raidDisk === raidDisk,
  );
  const [other] = others;
  if (
    other === undefined ||
    others.length > 1 ||
    !mayReplace(candidate, raidDisk) ||
    mayReplace(other.candidate, raidDisk)
  )
    return one;
  if (role.type === "rebuilding") return { candidate, role: { ...role, isReplacement: true } };
  // Whole, and the other was not told to go: the rest of that is still to be done.
  const recoveredTo = sector(candidate.superblock.size);
  return { candidate, role: { type: "rebuilding", raidDisk, recoveredTo, byBitmap: false, isReplacement: true } };
}

const mayReplace = ({ superblock }: Candidate, raidDisk: number): boolean =>
  hasFeature(superblock, Feature.replacement) || ownRole(superblock) !== raidDisk;
