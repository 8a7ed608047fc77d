import type { ArrayGeometry } from "../array-geometry.ts";
import { inSyncDisks } from "../disk-superblocks.ts";
import type { SimDisk } from "../sim-disk.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/**
 * The write-intent rule, at every instant (F25, F26): a sector that differs between mirrors, or that a power cut could
 * make differ, lies in a chunk whose bit is set in some slot's bitmap, and would be after a power cut.
 */
export class WriteIntentChecker implements Checker {
  readonly name = "bit durable before data";
  readonly #geometry: ArrayGeometry;
  readonly #disks: readonly SimDisk[];
  readonly #report: Report;
  #legs: readonly SimDisk[];
  /** By chunk: array sectors whose copies may differ. */
  readonly #uneven: Set<number>[];
  #superblocksChanged = false;

  constructor(geometry: ArrayGeometry, disks: readonly SimDisk[], report: Report) {
    this.#geometry = geometry;
    this.#disks = disks;
    this.#report = report;
    this.#legs = inSyncDisks(disks, geometry);
    this.#uneven = Array.from({ length: geometry.chunks }, () => new Set<number>());
    for (const disk of disks) disk.versions.onChange((sector) => this.#changed(sector));
    this.#lookAtAll();
  }

  /** Superblocks are looked at when a write or flush is over: in the middle of one they are torn. */
  observe(event: SimEvent): void {
    const metadata = event.type === "flushed" || event.type === "power_cut" || event.type === "write_landed";
    if (!metadata || !this.#superblocksChanged) return;
    this.#superblocksChanged = false;
    this.#legs = inSyncDisks(this.#disks, this.#geometry);
    this.#lookAtAll();
  }

  #changed(at: number): void {
    const { dataAt } = this.#geometry;
    switch (this.#geometry.areaOf(at)) {
      case "data":
        this.#lookAt(at - dataAt);
        break;
      case "bitmap":
        this.#lookAtBits(at);
        break;
      case "superblock":
        this.#superblocksChanged = true;
        break;
      default:
    }
  }

  #lookAtAll(): void {
    for (let sector = 0; sector < this.#geometry.size; sector++) this.#lookAt(sector);
  }

  #lookAt(sector: number): void {
    const chunk = Math.floor(sector / this.#geometry.chunkSectors);
    const uneven = this.#uneven[chunk];
    if (!this.#mayDiffer(sector)) {
      uneven?.delete(sector);
      return;
    }
    uneven?.add(sector);
    if (!this.#isMarked(chunk)) this.#report(`sector ${sector} may differ between mirrors, chunk ${chunk} has no bit`);
  }

  /** A sector of a bitmap changed: chunks that lean on it must have a bit still. */
  #lookAtBits(at: number): void {
    for (const [chunk, uneven] of this.#uneven.entries()) {
      if (uneven.size === 0 || this.#isMarked(chunk)) continue;
      const [first] = uneven;
      const slot = Math.floor((at - this.#geometry.bitmapsAt) / this.#geometry.slotSectors);
      this.#report(`chunk ${chunk} lost its last bit (slot ${slot}) while sector ${first} may differ between mirrors`);
    }
  }

  #mayDiffer(sector: number): boolean {
    const at = this.#geometry.dataAt + sector;
    const [first, ...others] = this.#legs;
    if (first === undefined || others.length === 0) return false;
    if (this.#legs.some((disk) => !disk.versions.isSafe(at))) return true;
    return others.some((disk) => !first.versions.equals(disk.versions, at));
  }

  #isMarked(chunk: number): boolean {
    for (let slot = 0; slot < this.#geometry.slots; slot++) {
      const { sector, byte, mask } = this.#geometry.bitOf(slot, chunk);
      for (const disk of this.#legs) {
        let always = true;
        for (const content of disk.versions.outcomes(sector)) always &&= ((content[byte] ?? 0) & mask) !== 0;
        if (always) return true;
      }
    }
    return false;
  }
}
