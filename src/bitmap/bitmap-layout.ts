import { assert } from "../base/assert.ts";
import { SECTOR_SIZE, type Sector, type SectorRange, type SlotNumber, sector, sectorRange } from "../base/units.ts";

/** The bits of a slot begin here, after the bitmap superblock. */
export const BITMAP_SUPER_BYTES = 256;
/** Slots begin on, and are written in, pages of this size. */
export const BITMAP_PAGE_BYTES = 4096;
const PAGE_SECTORS = BITMAP_PAGE_BYTES / SECTOR_SIZE;

/** The shape of one slot's bitmap; all slots of an array are alike. */
export interface BitmapLayout {
  /** Sectors covered: RAID1: of a member; RAID10: of the array. */
  readonly syncSize: Sector;
  /** Sectors per bit. */
  readonly chunkSectors: number;
  readonly chunks: number;
  /** Bytes in use, superblock included. */
  readonly bytes: number;
  /** 4 KiB pages per slot. */
  readonly pages: number;
  /** Sectors per slot (P). */
  readonly slotSectors: number;
}

/** Source: on-disk format, section 8. `chunkBytes` is a power of two, at least 512. */
export function bitmapLayout(syncSize: number, chunkBytes: number): BitmapLayout {
  assert(chunkBytes >= SECTOR_SIZE && Number.isInteger(Math.log2(chunkBytes)), "chunk size is a power of two");
  const chunkSectors = chunkBytes / SECTOR_SIZE;
  const chunks = Math.ceil(syncSize / chunkSectors);
  const bytes = Math.ceil(chunks / 8) + BITMAP_SUPER_BYTES;
  const pages = Math.ceil(bytes / BITMAP_PAGE_BYTES);
  return { syncSize: sector(syncSize), chunkSectors, chunks, bytes, pages, slotSectors: pages * PAGE_SECTORS };
}

/** Where slot `slot` begins on a member, in sectors of the device. */
export const slotStart = (
  layout: BitmapLayout,
  superOffset: number,
  bitmapOffset: number,
  slot: SlotNumber | number,
): Sector => sector(superOffset + bitmapOffset + slot * layout.slotSectors);

/** Bytes of the bits alone, as in `Uint8Array`s of bits. */
export const bitBytes = (layout: BitmapLayout): number => Math.ceil(layout.chunks / 8);

/** Byte from the start of the slot, superblock included. */
export const byteOfBit = (chunk: number): number => BITMAP_SUPER_BYTES + Math.floor(chunk / 8);
export const maskOfBit = (chunk: number): number => 1 << (chunk % 8);
/** 4 KiB page within the slot that holds the bit. */
export const pageOfBit = (chunk: number): number => Math.floor(byteOfBit(chunk) / BITMAP_PAGE_BYTES);

export const chunkAt = (layout: BitmapLayout, at: number): number => Math.floor(at / layout.chunkSectors);

/** Array sectors of a chunk; the last one may be shorter. */
export const chunkRange = (layout: BitmapLayout, chunk: number): SectorRange =>
  sectorRange(chunk * layout.chunkSectors, Math.min((chunk + 1) * layout.chunkSectors, layout.syncSize));

/** Space for bitmaps that mdadm sets aside before the data, in sectors. Source: 6.1. */
export function bitmapSpace(deviceSectors: number): number {
  if (deviceSectors < 128) return 0;
  if (deviceSectors - 128 >= 419_430_400) return 256;
  if (deviceSectors - 8 > 16_777_216) return 128;
  return 8;
}

const DEFAULT_CHUNK_BYTES = 64 * 1024 * 1024;

/** The smallest chunk whose bitmap fits the space that mdadm reserves for one. Sizes in sectors. Source: 6.3. */
export function smallestChunkBytes(syncSize: number, memberSize: number): number {
  const maxBits = (bitmapSpace(memberSize) * SECTOR_SIZE - BITMAP_SUPER_BYTES) * 8;
  assert(maxBits > 0, "a member of this size has no room for a bitmap");
  let chunk = 4096;
  let bits = Math.floor((syncSize * SECTOR_SIZE) / 4096) + 1;
  while (bits > maxBits) {
    chunk *= 2;
    bits = Math.floor((bits + 1) / 2);
  }
  return chunk;
}

export const defaultChunkBytes = (syncSize: number, memberSize: number): number =>
  Math.max(smallestChunkBytes(syncSize, memberSize), DEFAULT_CHUNK_BYTES);

/** How many slots fit between the superblock and the data, as mdadm counts. Source: 6.4. */
export const maxSlots = (layout: BitmapLayout, superOffset: number, dataOffset: number): number =>
  Math.floor(((dataOffset - superOffset) * SECTOR_SIZE - 4096) / (layout.slotSectors * SECTOR_SIZE));
