import { MdError } from "../base/md-error.ts";
import { type Sector, sector } from "../base/units.ts";
import { bitmapLayout, defaultChunkBytes } from "../bitmap/bitmap-layout.ts";
import { BITMAP_VERSION_CLUSTERED } from "../bitmap/bitmap-super.ts";
import type { BlockDevice } from "../blockdev/block-device.ts";
import type { BadBlock } from "../superblock/bad-block-log.ts";
import { type Candidate, type Choice, pickSuperblock } from "../superblock/pick-superblock.ts";
import { Feature, hasFeature, type Superblock } from "../superblock/superblock.ts";
import { arraySize } from "./array-size.ts";
import { badBlockLogFault } from "./bad-block-place.ts";
import { readBadBlocks } from "./bad-block-store.ts";
import { readBitmapShape } from "./bitmap-store.ts";
import { CopyGroups } from "./copy-groups.ts";
import { BITMAP_OFFSET } from "./create-array.ts";
import { type ArrayBitmap, inSyncDisks, type MdArray } from "./md-array.ts";
import type { Member } from "./member.ts";
import { mustBeNear, mustKeepCopies } from "./raid10-limits.ts";
import { faultyNumbers, memberOf } from "./superblock-of.ts";
import { readSuperblock } from "./superblock-store.ts";
import type { MemberDevices } from "./write-members.ts";

export interface AssembleOptions {
  /** Go on although members are gone that nobody has recorded as gone: they may hold newer data. */
  readonly run?: boolean;
  /** Of contradicting histories, take the newer one. */
  readonly force?: boolean;
  /** Only this array (16 bytes). */
  readonly uuid?: Uint8Array;
}

interface RefusedDevice {
  readonly path: string;
  readonly number: number;
  /** For people; does not name the path. */
  readonly reason: string;
}

export interface Assembly {
  readonly array: MdArray;
  /** The devices of `array.members`, by number. */
  readonly devices: MemberDevices;
  /** Given, but not part of the array: the caller closes them. */
  readonly refused: readonly RefusedDevice[];
  /** Active in the freshest superblock, but not here; empty unless `run`. */
  readonly missing: readonly { readonly number: number; readonly raidDisk: number }[];
}

/** Seconds: md's default. */
const DEFAULT_SLEEP = 5;

interface Opened extends Candidate {
  readonly device: BlockDevice;
}

/**
 * Reads the superblocks of open devices and makes an array of them. Devices without a superblock are an error, as are
 * devices of different arrays. E_NO_SUPERBLOCK, E_CHECKSUM, E_SUPERBLOCK_BAD, E_METADATA_UNSUPPORTED,
 * E_LEVEL_UNSUPPORTED, E_LAYOUT_UNSUPPORTED, E_CLUSTER_CONFLICT, E_NO_DEVICE (a member that should be there is not, see
 * `run`; or of some data no copy is), E_IO.
 */
export async function assembleArray(given: readonly BlockDevice[], options: AssembleOptions = {}): Promise<Assembly> {
  const opened = await Promise.all(
    given.map(
      async (device): Promise<Opened> => ({ path: device.path, device, superblock: await readSuperblock(device) }),
    ),
  );
  const { uuid } = options;
  const ours =
    uuid === undefined ? opened : opened.filter((one) => one.superblock.setUuid.every((b, i) => b === uuid[i]));
  const choice = pickSuperblock(ours, {
    force: options.force ?? false,
    survives: (superblock, alive) => new CopyGroups(superblock).survives(alive),
  });
  checkSupported(choice);
  if (choice.missing.length > 0 && options.run !== true) refuseMissing(choice);
  const array = await describe(choice, await withBadBlocks(choice));
  mustBeWhole(array);
  checkBadBlockLogs(array, choice);
  return {
    array,
    devices: new Map(choice.used.map(({ candidate }) => [candidate.superblock.devNumber, candidate.device])),
    refused: choice.refused.map(({ candidate, reason }) => ({
      path: candidate.path,
      number: candidate.superblock.devNumber,
      reason,
    })),
    missing: choice.missing,
  };
}

