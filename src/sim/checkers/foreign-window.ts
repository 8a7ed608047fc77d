import type { SectorRange } from "../../base/units.ts";
import type { ArrayGeometry } from "../array-geometry.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/** While a node copies a window, no other node's data lands in it, whatever was announced and acknowledged (F28). */
export class ForeignWindowChecker implements Checker {
  readonly name = "no write in a foreign resync window";
  readonly #geometry: ArrayGeometry;
  readonly #report: Report;
  readonly #windows = new Map<string, SectorRange>();
  /** Whose windows are others' now. One that was paused may not know it yet, and believe that it begins to copy. */
  readonly #evicted = new Set<string>();
  /** By life and disk: its raid_disk. */
  readonly #places = new Map<string, Map<string, number>>();

  constructor(geometry: ArrayGeometry, report: Report) {
    this.#geometry = geometry;
    this.#report = report;
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "copying":
        if (!this.#evicted.has(event.life)) this.#windows.set(event.life, event.range);
        break;
      case "member_view":
        if (event.disk !== null) this.#placesOf(event.life).set(event.disk, event.raidDisk);
        break;
      case "life_ended":
      case "copied":
        this.#windows.delete(event.life);
        break;
      case "evicted":
        this.#evicted.add(event.life);
        this.#windows.delete(event.life);
        break;
      case "readmitted":
        this.#evicted.delete(event.life);
        break;
      case "power_cut":
        this.#windows.clear();
        break;
      case "write_submitted":
      case "write_landed": {
        if (event.area !== "data") return;
        // Of a member that the life has just begun to use the place may not be known yet.
        const raidDisk = this.#placesOf(event.life).get(event.disk);
        if (raidDisk === undefined) return;
        for (const [owner, window] of this.#windows) {
          if (owner === event.life) continue;
          const at = this.#firstIn(window, raidDisk, event.lo, event.hi);
          if (at === -1) continue;
          this.#report(
            `${event.life} ${event.type} sector ${at} in [${window.lo}, ${window.hi}), which ${owner} copies`,
          );
        }
        break;
      }
      default:
    }
  }

  /** The first array sector of the window that lies in [lo, hi) of the member; -1 for none. */
  #firstIn(window: SectorRange, raidDisk: number, lo: number, hi: number): number {
    for (let at = lo; at < hi; at++) {
      const sector = this.#geometry.arraySector(raidDisk, at);
      if (sector >= window.lo && sector < window.hi) return sector;
    }
    return -1;
  }

  #placesOf(life: string): Map<string, number> {
    const places = this.#places.get(life) ?? new Map<string, number>();
    this.#places.set(life, places);
    return places;
  }
}
