import type { SectorRange } from "../../base/units.ts";
import type { ArrayGeometry } from "../array-geometry.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

type DataWrite = Extract<SimEvent, { type: "write_submitted" | "write_landed" }>;

/** While a node copies a window, no other node's data lands in it, whatever was announced and acknowledged (F28). */
export class ForeignWindowChecker implements Checker {
  readonly name = "no write in a foreign resync window";
  readonly #geometry: ArrayGeometry;
  readonly #report: Report;
  /** What each life copies, in the order in which it ends; null: what is others' by now. */
  readonly #windows = new Map<string, readonly (SectorRange | null)[]>();
  /** Whose windows are others' now. One that was paused may not know it yet, and believe that it begins to copy. */
  readonly #evicted = new Set<string>();
  /** By life and disk that it uses: its raid_disk. */
  readonly #places = new Map<string, Map<string, number>>();

  constructor(geometry: ArrayGeometry, report: Report) {
    this.#geometry = geometry;
    this.#report = report;
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "copying":
        if (!this.#evicted.has(event.life))
          this.#windows.set(event.life, [...this.#windowsOf(event.life), event.range]);
        break;
      case "member_view":
        if (event.disk === null) break;
        if (event.state === "in_sync" || event.state === "rebuilding") {
          this.#placesOf(event.life).set(event.disk, event.raidDisk);
        } else this.#placesOf(event.life).delete(event.disk);
        break;
      case "copied":
        this.#windows.set(event.life, this.#windowsOf(event.life).slice(1));
        break;
      case "life_ended":
        this.#windows.delete(event.life);
        break;
      case "evicted":
        this.#evicted.add(event.life);
        this.#windows.set(
          event.life,
          this.#windowsOf(event.life).map(() => null),
        );
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
        for (const [owner, windows] of this.#windows) {
          // What was given to a member that hung, and has been taken out since, may land there at any time.
          const raidDisk = this.#placesOf(owner).get(event.disk);
          if (owner === event.life || raidDisk === undefined) continue;
          for (const window of windows) if (window !== null) this.#check(event, raidDisk, owner, window);
        }
        break;
      }
      default:
    }
  }

  #check({ life, type, lo, hi }: DataWrite, raidDisk: number, owner: string, window: SectorRange): void {
    const at = this.#firstIn(window, raidDisk, lo, hi);
    if (at !== -1) this.#report(`${life} ${type} sector ${at} in [${window.lo}, ${window.hi}), which ${owner} copies`);
  }

  /** The first array sector of the window that lies in [lo, hi) of the member; -1 for none. */
  #firstIn(window: SectorRange, raidDisk: number, lo: number, hi: number): number {
    for (let at = lo; at < hi; at++) {
      const sector = this.#geometry.arraySector(raidDisk, at);
      if (sector >= window.lo && sector < window.hi) return sector;
    }
    return -1;
  }

  #windowsOf(life: string): readonly (SectorRange | null)[] {
    return this.#windows.get(life) ?? [];
  }

  #placesOf(life: string): Map<string, number> {
    const places = this.#places.get(life) ?? new Map<string, number>();
    this.#places.set(life, places);
    return places;
  }
}
