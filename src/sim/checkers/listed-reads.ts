import type { ArrayGeometry } from "../array-geometry.ts";
import { listedSectors } from "../listed-sectors.ts";
import type { SimDisk } from "../sim-disk.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/**
 * Nothing is read from sectors that a member's bad-block log lists, for clients or for a copy, until they have been
 * written again.
 */
export class ListedReadsChecker implements Checker {
  readonly name = "no read of a recorded bad block";
  readonly #geometry: ArrayGeometry;
  readonly #disks: ReadonlyMap<string, SimDisk>;
  readonly #report: Report;
  /** By disk: listed, and perhaps good again. */
  readonly #written = new Map<string, Set<number>>();

  constructor(geometry: ArrayGeometry, disks: readonly SimDisk[], report: Report) {
    this.#geometry = geometry;
    this.#disks = new Map(disks.map((disk) => [disk.path, disk]));
    this.#report = report;
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "write_landed":
        if (event.area === "data") this.#wrote(event.disk, event.lo, event.hi);
        break;
      case "life_began":
      case "power_cut":
        // Whoever begins believes the log.
        this.#written.clear();
        break;
      case "data_read":
        this.#read(event.disk, event.lo, event.hi, event.life);
        break;
      default:
    }
  }

  #wrote(path: string, lo: number, hi: number): void {
    const written = this.#written.get(path) ?? new Set<number>();
    this.#written.set(path, written);
    for (let at = lo; at < hi; at++) if (this.#isListed(path, at)) written.add(at);
  }

  #read(path: string, lo: number, hi: number, life: string): void {
    for (let at = lo; at < hi; at++) {
      if (!this.#isListed(path, at) || this.#written.get(path)?.has(at)) continue;
      this.#report(`${life} reads sector ${at} of ${path}, which is recorded as bad`);
      return;
    }
  }

  #isListed(path: string, at: number): boolean {
    const disk = this.#disks.get(path);
    return disk !== undefined && listedSectors(disk, this.#geometry).now(at);
  }
}
