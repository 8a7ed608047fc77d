import type { MdArray } from "../array/md-array.ts";
import type { Personality } from "../array/personality.ts";
import { SECTOR_SIZE, sector } from "../base/units.ts";
import { BITMAP_SUPER_BYTES, byteOfBit, maskOfBit } from "../bitmap/bitmap-layout.ts";
import { personalityOf } from "../engine/personalities.ts";
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
  /** Where a member's bad-block log is; null: there are none. */
  readonly logAt: number | null;
  /** Sectors of the array. */
  readonly size: number;
  /** Sectors of data on each member. */
  readonly memberSize: number;
  readonly personality: Personality;
  readonly chunkSectors: number;
  readonly chunks: number;
  readonly #isMirror: boolean;
  /** By array sector, and raid_disk: where the copy is on the member, -1 for none. */
  readonly #places: Int32Array;
  /** By array sector: the raid_disk of the first copy. */
  readonly #first: Int32Array;

  constructor(array: MdArray) {
    const first = array.members[0];
    const { layout, offset, slots } = array.bitmap;
    this.superblockAt = first?.superOffset ?? 0;
    this.bitmapsAt = this.superblockAt + offset;
    this.slotSectors = layout.slotSectors;
    this.slots = slots;
    this.bitmapsEnd = this.bitmapsAt + slots * layout.slotSectors;
    this.dataAt = first?.dataOffset ?? 0;
    this.logAt = first?.badBlockLog == null ? null : this.superblockAt + first.badBlockLog.offset;
    this.#isMirror = array.level === 1;
    this.size = array.size;
    this.memberSize = array.memberSize;
    this.personality = personalityOf(array);
    const { raidDisks, copies } = this.personality;
    this.#places = new Int32Array(this.size * raidDisks).fill(-1);
    this.#first = new Int32Array(this.size);
    const disks = new Int32Array(copies);
    const sectors = new Float64Array(copies);
    for (let at = 0; at < this.size; at++) {
      this.personality.map(sector(at), disks, sectors);
      for (const [copy, disk] of disks.entries())
        this.#places[at * raidDisks + disk] = this.dataAt + (sectors[copy] ?? 0);
      this.#first[at] = disks[0] ?? -1;
    }
    this.chunkSectors = layout.chunkSectors;
    this.chunks = layout.chunks;
  }

  areaOf(at: number): DiskArea {
    if (at >= this.dataAt && at < this.dataAt + this.memberSize) return "data";
    if (at >= this.bitmapsAt && at < this.bitmapsEnd) return "bitmap";
    return at >= this.superblockAt && at < this.superblockAt + SUPERBLOCK_SECTORS ? "superblock" : "other";
  }

  /** The sector of the member at `raidDisk` that has a copy of an array sector; -1: it has none. */
  sectorOn(raidDisk: number, arraySector: number): number {
    // A mirror may have more by now than it began with.
    if (raidDisk >= this.personality.raidDisks) return this.#isMirror ? this.dataAt + arraySector : -1;
    return this.#places[arraySector * this.personality.raidDisks + raidDisk] ?? -1;
  }

  /** The array sector of which the member at `raidDisk` has a copy there; -1: none. */
  arraySector(raidDisk: number, at: number): number {
    return this.personality.arraySectorAt(raidDisk, at - this.dataAt);
  }

  /** Is what the member at `raidDisk` has there what a resync copies from, when all members are in sync? */
  isFirstCopy(raidDisk: number, at: number): boolean {
    const arraySector = this.arraySector(raidDisk, at);
    return arraySector !== -1 && this.#first[arraySector] === raidDisk;
  }

  /** Would some data have no copy, if only these raid_disks were there? */
  isLostWith(raidDisks: readonly number[]): boolean {
    const alive = new Uint8Array(this.personality.raidDisks);
    for (const raidDisk of raidDisks) alive[raidDisk] = 1;
    return !this.personality.survives(alive);
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
