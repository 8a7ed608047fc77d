import { SECTOR_SIZE } from "../../base/units.ts";
import type { ArrayGeometry } from "../array-geometry.ts";
import type { SimDisk } from "../sim-disk.ts";

/** The bits of all slots' bitmaps on one disk that are set now and would be after any power cut. */
export class SureBits {
  readonly #geometry: ArrayGeometry;
  readonly #disk: SimDisk;
  /** As the bitmaps lie on the disk, from the first slot on: bits that every outcome has. */
  readonly #sure: Uint8Array;
  /** Sectors of a slot that hold bits, counted from its start. */
  readonly #firstSector: number;
  readonly #lastSector: number;

  constructor(geometry: ArrayGeometry, disk: SimDisk) {
    this.#geometry = geometry;
    this.#disk = disk;
    const { bitmapsAt, bitmapsEnd, chunks } = geometry;
    this.#sure = new Uint8Array((bitmapsEnd - bitmapsAt) * SECTOR_SIZE);
    this.#firstSector = geometry.bitOf(0, 0).sector - bitmapsAt;
    this.#lastSector = geometry.bitOf(0, chunks - 1).sector - bitmapsAt;
    this.update(bitmapsAt, bitmapsEnd);
  }

  anySlotHas(chunk: number): boolean {
    const { bitmapsAt, slots, slotSectors } = this.#geometry;
    const { sector, byte, mask } = this.#geometry.bitOf(0, chunk);
    const first = (sector - bitmapsAt) * SECTOR_SIZE + byte;
    for (let slot = 0; slot < slots; slot++) {
      if (((this.#sure[first + slot * slotSectors * SECTOR_SIZE] ?? 0) & mask) !== 0) return true;
    }
    return false;
  }

  /** The disk has changed in [lo, hi). Returns chunks that have lost a bit. */
  update(lo: number, hi: number): readonly number[] {
    const { bitmapsAt, bitmapsEnd, slotSectors } = this.#geometry;
    const lost: number[] = [];
    for (let sector = lo; sector < Math.min(hi, bitmapsEnd); sector++) {
      const inSlot = (sector - bitmapsAt) % slotSectors;
      if (inSlot >= this.#firstSector && inSlot <= this.#lastSector) this.#updateSector(sector, inSlot, lost);
    }
    return lost;
  }

  #updateSector(sector: number, inSlot: number, lost: number[]): void {
    const sure = new Uint8Array(SECTOR_SIZE).fill(0xff);
    for (const content of this.#disk.versions.outcomes(sector)) {
      for (let i = 0; i < SECTOR_SIZE; i++) sure[i] = (sure[i] ?? 0) & (content[i] ?? 0);
    }
    const { bitmapsAt, chunks } = this.#geometry;
    const base = (sector - bitmapsAt) * SECTOR_SIZE;
    for (let i = 0; i < SECTOR_SIZE; i++) {
      const gone = (this.#sure[base + i] ?? 0) & ~(sure[i] ?? 0);
      this.#sure[base + i] = sure[i] ?? 0;
      if (gone !== 0) this.#addLost(inSlot * SECTOR_SIZE + i, gone, chunks, lost);
    }
  }

  /** `byte` is counted from the start of the slot. */
  #addLost(byte: number, gone: number, chunks: number, lost: number[]): void {
    const first = this.#geometry.firstChunkAt(byte);
    for (let bit = 0; bit < 8; bit++) {
      const chunk = first + bit;
      if ((gone & (1 << bit)) !== 0 && chunk >= 0 && chunk < chunks) lost.push(chunk);
    }
  }
}
