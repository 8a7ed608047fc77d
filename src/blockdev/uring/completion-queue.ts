import type { MappedRing } from "./mapped-ring.ts";

const WORDS_PER_CQE = 4;

/** What a route says of a completion that nobody outside waits for. No result looks like it. */
export const NOT_REPORTED = -(2 ** 31);

/**
 * Our half of the completion ring. user_data's low word is the caller's tag; the high word is 0 for what is reported as
 * it is, and otherwise says to the route what the result stands for.
 */
export class CompletionQueue {
  readonly #words: Int32Array;
  readonly #mask: number;
  readonly #cqes: number;
  readonly #headAt: number;
  readonly #tailAt: number;
  readonly #route: (high: number, result: number) => number;
  #head: number;

  /** `route` turns (high word, result) into the result to report, or NOT_REPORTED. */
  constructor(ring: MappedRing, route: (high: number, result: number) => number) {
    this.#words = ring.words;
    this.#mask = ring.cqEntries - 1;
    this.#cqes = ring.cqes;
    this.#headAt = ring.cqHead;
    this.#tailAt = ring.cqTail;
    this.#route = route;
    this.#head = Atomics.load(ring.words, ring.cqHead);
  }

  /** Appends completions from `count` on, as far as there is room; the new count. */
  reap(tags: Uint32Array, results: Int32Array, count: number): number {
    const words = this.#words;
    // The entries up to it are written before it is.
    const tail = Atomics.load(words, this.#tailAt);
    let head = this.#head;
    if (head === tail) return count;
    while (head !== tail && count < tags.length) {
      const at = this.#cqes + (head & this.#mask) * WORDS_PER_CQE;
      const high = words[at + 1] as number;
      const result = words[at + 2] as number;
      const reported = high === 0 ? result : this.#route(high, result);
      if (reported !== NOT_REPORTED) {
        tags[count] = words[at] as number;
        results[count] = reported;
        count++;
      }
      head = (head + 1) | 0;
    }
    this.#head = head;
    // The kernel may use the entries again once it sees this.
    Atomics.store(words, this.#headAt, head);
    return count;
  }
}
