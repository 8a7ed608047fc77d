import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/** No write is issued by who believes its lease over, and none lands once others may act in its place (F05, I5). */
export class LeaseChecker implements Checker {
  readonly name = "no write past the lease";
  readonly #report: Report;
  readonly #evicted = new Set<string>();
  readonly #joined = new Set<string>();

  constructor(report: Report) {
    this.#report = report;
  }

  observe(event: SimEvent): void {
    if (event.type === "joined") this.#joined.add(event.life);
    else if (event.type === "evicted") this.#evicted.add(event.life);
    else if (event.type === "readmitted") this.#evicted.delete(event.life);
    else if (event.type === "write_submitted" && this.#joined.has(event.life) && !event.leaseHolds) {
      this.#report(`${event.life} issues a write of ${event.area} at ${event.lo} on ${event.disk} without a lease`);
    } else if (event.type === "write_landed" && this.#evicted.has(event.life)) {
      this.#report(`LATE: ${event.area} of ${event.life} lands at ${event.lo} on ${event.disk} after its eviction`);
    }
  }
}
