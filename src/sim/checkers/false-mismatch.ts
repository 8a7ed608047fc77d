import type { ArrayGeometry } from "../array-geometry.ts";
import type { ContentModel } from "../content-model.ts";
import type { SimDisk } from "../sim-disk.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/**
 * A check tells of a sector only if one of its copies has rotted (F20) or could not be read, which it may have repaired, or
 * if two nodes wrote it at once (decision 23): writes under way, nodes that died and members that failed all leave copies that differ for a while, and are no mismatch.
 */
export class FalseMismatchChecker implements Checker {
  readonly name = "no mismatch but what is spoilt";
  readonly #geometry: ArrayGeometry;
  readonly #disks: readonly SimDisk[];
  readonly #content: ContentModel;
  readonly #report: Report;

  constructor(geometry: ArrayGeometry, disks: readonly SimDisk[], content: ContentModel, report: Report) {
    this.#geometry = geometry;
    this.#disks = disks;
    this.#content = content;
    this.#report = report;
  }

  observe(event: SimEvent): void {
    if (event.type !== "mismatch") return;
    for (const { lo, hi, kind } of event.ranges) {
      for (let sector = lo; sector < hi && kind !== "unreadable"; sector++) {
        if (this.#isSpoilt(sector) || this.#content.isContested(sector)) continue;
        this.#report(`${event.life} tells of a mismatch in sector ${sector}, which nobody spoilt`);
        return;
      }
    }
  }

  #isSpoilt(sector: number): boolean {
    const { raidDisks } = this.#geometry.personality;
    for (let raidDisk = 0; raidDisk < raidDisks; raidDisk++) {
      const at = this.#geometry.sectorOn(raidDisk, sector);
      if (this.#disks.some((disk) => disk.rotten.has(at) || disk.unread.has(at))) return true;
    }
    return false;
  }
}
