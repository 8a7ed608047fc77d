declare const unit: unique symbol;
type Branded<T, Unit extends string> = T & { readonly [unit]: Unit };

/** 512-byte units, as everywhere in md. A sector number fits a double up to 4 ZiB. */
export type Sector = Branded<number, "sector">;
/** A node's place in the array, 0-based: it owns bitmap `slot` and lock resource `bitmap<slot>`. */
export type SlotNumber = Branded<number, "slot">;

export const SECTOR_SIZE = 512;
export const sector = (n: number): Sector => n as Sector;
export const slotNumber = (n: number): SlotNumber => n as SlotNumber;

export const bytesOf = (at: Sector): number => at * SECTOR_SIZE;
/** Whole sectors in `bytes`; a remainder is cut off. */
export const sectorsIn = (bytes: number): Sector => Math.floor(bytes / SECTOR_SIZE) as Sector;

/** Half open: `lo` is inside, `hi` is not. */
export interface SectorRange {
  readonly lo: Sector;
  readonly hi: Sector;
}

export const sectorRange = (lo: number, hi: number): SectorRange => ({ lo: lo as Sector, hi: hi as Sector });
export const overlaps = (a: SectorRange, b: SectorRange): boolean => a.lo < b.hi && b.lo < a.hi;
