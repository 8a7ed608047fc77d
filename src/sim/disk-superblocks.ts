import { SECTOR_SIZE, sector } from "../base/units.ts";
import { Feature, hasFeature, isActiveRole, ROLE_SPARE, roleOf, type Superblock } from "../superblock/superblock.ts";
import { decodeSuperblock } from "../superblock/superblock-codec.ts";
import { type ArrayGeometry, SUPERBLOCK_SECTORS } from "./array-geometry.ts";
import type { SimDisk } from "./sim-disk.ts";

/** The superblock of one disk, decoded when it has changed. */
class DiskSuperblock {
  readonly #disk: SimDisk;
  readonly #at: number;
  #durable: Superblock | null | undefined;
  #current: Superblock | null | undefined;

  constructor(disk: SimDisk, { superblockAt }: ArrayGeometry) {
    this.#disk = disk;
    this.#at = superblockAt;
    disk.versions.onChange((lo, hi) => {
      if (lo >= superblockAt + SUPERBLOCK_SECTORS || hi <= superblockAt) return;
      this.#durable = undefined;
      this.#current = undefined;
    });
  }

  get durable(): Superblock | null {
    if (this.#durable === undefined) this.#durable = this.#decode((at) => this.#disk.versions.durable(at));
    return this.#durable;
  }

  get current(): Superblock | null {
    if (this.#current === undefined) this.#current = this.#decode((at) => this.#disk.versions.current(at));
    return this.#current;
  }

  #decode(contentOf: (sector: number) => Uint8Array): Superblock | null {
    const found = new Uint8Array(SUPERBLOCK_SECTORS * SECTOR_SIZE);
    for (let i = 0; i < SUPERBLOCK_SECTORS; i++) found.set(contentOf(this.#at + i), i * SECTOR_SIZE);
    try {
      const place = { path: this.#disk.path, at: sector(this.#at), deviceSize: sector(this.#disk.sectors) };
      return decodeSuperblock(found, { ...place, minor: 2 });
    } catch {
      return null;
    }
  }
}

const known = new WeakMap<SimDisk, DiskSuperblock>();

/** All disks of a world lie alike, so one superblock a disk is enough. */
function superblockOf(disk: SimDisk, geometry: ArrayGeometry): DiskSuperblock {
  const found = known.get(disk) ?? new DiskSuperblock(disk, geometry);
  known.set(disk, found);
  return found;
}

/** The superblock that a power cut would leave on `disk` for sure, or null. */
export const durableSuperblock = (disk: SimDisk, geometry: ArrayGeometry): Superblock | null =>
  superblockOf(disk, geometry).durable;

/** What a scan of devices finds there now: null without a whole superblock, or if it cannot be read. */
export function visibleSuperblock(disk: SimDisk, geometry: ArrayGeometry): Superblock | null {
  const { superblockAt } = geometry;
  if (disk.fails("read", superblockAt, superblockAt + SUPERBLOCK_SECTORS)) return null;
  return superblockOf(disk, geometry).current;
}

/** What lies there, whether it can be read just now or not. */
export const storedSuperblock = (disk: SimDisk, geometry: ArrayGeometry): Superblock | null =>
  superblockOf(disk, geometry).current;

/** A full copy of what its place in the array holds. */
export interface Leg {
  readonly disk: SimDisk;
  readonly raidDisk: number;
}

/** Of members that a power cut would leave for sure, the one with the most events: no spare defines the array. */
export function newestSuperblock(disks: readonly SimDisk[], geometry: ArrayGeometry): Superblock | null {
  let newest: Superblock | null = null;
  for (const disk of disks) {
    const superblock = durableSuperblock(disk, geometry);
    if (superblock === null || roleOf(superblock, superblock.devNumber) === ROLE_SPARE) continue;
    if (newest === null || superblock.events > newest.events) newest = superblock;
  }
  return newest;
}

export const inSyncDisks = (disks: readonly SimDisk[], geometry: ArrayGeometry): readonly SimDisk[] =>
  inSyncLegs(disks, geometry).map(({ disk }) => disk);

/** The disks that the newest superblock calls full copies. */
export function inSyncLegs(disks: readonly SimDisk[], geometry: ArrayGeometry): readonly Leg[] {
  const known = disks.flatMap((disk) => {
    const superblock = durableSuperblock(disk, geometry);
    return superblock === null ? [] : [{ disk, superblock }];
  });
  const newest = newestSuperblock(disks, geometry);
  if (newest === null) return [];
  return known
    .filter(({ superblock }) => {
      // Left behind long ago: its number may belong to another device by now.
      if (newest.events - superblock.events > 1) return false;
      // A removed member still claims its old number, which another may have by now.
      if (superblock.events < newest.events - 1) return false;
      const role = newest.devRoles[superblock.devNumber];
      // A spare that an update made active which did not reach it is no copy yet.
      const agreed = role !== undefined && role === superblock.devRoles[superblock.devNumber];
      return agreed && isActiveRole(role) && !hasFeature(superblock, Feature.recoveryOffset);
    })
    .map(({ disk, superblock }) => ({ disk, raidDisk: newest.devRoles[superblock.devNumber] ?? -1 }));
}
