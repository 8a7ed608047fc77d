import { MdError } from "../base/md-error.ts";
import type { Sector } from "../base/units.ts";
import { copiesOf, decodeRaid10Layout } from "./raid10-layout.ts";
import {
  Feature,
  hasFeature,
  IN_SYNC,
  isActiveRole,
  KNOWN_FEATURES,
  ROLE_JOURNAL,
  type Superblock,
} from "./superblock.ts";

/** Rejects a superblock; `field` is its name in the on-disk format. */
export function refuse(path: string, field: string, value: unknown, why: string): never {
  throw new MdError("E_SUPERBLOCK_BAD", `${path}: superblock field ${field} is ${String(value)}: ${why}`, {
    details: { field },
  });
}

type Refuse = (field: string, value: unknown, why: string) => never;

interface Place {
  readonly path: string;
  readonly at: Sector;
  readonly deviceSize: Sector;
}

const knownLevels: readonly number[] = [-4, -1, 0, 1, 4, 5, 6, 10];
const MAX_RAID_DISKS = 1920;

/** Every rule of the on-disk format, sections 2 to 5, that one superblock can break by itself. Throws an MdError. */
export function checkSuperblock(superblock: Superblock, place: Place): void {
  const bad: Refuse = (field, value, why) => refuse(place.path, field, value, why);
  checkFeatures(superblock, place.path, bad);
  checkSpace(superblock, place, bad);
  checkShape(superblock, bad);
  checkRoles(superblock, bad);
  checkProgress(superblock, bad);
  if (hasFeature(superblock, Feature.bitmapOffset)) checkBitmapOffset(superblock, place, bad);
  if (hasFeature(superblock, Feature.badBlocks)) checkBadBlockLog(superblock, bad);
}

function checkFeatures(superblock: Superblock, path: string, bad: Refuse): void {
  const unknown = superblock.featureMap & ~KNOWN_FEATURES;
  if (unknown !== 0) {
    const hex = (unknown >>> 0).toString(16);
    throw new MdError("E_METADATA_UNSUPPORTED", `${path}: feature_map has 0x${hex}, which is not known`, {
      details: { field: "feature_map" },
    });
  }
  const logs = Feature.journal | Feature.ppl | Feature.multiplePpls;
  if (hasFeature(superblock, Feature.bitmapOffset) && hasFeature(superblock, logs)) {
    bad("feature_map", `0x${superblock.featureMap.toString(16)}`, "a bitmap and a journal exclude each other");
  }
}

function checkSpace(superblock: Superblock, place: Place, bad: Refuse): void {
  const { dataOffset, dataSize, superOffset, size, minor } = superblock;
  if (superOffset !== place.at) bad("super_offset", superOffset, `it was read at sector ${place.at}`);
  if (dataOffset >= place.deviceSize) bad("data_offset", dataOffset, `beyond the device's ${place.deviceSize} sectors`);
  if (dataSize < 10) bad("data_size", dataSize, "less than 10 sectors");
  const superEnd = superOffset + Math.ceil((256 + 2 * superblock.devRoles.length) / 512);
  if (minor !== 0 && dataOffset < superEnd) bad("data_offset", dataOffset, "the data would overlap the superblock");
  const dataEnd = minor === 0 ? superOffset : place.deviceSize;
  if (dataOffset + dataSize > dataEnd) bad("data_size", dataSize, `the data would end beyond sector ${dataEnd}`);
  if (superblock.level > 0 && (size < 1 || size > dataSize)) bad("size", size, `data_size is ${dataSize}`);
}

