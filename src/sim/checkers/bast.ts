import { type LockMode, modesCompatible } from "../../dlm/lock-mode.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";

interface Owned {
  readonly life: string;
  readonly resource: string;
  readonly wantsBast: boolean;
  mode: LockMode;
  /** Since when it has this mode, and whether it was told since that it blocks somebody. */
  since: number;
  told: boolean;
  /** What is asked for, and since when; null: nothing. */
  wanted: { readonly mode: LockMode; readonly since: number } | null;
}

/**
 * A holder is told at least once that it blocks somebody, and never about a mode that it does not block any more since
 * that was acknowledged (dlm.md 1.8). That it is told at all is judged when the world has been calm for a while.
 */
export class BastChecker implements Checker {
  readonly name = "who blocks is told, who does not is not";
  readonly #now: () => number;
  readonly #report: Report;
  readonly #locks = new Map<number, Owned>();

  constructor(now: () => number, report: Report) {
    this.#now = now;
    this.#report = report;
  }

  observe(event: SimEvent): void {
    switch (event.type) {
      case "lock_opened": {
        const { life, resource, bast } = event;
        const fresh = { mode: "NL" as const, since: this.#now(), told: false, wanted: null };
        this.#locks.set(event.lock, { life, resource, wantsBast: bast, ...fresh });
        break;
      }
      case "lock_asked": {
        const lock = this.#locks.get(event.lock);
        if (lock !== undefined) lock.wanted = { mode: event.to, since: this.#now() };
        break;
      }
      case "lock_done": {
        const lock = this.#locks.get(event.lock);
        if (lock === undefined) return;
        Object.assign(lock, { mode: event.mode, since: this.#now(), told: false, wanted: null });
        break;
      }
      case "lock_bast": {
        const lock = this.#locks.get(event.lock);
        if (lock === undefined) return;
        lock.told = true;
        if (!modesCompatible(lock.mode, event.wanted)) return;
        this.#report(`${lock.life} is told that ${lock.resource} in ${lock.mode} blocks ${event.wanted}`);
        break;
      }
      case "lock_closed":
        this.#locks.delete(event.lock);
        break;
      case "life_ended":
        for (const [id, { life }] of this.#locks) if (life === event.life) this.#locks.delete(id);
        break;
      default:
    }
  }

  /** Nothing has gone wrong for `calmMs`: who blocks somebody for so long must know. */
  judge(calmMs: number): void {
    const before = this.#now() - calmMs;
    const locks = [...this.#locks.values()];
    for (const waiter of locks) {
      const { wanted, resource, life } = waiter;
      if (wanted === null || wanted.since > before) continue;
      for (const holder of locks) {
        if (holder === waiter || holder.resource !== resource || modesCompatible(holder.mode, wanted.mode)) continue;
        if (!holder.wantsBast || holder.told || holder.since > before || holder.wanted !== null) continue;
        this.#report(`${holder.life} was never told that its ${resource} in ${holder.mode} blocks ${life}`);
      }
    }
  }
}
