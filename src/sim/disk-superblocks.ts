import { SECTOR_SIZE, sector } from "../base/units.ts";
import { Feature, hasFeature, isActiveRole, type Superblock } from "../superblock/superblock.ts";
import { decodeSuperblock } from "../superblock/superblock-codec.ts";
import { type ArrayGeometry, SUPERBLOCK_SECTORS } from "./array-geometry.ts";
import type { SimDisk } from "./sim-disk.ts";

/** The superblock that a power cut would leave on `disk` for sure, or null. */
export const durableSuperblock = (disk: SimDisk, geometry: ArrayGeometry): Superblock | null =>
  superblockOf(disk, geometry, (at) => disk.versions.durable(at));

/** What a scan of devices finds there now: null without a whole superblock, or if it cannot be read. */
export function visibleSuperblock(disk: SimDisk, geometry: ArrayGeometry): Superblock | null {
  const { superblockAt } = geometry;
  if (disk.fails("read", superblockAt, superblockAt + SUPERBLOCK_SECTORS)) return null;
  return superblockOf(disk, geometry, (at) => disk.versions.current(at));
}

function superblockOf(
  disk: SimDisk,
  { superblockAt }: ArrayGeometry,
  contentOf: (sector: number) => Uint8Array,
): Superblock | null {
  const found = new Uint8Array(SUPERBLOCK_SECTORS * SECTOR_SIZE);
  for (let i = 0; i < SUPERBLOCK_SECTORS; i++) found.set(contentOf(superblockAt + i), i * SECTOR_SIZE);
  try {
    const place = { path: disk.path, at: sector(superblockAt), deviceSize: sector(disk.sectors) };
    return decodeSuperblock(found, { ...place, minor: 2 });
  } catch {
    return null;
  }
}

/** The disks that the newest superblock calls full copies. */
export function inSyncDisks(disks: readonly SimDisk[], geometry: ArrayGeometry): readonly SimDisk[] {
  const known = disks.flatMap((disk) => {
    const superblock = durableSuperblock(disk, geometry);
    return superblock === null ? [] : [{ disk, superblock }];
  });
  const newest = known.reduce<Superblock | null>(
    (best, { superblock }) => (best === null || superblock.events > best.events ? superblock : best),
    null,
  );
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
    .map(({ disk }) => disk);
}
