import type { MdArray } from "../array/md-array.ts";
import { SECTOR_SIZE, sector } from "../base/units.ts";
import { byteOfBit, maskOfBit } from "../bitmap/bitmap-layout.ts";
import { Feature, hasFeature, isActiveRole, type Superblock } from "../superblock/superblock.ts";
import { decodeSuperblock } from "../superblock/superblock-codec.ts";
import type { SimDisk } from "./sim-disk.ts";
import type { DiskArea } from "./sim-event.ts";

const SUPERBLOCK_SECTORS = 8;

/** Where things lie on the members of a simulated array; all members are alike. */
export class ArrayGeometry {
  readonly superblockAt: number;
  readonly bitmapsAt: number;
  readonly bitmapsEnd: number;
  readonly slotSectors: number;
  readonly slots: number;
  readonly dataAt: number;
  /** Sectors of the array. */
  readonly size: number;
  readonly chunkSectors: number;
  readonly chunks: number;

  constructor(array: MdArray) {
    const first = array.members[0];
    const { layout, offset, slots } = array.bitmap;
    this.superblockAt = first?.superOffset ?? 0;
    this.bitmapsAt = this.superblockAt + offset;
    this.slotSectors = layout.slotSectors;
    this.slots = slots;
    this.bitmapsEnd = this.bitmapsAt + slots * layout.slotSectors;
    this.dataAt = first?.dataOffset ?? 0;
    this.size = array.size;
    this.chunkSectors = layout.chunkSectors;
    this.chunks = layout.chunks;
  }

  areaOf(at: number): DiskArea {
    if (at >= this.dataAt && at < this.dataAt + this.size) return "data";
    if (at >= this.bitmapsAt && at < this.bitmapsEnd) return "bitmap";
    return at >= this.superblockAt && at < this.superblockAt + SUPERBLOCK_SECTORS ? "superblock" : "other";
  }

  /** The sector of a member that holds a chunk's bit in a slot's bitmap, and the bit's place in it. */
  bitOf(slot: number, chunk: number): { readonly sector: number; readonly byte: number; readonly mask: number } {
    const byte = byteOfBit(chunk);
    return {
      sector: this.bitmapsAt + slot * this.slotSectors + Math.floor(byte / SECTOR_SIZE),
      byte: byte % SECTOR_SIZE,
      mask: maskOfBit(chunk),
    };
  }
}

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
      const role = newest.devRoles[superblock.devNumber];
      return role !== undefined && isActiveRole(role) && !hasFeature(superblock, Feature.recoveryOffset);
    })
    .map(({ disk }) => disk);
}