/** Ascending by number. */
export const membersOf = ({ used }: Choice<Candidate>): readonly Member[] =>
  used
    .map(
      ({ candidate, role }): Member =>
        memberOf(candidate.superblock, {
          raidDisk: role.type === "spare" ? null : role.raidDisk,
          state: role.type,
          recoveredTo: role.type === "rebuilding" ? role.recoveredTo : sector(0),
          byBitmap: role.type === "rebuilding" && role.byBitmap,
          isReplacement: role.type === "rebuilding" && role.isReplacement,
        }),
    )
    .sort((a, b) => a.number - b.number);

/** As `membersOf`, with what their bad-block logs list: without it nobody knows where they may not be read. */
async function withBadBlocks(choice: Choice<Opened>): Promise<readonly Member[]> {
  const logs = new Map<number, readonly BadBlock[]>();
  for (const { candidate } of choice.used) {
    const { superblock, device } = candidate;
    if (hasFeature(superblock, Feature.badBlocks))
      logs.set(superblock.devNumber, await readBadBlocks(device, superblock));
  }
  return membersOf(choice).map((member): Member => {
    const { badBlockLog, number } = member;
    return badBlockLog === null
      ? member
      : { ...member, badBlockLog: { ...badBlockLog, entries: logs.get(number) ?? [] } };
  });
}

/** The array that the chosen superblocks and the in-sync members' bitmaps describe. */
async function describe(choice: Choice<Opened>, members: readonly Member[]): Promise<MdArray> {
  const { superblock } = choice.freshest;
  const size = arraySize({ ...superblock, memberSize: superblock.size });
  return {
    uuid: superblock.setUuid,
    name: superblock.setName,
    minor: superblock.minor,
    level: superblock.level,
    layout: superblock.layout,
    chunkSectors: superblock.chunkSectors,
    raidDisks: superblock.raidDisks,
    memberSize: superblock.size,
    size,
    created: superblock.ctime,
    updated: superblock.utime,
    events: superblock.events,
    resyncOffset: superblock.resyncOffset,
    bitmap: await describeBitmap(choice, size),
    maxDev: superblock.devRoles.length,
    members,
    faultyElsewhere: faultyNumbers(superblock),
  };
}

async function describeBitmap(choice: Choice<Opened>, size: Sector): Promise<ArrayBitmap> {
  const { superblock } = choice.freshest;
  if (!hasFeature(superblock, Feature.bitmapOffset)) {
    const layout = bitmapLayout(size, defaultChunkBytes(size, superblock.size));
    return { kind: "none", layout, offset: BITMAP_OFFSET, daemonSleep: DEFAULT_SLEEP, slots: 0, clusterName: "" };
  }
  const inSync = choice.used.filter(({ role }) => role.type === "in_sync").map(({ candidate }) => candidate);
  const [source = choice.freshest] = inSync;
  const shape = await readBitmapShape(source.device, asIn(superblock, source));
  const { version, nodes, daemonSleep, clusterName } = shape.super;
  const clustered = hasFeature(superblock, Feature.clustered);
  if (clustered !== (version === BITMAP_VERSION_CLUSTERED)) {
    const features = clustered ? "" : "not ";
    throw new MdError("E_METADATA_UNSUPPORTED", `"${superblock.setName}": bitmap version ${version} is not possible`, {
      why: `its superblocks say that it is ${features}clustered`,
    });
  }
  const common = { layout: shape.layout, offset: superblock.bitmapOffset, daemonSleep };
  if (!clustered) return { ...common, kind: "internal", slots: 1, clusterName: "" };
  // Somebody died while it was made smaller: until all members say so it was not.
  let slots = nodes;
  for (const other of inSync.slice(1)) {
    const found = await readBitmapShape(other.device, asIn(superblock, other)).catch((error: unknown) => {
      if (!(error instanceof MdError)) throw error;
      return null;
    });
    slots = Math.max(slots, found?.super.nodes ?? 0);
  }
  return { ...common, kind: "clustered", slots, clusterName };
}