function checkShape(superblock: Superblock, bad: Refuse): void {
  const { level, layout, chunkSectors, raidDisks } = superblock;
  if (!knownLevels.includes(level)) bad("level", level, "no such RAID level");
  if (raidDisks < 1 || raidDisks > MAX_RAID_DISKS) bad("raid_disks", raidDisks, `not in 1 to ${MAX_RAID_DISKS}`);
  const isPowerOfTwo = Number.isInteger(Math.log2(chunkSectors));
  if (chunkSectors !== 0 && !isPowerOfTwo) bad("chunksize", chunkSectors, "not a power of two");
  if (level !== 10) return;
  if (chunkSectors < 8) bad("chunksize", chunkSectors, "less than 8 sectors");
  const copies = copiesOf(decodeRaid10Layout(layout));
  if (layout >>> 19 !== 0) bad("layout", layout, "bits above 18 are set");
  if (decodeRaid10Layout(layout).farSets > 2) bad("layout", layout, "no such kind of far sets");
  if (copies < 1 || copies > raidDisks) bad("layout", layout, `${copies} copies on ${raidDisks} disks`);
}

function checkRoles(superblock: Superblock, bad: Refuse): void {
  const { devRoles, devNumber, raidDisks, deltaDisks } = superblock;
  if (devNumber >= devRoles.length) bad("dev_number", devNumber, `max_dev is ${devRoles.length}`);
  // While the array shrinks, devices beyond the new number still have their roles.
  const reshaping = hasFeature(superblock, Feature.reshapeActive);
  const disks = raidDisks + (reshaping ? Math.abs(deltaDisks) : 0);
  devRoles.forEach((role, number) => {
    const possible = isActiveRole(role) ? role < disks : role >= ROLE_JOURNAL;
    if (!possible) bad(`dev_roles[${number}]`, role, `raid_disks is ${raidDisks}`);
  });
}

function checkProgress(superblock: Superblock, bad: Refuse): void {
  const { resyncOffset, recoveryOffset, size, raidDisks, level } = superblock;
  // The position counts array sectors: at most as many as all members have together.
  const end = BigInt(size) * BigInt(raidDisks);
  if (level > 0 && resyncOffset !== IN_SYNC && resyncOffset > end)
    bad("resync_offset", resyncOffset, "beyond the array");
  if (hasFeature(superblock, Feature.recoveryOffset) && recoveryOffset > BigInt(size)) {
    bad("recovery_offset", recoveryOffset, `beyond size ${size}`);
  }
}

/** Where the bitmap begins; how long it is, only its own superblock can tell. */
function checkBitmapOffset(superblock: Superblock, place: Place, bad: Refuse): void {
  const { bitmapOffset, superOffset, dataOffset, size, devRoles } = superblock;
  const start = superOffset + bitmapOffset;
  const superEnd = superOffset + Math.ceil((256 + 2 * devRoles.length) / 512);
  const inside = (lo: number, hi: number): boolean => start >= lo && start < hi;
  if (start < 0 || start + 8 > place.deviceSize) bad("bitmap_offset", bitmapOffset, "outside the device");
  if (inside(superOffset, superEnd) || (start < superOffset && start + 1 > superOffset)) {
    bad("bitmap_offset", bitmapOffset, "the bitmap would overlap the superblock");
  }
  if (inside(dataOffset, dataOffset + size) || (start < dataOffset && start + 1 > dataOffset)) {
    bad("bitmap_offset", bitmapOffset, "the bitmap would overlap the data");
  }
}

const BBLOG_MAX_SECTORS = 8;
const BBLOG_MAX_SHIFT = 20;

function checkBadBlockLog(superblock: Superblock, bad: Refuse): void {
  const { bblogOffset, bblogSize, bblogShift } = superblock;
  if (bblogOffset === 0) bad("bblog_offset", bblogOffset, "feature_map says that there is a log");
  if (bblogSize === 0 || bblogSize > BBLOG_MAX_SECTORS) {
    bad("bblog_size", bblogSize, `not in 1 to ${BBLOG_MAX_SECTORS} sectors`);
  }
  if (bblogShift > BBLOG_MAX_SHIFT) bad("bblog_shift", bblogShift, "blocks larger than any disk");
}
