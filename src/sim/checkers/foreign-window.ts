import { overlaps, type SectorRange, sectorRange } from "../../base/units.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/** While a node copies a window, no other node's data lands in it, whatever was announced and acknowledged (F28). */
export class ForeignWindowChecker implements Checker {
  readonly name = "no write in a foreign resync window";
  readonly #dataAt: number;
  readonly #report: Report;
  readonly #windows = new Map<string, SectorRange>();

  constructor(dataAt: number, report: Report) {
    this.#dataAt = dataAt;
    this.#report = report;
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "copying":
        this.#windows.set(event.life, event.range);
        break;
      case "copied":
      case "life_ended":
      case "evicted":
        this.#windows.delete(event.life);
        break;
      case "power_cut":
        this.#windows.clear();
        break;
      case "write_submitted":
      case "write_landed": {
        if (event.area !== "data") return;
        const range = sectorRange(event.lo - this.#dataAt, event.hi - this.#dataAt);
        for (const [owner, window] of this.#windows) {
          if (owner === event.life || !overlaps(range, window)) continue;
          this.#report(
            `${event.life} ${event.type} [${range.lo}, ${range.hi}) in [${window.lo}, ${window.hi}), which ${owner} copies`,
          );
        }
        break;
      }
      default:
    }
  }
}
