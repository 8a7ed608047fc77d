import type { Clock, Timer } from "../../src/env/clock.ts";

/** A clock that stands still until a test moves it. Timers fire in the order of their times. */
export class FakeClock implements Clock {
  #now = 0;
  #next = 0;
  #suspended = 0;
  readonly #timers = new Map<number, { at: number; action: () => void }>();

  now(): number {
    return this.#now;
  }

  sinceBoot(): number {
    return this.#now + this.#suspended;
  }

  /** As if the host had been suspended for so long: `now` does not show it. */
  suspend(ms: number): void {
    this.#suspended += ms;
  }

  wall(): number {
    return 1_700_000_000_000 + this.#now;
  }

  after(ms: number, action: () => void): Timer {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + Math.max(0, ms), action });
    return { cancel: () => this.#timers.delete(id) };
  }

  /** Moves on by `ms`, firing what falls due; between two timers all promises that can settle do. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].sort(([a, x], [b, y]) => x.at - y.at || a - b)[0];
      if (due === undefined || due[1].at > end) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].action();
      await settle();
    }
    this.#now = end;
    await settle();
  }

  /** Jumps without firing anything: a process that was stopped. What fell due meanwhile fires at the next `advance`. */
  jump(ms: number): void {
    this.#now += ms;
  }
}

/** Lets chains of promises run out. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}
