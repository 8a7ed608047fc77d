import type { SharedBlock } from "../engine/shared-block.ts";

export interface GuardLimits {
  /** Milliseconds that a thread may stand still while the guard itself runs. */
  readonly stillMs: number;
  /** Milliseconds of the watchdog; null: there is none. */
  readonly watchdogMs: number | null;
  /** Arrays rely on their pills: a node that cannot read that it has none must not go on. */
  readonly usesPill: boolean;
}

export type GuardVerdict =
  | { readonly type: "well"; readonly pet: boolean }
  /** The process must end at once. */
  | { readonly type: "kill"; readonly why: string };

/** How long something has not changed, counted in the guard's own steps: a guard that was stopped itself blames nobody. */
class Still {
  #last = Number.NaN;
  #forMs = 0;

  /** `value` as it is now, `stepMs` after the last look. Returns for how long it has been so. */
  look(value: number, stepMs: number): number {
    this.#forMs = value === this.#last ? this.#forMs + stepMs : 0;
    this.#last = value;
    return this.#forMs;
  }
}

/**
 * What the guard thinks of the threads of its process. Pure: it sees the memory that they share, and its own clock.
 *
 * The data plane looks at its lease by itself; a control plane that hangs thus stops no writes that it should not. But its
 * clients hang with it, and nobody else can tell it from a dead process: so it is ended. So is one whose data plane hangs
 * in the middle of a turn, since what it may still write then, nobody knows.
 */
export class GuardDuty {
  readonly #limits: GuardLimits;
  readonly #main = new Still();
  readonly #turns = new Map<SharedBlock, Still>();
  #lastLook: number | null = null;

  constructor(limits: GuardLimits) {
    this.#limits = limits;
  }

  /** `beats`: how often the main thread has said that it lives. `now`: `Clock.now`. At most `everyMs` count as one step. */
  look(now: number, everyMs: number, beats: number, arrays: Iterable<SharedBlock>): GuardVerdict {
    const step = this.#lastLook === null ? 0 : Math.min(now - this.#lastLook, 2 * everyMs);
    this.#lastLook = now;
    const { stillMs } = this.#limits;
    if (this.#main.look(beats, step) >= stillMs) {
      return { type: "kill", why: `the control plane has not come round for ${stillMs} ms` };
    }
    let pet = this.#limits.watchdogMs !== null;
    const present = new Set(arrays);
    for (const block of this.#turns.keys()) if (!present.has(block)) this.#turns.delete(block);
    for (const block of present) {
      const still = this.#turns.get(block) ?? new Still();
      this.#turns.set(block, still);
      // Read once: the data plane goes on meanwhile, and rest followed by a new turn is no turn that lasts.
      const { turnBegan } = block;
      const forMs = still.look(turnBegan, step);
      if (turnBegan !== 0 && forMs >= stillMs) {
        return { type: "kill", why: `a data plane has been in one turn for ${stillMs} ms` };
      }
      pet &&= this.#isSafe(now, block, turnBegan);
    }
    return { type: "well", pet };
  }

  /** Good while the lease holds (and the pill says nothing against it), or as long as nothing can be on its way to a member. */
  #isSafe(now: number, block: SharedBlock, turnBegan: number): boolean {
    const { watchdogMs, usesPill } = this.#limits;
    const leaseHolds = block.leaseHolds(now);
    const pillAge = now - block.pillClearAt;
    if (leaseHolds && (!usesPill || pillAge <= (watchdogMs ?? 0) / 2)) return true;
    const isResting = turnBegan === 0 || (!leaseHolds && turnBegan >= block.writeUntil);
    return !leaseHolds && block.operations === 0 && isResting;
  }
}
