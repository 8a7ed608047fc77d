import type { ArrayGeometry } from "../array-geometry.ts";
import { inSyncDisks } from "../disk-superblocks.ts";
import type { SimDisk } from "../sim-disk.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/** Superblocks on disk always name at least one full copy (I7). */
export class LastCopyChecker implements Checker {
  readonly name = "the last copy is never failed";
  readonly #geometry: ArrayGeometry;
  readonly #disks: readonly SimDisk[];
  readonly #report: Report;
  #changed = true;

  constructor(geometry: ArrayGeometry, disks: readonly SimDisk[], report: Report) {
    this.#geometry = geometry;
    this.#disks = disks;
    this.#report = report;
    for (const disk of disks) {
      disk.versions.onChange((lo) => {
        if (geometry.areaOf(lo) === "superblock") this.#changed = true;
      });
    }
  }

  observe(event: SimEvent): void {
    if ((event.type !== "flushed" && event.type !== "power_cut") || !this.#changed) return;
    this.#changed = false;
    if (inSyncDisks(this.#disks, this.#geometry).length === 0) this.#report("no member is left in sync");
  }
}