/** The superblock of a member that the last update may not have reached, as to where its bitmaps are. */
const asIn = ({ featureMap, bitmapOffset }: Superblock, { superblock }: Candidate): Superblock => ({
  ...superblock,
  featureMap,
  bitmapOffset,
});

/** What we do not know how to keep right, we do not start. */
function checkSupported(choice: Choice<Opened>): void {
  const { superblock } = choice.freshest;
  const name = `the array "${superblock.setName}"`;
  if (superblock.level !== 1 && superblock.level !== 10) {
    throw new MdError("E_LEVEL_UNSUPPORTED", `${name} has level ${superblock.level}; mdctl does raid1 and raid10`);
  }
  if (superblock.level === 10) {
    const { layout, raidDisks } = superblock;
    mustKeepCopies(layout, raidDisks, `${name}: `);
    const hint = "mdctl examine on each member";
    if (hasFeature(superblock, Feature.clustered)) mustBeNear(layout, { whose: `${name}: `, hint });
  }
  if (superblock.minor !== 2) {
    throw new MdError("E_METADATA_UNSUPPORTED", `${name} has metadata 1.${superblock.minor}; only 1.2 is possible`);
  }
  for (const { candidate } of choice.used) checkFeatures(candidate.path, candidate.superblock);
}

/** Logs are written with the next update: never where something else lies. */
function checkBadBlockLogs(array: MdArray, { used }: Choice<Opened>): void {
  for (const member of array.members) {
    const fault = badBlockLogFault(array, member);
    const path = used.find(({ candidate }) => candidate.superblock.devNumber === member.number)?.candidate.path;
    if (fault !== null) throw new MdError("E_SUPERBLOCK_BAD", `${path}: ${fault}`, { hint: `mdctl examine ${path}` });
  }
}

/** Of every sector some full copy must be here, whatever was asked for. */
function mustBeWhole(array: MdArray): void {
  const here = inSyncDisks(array);
  if (new CopyGroups(array).survives(here)) return;
  const places = [...here.keys()].filter((raidDisk) => here[raidDisk] === 0).join(", ");
  throw new MdError("E_NO_DEVICE", `"${array.name}" cannot start: of some of its data no copy is here`, {
    why: `raid disks ${places} have no member that is in sync`,
    hint: "find the missing members and assemble again",
  });
}

const unsupported = [
  ["reshapeActive", "it is being reshaped"],
  ["newOffset", "it is being reshaped"],
  ["journal", "the array has a journal"],
  ["ppl", "the array has a partial parity log"],
] as const;

function checkFeatures(path: string, superblock: Superblock): void {
  for (const [feature, why] of unsupported) {
    if (hasFeature(superblock, Feature[feature])) {
      throw new MdError("E_METADATA_UNSUPPORTED", `${path} cannot be used: ${why}`);
    }
  }
  // Where it says that its list is, a clustered array has the bitmap of a slot.
  if (!hasFeature(superblock, Feature.badBlocks) || !hasFeature(superblock, Feature.clustered)) return;
  throw new MdError("E_METADATA_UNSUPPORTED", `${path} cannot be used: it has a list of bad blocks`, {
    why: "clustered arrays have none",
    hint: `mdctl examine-badblocks ${path}`,
  });
}

function refuseMissing({ freshest, missing, refused }: Choice<Opened>): never {
  const places = missing.map(({ raidDisk }) => raidDisk).join(", ");
  const stale = refused.map(({ candidate, reason }) => `${candidate.path}: ${reason}`);
  const why = stale.length > 0 ? stale.join("; ") : "it may hold newer data than the members that are here";
  throw new MdError("E_NO_DEVICE", `"${freshest.superblock.setName}": no current member for raid disk ${places}`, {
    why,
    hint: "find the missing member, or start without it: mdctl assemble --run",
  });
}
