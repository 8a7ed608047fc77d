import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

/**
 * At most one node that is still a member has the token. One that was evicted may hear of an old grant late: what it
 * can still do with it is the lease checker's business.
 */
export class TokenChecker implements Checker {
  readonly name = "one token holder";
  readonly #report: Report;
  readonly #holders = new Set<string>();
  readonly #evicted = new Set<string>();

  constructor(report: Report) {
    this.#report = report;
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "token_held":
        if (this.#evicted.has(event.life)) return;
        for (const other of this.#holders) {
          if (other !== event.life) this.#report(`${event.life} got the token while ${other} has it`);
        }
        this.#holders.add(event.life);
        break;
      case "evicted":
        this.#evicted.add(event.life);
        this.#holders.delete(event.life);
        break;
      case "token_released":
      case "life_ended":
        this.#holders.delete(event.life);
        break;
      default:
    }
  }
}
