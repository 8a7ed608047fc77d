import type { MdArray } from "../array/md-array.ts";
import { SECTOR_SIZE } from "../base/units.ts";
import { BITMAP_SUPER_BYTES, byteOfBit, maskOfBit } from "../bitmap/bitmap-layout.ts";
import type { DiskArea } from "./sim-event.ts";

/** What a scan reads of a superblock. */
export const SUPERBLOCK_SECTORS = 8;

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

  /** The chunk whose bit is the lowest of a byte of a slot, counted from the slot's start; negative in its superblock. */
  firstChunkAt(byte: number): number {
    return (byte - BITMAP_SUPER_BYTES) * 8;
  }
}
