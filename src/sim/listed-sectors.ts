import { SECTOR_SIZE } from "../base/units.ts";
import { decodeBadBlocks } from "../superblock/bad-block-log.ts";
import { Feature, hasFeature } from "../superblock/superblock.ts";
import type { ArrayGeometry } from "./array-geometry.ts";
import { durableSuperblock, storedSuperblock } from "./disk-superblocks.ts";
import type { SimDisk } from "./sim-disk.ts";

/** The sectors that the bad-block log of one disk lists: nobody reads them, so nothing is lost if they are old. */
export class ListedSectors {
  readonly #disk: SimDisk;
  readonly #geometry: ArrayGeometry;
  #durable: ReadonlySet<number> | null = null;
  #current: ReadonlySet<number> | null = null;

  constructor(disk: SimDisk, geometry: ArrayGeometry) {
    this.#disk = disk;
    this.#geometry = geometry;
    disk.versions.onChange((lo, hi) => {
      // A superblock says whether the log counts.
      if (lo >= geometry.dataAt || hi <= geometry.superblockAt) return;
      this.#durable = null;
      this.#current = null;
    });
  }

  /** A power cut leaves it listed. */
  surely(sector: number): boolean {
    if (this.#geometry.logAt === null) return false;
    this.#durable ??= this.#decode(durableSuperblock(this.#disk, this.#geometry), (at) =>
      this.#disk.versions.durable(at),
    );
    return this.#durable.has(sector);
  }

  now(sector: number): boolean {
    return this.#geometry.logAt !== null && this.#listed().has(sector);
  }

  get any(): boolean {
    return this.#geometry.logAt !== null && this.#listed().size > 0;
  }

  #listed(): ReadonlySet<number> {
    this.#current ??= this.#decode(storedSuperblock(this.#disk, this.#geometry), (at) =>
      this.#disk.versions.current(at),
    );
    return this.#current;
  }

  #decode(superblock: ReturnType<typeof storedSuperblock>, contentOf: (at: number) => Uint8Array): Set<number> {
    const listed = new Set<number>();
    const { logAt } = this.#geometry;
    if (superblock === null || logAt === null || !hasFeature(superblock, Feature.badBlocks)) return listed;
    const log = new Uint8Array(superblock.bblogSize * SECTOR_SIZE);
    for (let i = 0; i < superblock.bblogSize; i++) log.set(contentOf(logAt + i), i * SECTOR_SIZE);
    for (const { at, sectors } of decodeBadBlocks(log, superblock.bblogShift)) {
      for (let sector = at; sector < at + sectors; sector++) listed.add(sector);
    }
    return listed;
  }
}

const known = new WeakMap<SimDisk, ListedSectors>();

export function listedSectors(disk: SimDisk, geometry: ArrayGeometry): ListedSectors {
  const found = known.get(disk) ?? new ListedSectors(disk, geometry);
  known.set(disk, found);
  return found;
}
