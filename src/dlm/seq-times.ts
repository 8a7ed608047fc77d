/** Pairs kept before those that are close together for their age are dropped. */
const KEPT = 4096;
/** What is said of an age may be wrong by this part of it. */
const TOLERANCE = 0.02;

/**
 * When things happened on a lock server that has no clock. Its `seq` grows with every change, and every answer carries
 * it: whoever writes down when it first saw which number can later say of a change with a number when it was, on its own
 * clock. It is late by at most the time between two answers (a renewal interval at most), or two per cent of what is long
 * ago.
 */
export class SeqTimes {
  readonly #pairs: { readonly seq: number; readonly at: number }[] = [];

  /** An answer with `seq` came at `now` (ms). */
  note(seq: number, now: number): void {
    const last = this.#pairs.at(-1);
    if (last !== undefined && seq <= last.seq) return;
    this.#pairs.push({ seq, at: now });
    if (this.#pairs.length > KEPT) this.#thin();
  }

  /** When the change with this number was first known of; null: it was there before we came. */
  at(seq: number): number | null {
    const [first] = this.#pairs;
    if (first === undefined || seq <= first.seq) return null;
    return this.#pairs.find((pair) => pair.seq >= seq)?.at ?? null;
  }

  /** What is left for a month of an answer every tenth of a millisecond is 1200 pairs. */
  #thin(): void {
    const pairs = this.#pairs.splice(0).reverse();
    const now = pairs[0]?.at ?? 0;
    let newer = Number.POSITIVE_INFINITY;
    for (const [i, pair] of pairs.entries()) {
      // The oldest one stays: it tells what was there before us.
      const older = pairs[i + 1];
      if (older !== undefined && newer - older.at <= (now - older.at) * TOLERANCE) continue;
      newer = pair.at;
      this.#pairs.push(pair);
    }
    this.#pairs.reverse();
  }
}
