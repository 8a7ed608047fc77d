import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/** A data plane issues no write of data to a member from the moment on in which that is faulty to it. */
export class FaultyMemberChecker implements Checker {
  readonly name = "no write to a faulty member";
  readonly #report: Report;
  /** By life: disks that are faulty to it. */
  readonly #faulty = new Map<string, Set<string>>();

  constructor(report: Report) {
    this.#report = report;
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "member_view":
        // Nobody removes a member that was not faulty before.
        if (event.disk === null) break;
        if (event.state === "faulty") this.#faultyTo(event.life).add(event.disk);
        else this.#faultyTo(event.life).delete(event.disk);
        break;
      case "member_taken":
        this.#faultyTo(event.life).delete(event.disk);
        break;
      case "write_submitted":
        if (event.area === "data" && this.#faulty.get(event.life)?.has(event.disk)) {
          this.#report(`${event.life} writes [${event.lo}, ${event.hi}) to ${event.disk}, which is faulty to it`);
        }
        break;
      case "life_ended":
        this.#faulty.delete(event.life);
        break;
      default:
    }
  }

  #faultyTo(life: string): Set<string> {
    const faulty = this.#faulty.get(life) ?? new Set<string>();
    this.#faulty.set(life, faulty);
    return faulty;
  }
}
