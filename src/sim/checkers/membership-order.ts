import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

interface Hearing {
  preparing: boolean;
  generation: number;
}

/**
 * What a member hears of the others (dlm.md 3.1): `recoverPrep`, then `recoverSlot` for each that failed, then
 * `recoverDone`; generations only grow. A further change may interrupt: then `recoverPrep` is repeated. The first thing
 * that a new member hears is `recoverDone`.
 */
export class MembershipOrderChecker implements Checker {
  readonly name = "recoverPrep, recoverSlot, recoverDone in order";
  readonly #report: Report;
  readonly #heard = new Map<string, Hearing>();

  constructor(report: Report) {
    this.#report = report;
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "recover_prep":
        this.#of(event.life).preparing = true;
        break;
      case "recover_slot":
        if (!this.#of(event.life).preparing) {
          this.#report(`${event.life} hears of the end of ${event.node} without recoverPrep`);
        }
        break;
      case "recover_done": {
        const heard = this.#of(event.life);
        const isFirst = heard.generation === 0;
        if (!heard.preparing && !isFirst) this.#report(`${event.life} hears recoverDone without recoverPrep`);
        if (event.generation <= heard.generation) {
          this.#report(`${event.life} hears generation ${event.generation} after ${heard.generation}`);
        }
        heard.preparing = false;
        heard.generation = event.generation;
        break;
      }
      case "life_ended":
        this.#heard.delete(event.life);
        break;
      default:
    }
  }

  #of(life: string): Hearing {
    const heard = this.#heard.get(life) ?? { preparing: false, generation: 0 };
    this.#heard.set(life, heard);
    return heard;
  }
}
