/** md takes the mean over ten marks, three seconds apart (SYNC_MARKS, SYNC_MARK_STEP). */
const MARKS = 10;
const STEP_MS = 3000;

/**
 * How fast copies were of late, beside the least that they are to have (sync_speed_min). What is slower makes no room for
 * requests of clients; what is faster does. Source: md.c, md_do_sync.
 */
export class CopySpeed {
  /** KiB per second. */
  least: number;
  readonly #at = new Float64Array(MARKS);
  readonly #done = new Float64Array(MARKS);
  /** Of the marks the oldest, and the newest. */
  #first = 0;
  #last = 0;
  #sectors = 0;
  #begun = false;

  constructor(least: number) {
    this.least = least;
  }

  add(sectors: number): void {
    this.#sectors += sectors;
  }

  /** `now`: milliseconds, of one clock. */
  isBelow(now: number): boolean {
    if (this.least === 0) return false;
    this.#mark(now);
    const seconds = (now - (this.#at[this.#first] ?? now)) / 1000;
    // A second more than have passed, as in md: what has just begun is no speed.
    return (this.#sectors - (this.#done[this.#first] ?? 0)) / 2 / (seconds + 1) < this.least;
  }

  #mark(now: number): void {
    const passed = now - (this.#at[this.#last] ?? 0);
    // Of what was copied long ago nothing counts: a new pass.
    if (!this.#begun || passed >= MARKS * STEP_MS) {
      this.#begun = true;
      this.#first = this.#last = 0;
      this.#put(0, now);
    } else if (passed >= STEP_MS) {
      this.#last = (this.#last + 1) % MARKS;
      if (this.#last === this.#first) this.#first = (this.#first + 1) % MARKS;
      this.#put(this.#last, now);
    }
  }

  #put(mark: number, now: number): void {
    this.#at[mark] = now;
    this.#done[mark] = this.#sectors;
  }
}
