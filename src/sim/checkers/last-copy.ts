import type { ArrayGeometry } from "../array-geometry.ts";
import { inSyncLegs } from "../disk-superblocks.ts";
import type { SimDisk } from "../sim-disk.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/** Superblocks on disk always name at least one full copy of everything (I7). */
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
    const left = inSyncLegs(this.#disks, this.#geometry).map(({ raidDisk }) => raidDisk);
    if (this.#geometry.isLostWith(left))
      this.#report(`in sync are raid disks [${left.join(", ")}]: some data has no copy`);
  }
}
