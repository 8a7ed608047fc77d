import { type LockMode, modesCompatible } from "../../dlm/lock-mode.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";
import { Leases } from "./leases.ts";

interface Belief {
  readonly life: string;
  readonly resource: string;
  mode: LockMode;
  /** Modes of conversions that were asked for and have not ended. */
  readonly asked: LockMode[];
}

const order: readonly LockMode[] = ["NL", "CR", "CW", "PR", "PW", "EX"];

/** The strongest mode that both imply. CW and PR are not comparable. */
function weaker(a: LockMode, b: LockMode): LockMode {
  if (a === b) return a;
  if ((a === "CW" && b === "PR") || (a === "PR" && b === "CW")) return "CR";
  return order.indexOf(a) < order.indexOf(b) ? a : b;
}

/**
 * At no instant do two owners believe in modes that cannot stand together while both their leases hold (I5, F29-F31).
 * An owner believes in a lesser mode from the moment it asks for it, in a greater one when it is granted.
 */
export class LockBeliefChecker implements Checker {
  readonly name = "no two holders in conflict under a lease";
  readonly #report: Report;
  readonly #beliefs = new Map<number, Belief>();
  readonly #leases: Leases;

  constructor(now: () => number, report: Report) {
    this.#report = report;
    this.#leases = new Leases(now);
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "lock_opened":
        this.#beliefs.set(event.lock, { life: event.life, resource: event.resource, mode: "NL", asked: [] });
        break;
      case "lock_asked":
        this.#beliefs.get(event.lock)?.asked.push(event.to);
        break;
      case "lock_done": {
        const belief = this.#beliefs.get(event.lock);
        if (belief === undefined) return;
        belief.asked.shift();
        belief.mode = event.mode;
        this.#judge(belief);
        break;
      }
      case "lock_closed":
        this.#beliefs.delete(event.lock);
        break;
      case "lease":
        this.#leases.observe(event);
        for (const belief of this.#beliefs.values()) if (belief.life === event.life) this.#judge(belief);
        break;
      case "life_ended":
        for (const [lock, { life }] of this.#beliefs) if (life === event.life) this.#beliefs.delete(lock);
        break;
      default:
    }
  }

  #judge(belief: Belief): void {
    const mode = this.#modeOf(belief);
    if (mode === "NL") return;
    for (const other of this.#beliefs.values()) {
      if (other === belief || other.resource !== belief.resource) continue;
      const theirs = this.#modeOf(other);
      if (modesCompatible(mode, theirs)) continue;
      this.#report(`${belief.life} holds ${belief.resource} in ${mode} while ${other.life} holds it in ${theirs}`);
    }
  }

  #modeOf({ life, mode, asked }: Belief): LockMode {
    return this.#leases.holds(life) ? asked.reduce(weaker, mode) : "NL";
  }
}
